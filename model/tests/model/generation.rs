//! Generation on the tiny model, against HF transformers (`fixtures/generate/make.py`).

use crate::fixture;

use burn::module::Param;
use burn::tensor::Tensor;
use burn_flex::Flex;
use burn_kiln::Kiln;
use fixture::Case;
use qwen3_vl_burn::generate::{
    CancelToken, FinishReason, GenerateError, GenerateOptions, Generation, Sampling, generate, stream,
};
use qwen3_vl_burn::prompt::{CHAT_TOKENS, Tokenizer, byte_level_tokenizer};
use qwen3_vl_burn::{Error, InputError, LoadOptions, ModelInputs, Qwen3Vl};
use serde_json::Value;
use std::ops::ControlFlow;
use std::sync::LazyLock;

type Model = Qwen3Vl<Kiln<Flex>>;

static MODEL: LazyLock<Model> = LazyLock::new(load);

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let special: Vec<(&str, u32)> = CHAT_TOKENS.into_iter().zip(1..).collect();
    Tokenizer::from_bytes(byte_level_tokenizer(320, &special).unwrap().as_bytes(), "tokenizer.json").unwrap()
});

fn load() -> Model {
    Qwen3Vl::load(fixture::folder("tiny-dense"), &Default::default(), LoadOptions::default()).unwrap()
}

fn text_inputs() -> ModelInputs {
    Case::open("tiny-dense", "text").inputs()
}

fn run(options: &GenerateOptions) -> Generation {
    generate(&MODEL, &text_inputs(), options).unwrap()
}

/// HF's greedy continuation of the text case.
fn greedy_of_hf() -> Vec<u32> {
    Case::open("tiny-dense", "text").integers("expect.greedy").iter().map(|&id| id as u32).collect()
}

/// Penalties over prompt and answer, through the whole loop; and log-probabilities within the error of the logits: at
/// most 5e-5 of the largest (`fixture_cases.rs`), which is below 20.
#[test]
fn penalized_answers_equal_hf() {
    let path = fixture::folder("generate").join("sampling.json");
    let reference: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let answers = reference["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 4);
    for answer in answers {
        let tokens: Vec<u32> = serde_json::from_value(answer["tokens"].clone()).unwrap();
        let logprobs: Vec<f64> = serde_json::from_value(answer["logprobs"].clone()).unwrap();
        let real = |key: &str, absent: f64| answer["options"][key].as_f64().unwrap_or(absent);
        let sampling = Sampling::greedy()
            .with_repetition_penalty(real("repetition_penalty", 1.0))
            .with_presence_penalty(real("presence_penalty", 0.0))
            .with_frequency_penalty(real("frequency_penalty", 0.0));
        let inputs = Case::open("tiny-dense", answer["case"].as_str().unwrap()).inputs();
        for use_cache in [true, false] {
            let options = GenerateOptions::new(tokens.len()).with_sampling(sampling.clone()).with_logprobs(3);
            let found = generate(&MODEL, &inputs, &options.with_cache(use_cache)).unwrap();
            assert_eq!(found.tokens, tokens, "{answer}");
            for (found, expected) in found.logprobs.unwrap().iter().zip(&logprobs) {
                assert!((found.chosen - expected).abs() < 2e-3, "{}, expected {expected}", found.chosen);
                assert_eq!(found.top.len(), 3);
            }
        }
    }
}

#[test]
fn cold_and_single_choices_are_greedy() {
    let expected = greedy_of_hf();
    for sampling in [
        Sampling::instruct().with_presence_penalty(0.0).with_temperature(0.0).with_seed(5),
        Sampling::greedy().with_temperature(2.0).with_top_k(1),
        Sampling::greedy().with_temperature(2.0).with_top_p(1e-9),
        Sampling::greedy().with_temperature(2.0).with_min_p(1.0),
        Sampling::greedy().with_temperature(1e-6),
    ] {
        let greedy = sampling.is_greedy();
        let answer = run(&GenerateOptions::new(expected.len()).with_sampling(sampling));
        assert_eq!(answer.tokens, expected);
        assert_eq!(answer.seed.is_none(), greedy);
    }
}

#[test]
fn a_seed_fixes_the_answer() {
    let sampling = Sampling::greedy().with_temperature(3.0).with_top_p(0.99);
    let options = |seed| GenerateOptions::new(24).with_sampling(sampling.clone().with_seed(seed));
    let first = run(&options(11));
    assert_eq!(first.seed, Some(11));
    assert_eq!(run(&options(11)).tokens, first.tokens);
    assert_ne!(run(&options(12)).tokens, first.tokens);
    assert_ne!(first.tokens, greedy_of_hf());
    for threads in [1, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| run(&options(11))).tokens, first.tokens, "{threads} threads");
    }
    // Without a seed, the one that was found gives the answer again.
    let found = run(&GenerateOptions::new(24).with_sampling(sampling.clone()));
    assert_eq!(run(&options(found.seed.unwrap())).tokens, found.tokens);
}

