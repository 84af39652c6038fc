//! What programs make of what is typed: lines of `chat`, and options of generation.

use burn_kiln_fusion::FusedOps;
use bytesize::ByteSize;
use clap::Parser;
use kiln_examples::Error;
use kiln_examples::backend::{self, Backend, Place};
use kiln_examples::conversation::Line;
use kiln_examples::sampling::SamplingArgs;
use qwen3_vl_burn::generate::{GenerateOptions, GenerationConfig, Sampling};

#[test]
fn lines_are_commands_or_questions() {
    assert_eq!(Line::parse("  "), Line::Nothing);
    assert_eq!(Line::parse("/image  my cat.png "), Line::Image("my cat.png"));
    assert_eq!(Line::parse("/video"), Line::Incomplete("/video"));
    assert_eq!(Line::parse("/frobnicate x"), Line::Unknown("/frobnicate"));
    assert_eq!(Line::parse("/cats/small is a folder?"), Line::Question("/cats/small is a folder?"));
    assert_eq!(Line::parse("/2 of it"), Line::Question("/2 of it"));
    assert_eq!(Line::parse(" what? "), Line::Question("what?"));
    assert_eq!(Line::parse("/exit"), Line::Quit);
}

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    sampling: SamplingArgs,
}

const INSTRUCT: &str = r#"{ "do_sample": true, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
    "repetition_penalty": 1.05, "eos_token_id": [2, 3] }"#;

fn apply(line: &str) -> Result<GenerateOptions, Error> {
    let config = GenerationConfig::from_json(INSTRUCT, "generation_config.json").unwrap();
    let program = Program::parse_from(["program"].into_iter().chain(line.split_whitespace()));
    program.sampling.apply(&config)
}

#[test]
fn the_checkpoint_decides_what_is_not_given() {
    let base = Sampling::greedy().with_temperature(0.7).with_top_p(0.8).with_top_k(20).with_repetition_penalty(1.05);
    let options = apply("").unwrap();
    assert_eq!(options, GenerateOptions::new(256).with_stop_ids(vec![2, 3]).with_sampling(base.clone()));

    let line = "--temperature 0.5 --presence-penalty -1.5 --seed 9 --stop a --stop -- --max-new-tokens 7";
    let options = apply(line).unwrap();
    assert_eq!(options.sampling, base.with_temperature(0.5).with_presence_penalty(-1.5).with_seed(9));
    assert_eq!(options.stop_strings, ["a", "--"]);
    assert_eq!(options.max_new_tokens, 7);
    assert_eq!(apply("--greedy").unwrap().sampling, Sampling::greedy());
}

#[test]
fn values_out_of_range_are_errors() {
    for (line, message) in [
        ("--temperature -1", "temperature is -1, but must be a finite number of at least 0"),
        ("--top-p 0", "top_p is 0, but must be above 0 and at most 1"),
        ("--min-p NaN", "min_p is NaN, but must be within 0..=1"),
        ("--frequency-penalty 3", "frequency_penalty is 3, but must be within -2..=2"),
    ] {
        assert_eq!(apply(line).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_limit_of_a_cards_memory_needs_a_card() {
    struct Nothing;
    impl backend::Program for Nothing {
        type Out = ();

        fn run<B: FusedOps>(self) -> Result<(), Error> {
            Ok(())
        }
    }
    let place = Place { gpu_memory: Some(ByteSize(2 << 30)), ..Place::on(Backend::Kiln) };
    let error = place.run(Nothing).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--backend kiln computes in host memory: give --memory-limit"), "{error}");
    let options = place.load_options(None);
    assert_eq!((options.gpu_memory, options.memory_limit), (None, None));
}