#[test]
fn steps_joined_are_the_text() {
    let sampling = Sampling::greedy().with_temperature(4.0);
    for seed in 0..4 {
        let options = GenerateOptions::new(32).with_sampling(sampling.clone().with_seed(seed)).with_logprobs(1);
        let (mut text, mut tokens, mut logprobs) = (String::new(), Vec::new(), Vec::new());
        let answer = stream(&MODEL, Some(&TOKENIZER), &text_inputs(), &options, |step| {
            text += &step.text;
            tokens.push(step.token);
            logprobs.extend(step.logprobs.clone());
            ControlFlow::Continue(())
        });
        let answer = answer.unwrap();
        assert_eq!(answer.text.as_deref(), Some(text.as_str()));
        assert_eq!(text, TOKENIZER.decode(&answer.tokens, true));
        assert_eq!((&answer.tokens, &answer.logprobs), (&tokens, &Some(logprobs)));
        assert_eq!((answer.prompt_tokens, answer.finish), (24, FinishReason::Length));
    }
}

#[test]
fn stop_strings_end_answers_of_the_model() {
    let options = GenerateOptions::new(24).with_sampling(Sampling::greedy().with_temperature(4.0).with_seed(1));
    let inputs = text_inputs();
    let whole = stream(&MODEL, Some(&TOKENIZER), &inputs, &options, |_| ControlFlow::Continue(())).unwrap();
    let text = whole.text.unwrap();
    // Two characters of the answer, which are two tokens at least.
    let (start, _) = text.char_indices().nth(4).unwrap();
    let (end, _) = text.char_indices().nth(6).unwrap();
    let stop = &text[start..end];
    let options = options.with_stop_strings(["not there", stop]);
    let mut shown = String::new();
    let answer = stream(&MODEL, Some(&TOKENIZER), &inputs, &options, |step| {
        shown += &step.text;
        ControlFlow::Continue(())
    });
    let answer = answer.unwrap();
    let cut = &text[..text.find(stop).unwrap()];
    assert_eq!((answer.text.as_deref(), shown.as_str()), (Some(cut), cut));
    assert_eq!(answer.finish, FinishReason::StopString(1));
    assert!(answer.tokens.len() < 24 && whole.tokens.starts_with(&answer.tokens));
}

#[test]
fn answers_can_be_cancelled() {
    let expected = greedy_of_hf();
    let token = CancelToken::new();
    let options = GenerateOptions::new(expected.len()).with_cancel(token.clone());
    let mut told = 0;
    let answer = stream(&MODEL, None, &text_inputs(), &options, |_| {
        told += 1;
        if told == 3 {
            token.cancel();
        }
        ControlFlow::Continue(())
    });
    let answer = answer.unwrap();
    assert_eq!((answer.tokens.as_slice(), answer.finish), (&expected[..3], FinishReason::Cancelled));

    // It stays set: nothing runs.
    let answer = stream(&MODEL, Some(&TOKENIZER), &text_inputs(), &options, |_| panic!("a token")).unwrap();
    assert_eq!((answer.tokens.as_slice(), answer.text.as_deref()), (&[][..], Some("")));
    assert_eq!((answer.finish, answer.prefill_rate(), answer.decode_rate()), (FinishReason::Cancelled, 0.0, None));

    // Breaking off at the last token changes nothing.
    let answer = stream(&MODEL, None, &text_inputs(), &GenerateOptions::new(1), |_| ControlFlow::Break(())).unwrap();
    assert_eq!(answer.finish, FinishReason::Length);
}

#[test]
fn bad_options_are_refused_before_anything_runs() {
    let refuse =
        |options: GenerateOptions| stream(&MODEL, None, &text_inputs(), &options, |_| panic!("a token")).unwrap_err();
    let error = refuse(GenerateOptions::new(1).with_sampling(Sampling::greedy().with_top_p(0.0)));
    assert!(matches!(error, Error::Generate(GenerateError::Option { option: "top_p", .. })), "{error}");
    let error = refuse(GenerateOptions::new(1).with_stop_strings(["a"]));
    assert!(matches!(error, Error::Generate(GenerateError::StopStringsWithoutTokenizer { count: 1 })), "{error}");
    let error = refuse(GenerateOptions::new(usize::MAX));
    assert!(matches!(error, Error::Input(InputError::TooLong { prompt: 24, added: usize::MAX, .. })), "{error}");
}

#[test]
fn a_damaged_model_is_an_error() {
    let mut model = load();
    model.language_model.norm.weight = Param::from_tensor(Tensor::full([64], f32::NAN, &Default::default()));
    let options = GenerateOptions::new(4).with_sampling(Sampling::instruct());
    let error = generate(&model, &text_inputs(), &options).unwrap_err();
    assert!(matches!(error, Error::Generate(GenerateError::NotANumber { position: 24, token: 0 })), "{error}");
}
