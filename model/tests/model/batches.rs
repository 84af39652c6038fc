//! Sequences side by side: each gets what it gets alone.

use crate::fixture;

use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln_fusion::FusedOps;
use fixture::Case;
use qwen3_vl_burn::generate::{
    FinishReason, GenerateError, GenerateOptions, Sampling, Session, generate, generate_batch, stream_batch,
};
use qwen3_vl_burn::{Error, InputError, LoadOptions, Logits, ModelInputs, Qwen3Vl};
use std::ops::ControlFlow;

/// Relative to the largest logit. A batch's products have other shapes than a single prompt's, so sums may be taken in
/// another order; positions, masks and caches that were mixed up would show at once.
const TOLERANCE: f64 = 1e-5;

const CASES: [&str; 4] = ["image", "text", "two-images", "video"];

fn load<B: FusedOps>() -> Qwen3Vl<B> {
    Qwen3Vl::load(fixture::folder("tiny-dense"), &Default::default(), LoadOptions::default()).unwrap()
}

/// Index of the largest value, the first of equal ones.
fn find_largest(logits: &[f32]) -> u32 {
    (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32
}

fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let error = found.iter().zip(expected).fold(0f32, |error, (a, b)| error.max((a - b).abs()));
    f64::from(error / largest)
}

/// All cases of the fixture in one batch: prompts of 34, 24, 54 and 42 tokens with pictures, none and a video. Every
/// sequence gives HF's 64 greedy tokens, though each ends at another time.
fn check_greedy<B: FusedOps>(use_cache: bool) {
    let model = load::<B>();
    let lengths = [64, 17, 40, 1];
    let options = GenerateOptions::new(64).with_cache(use_cache);
    let prompts =
        CASES.map(|name| Session::prepare(&model, &Case::open("tiny-dense", name).inputs(), &options).unwrap());
    let (mut session, mut logits) = Session::start_batch(&model, prompts.into(), &options).unwrap();
    let mut running: Vec<usize> = (0..CASES.len()).collect();
    let mut answers = vec![Vec::new(); CASES.len()];
    while !running.is_empty() {
        for (&sequence, logits) in running.iter().zip(&logits) {
            answers[sequence].push(find_largest(logits));
        }
        running.retain(|&sequence| {
            let ended = answers[sequence].len() == lengths[sequence];
            if ended {
                session.release(sequence);
            }
            !ended
        });
        let tokens: Vec<_> = running.iter().map(|&i| (i, answers[i][answers[i].len() - 1])).collect();
        if !tokens.is_empty() {
            logits = session.push_batch(&tokens).unwrap();
        }
    }
    for ((name, answer), length) in CASES.iter().zip(answers).zip(lengths) {
        assert_eq!(answer, fixture::read_greedy("tiny-dense", name)[..length], "{name}");
    }
}

#[test]
fn a_batch_gives_the_tokens_of_single_runs_on_kiln() {
    check_greedy::<Kiln<Flex>>(true);
}

#[test]
fn a_batch_gives_the_tokens_of_single_runs_on_flex() {
    check_greedy::<Flex>(true);
}

#[test]
fn a_batch_without_a_cache_gives_the_tokens_of_single_runs() {
    check_greedy::<Kiln<Flex>>(false);
}

/// Every logit of every position, and the last ones alone.
#[test]
fn a_batch_gives_the_logits_of_single_runs() {
    let model = load::<Kiln<Flex>>();
    let cases = CASES.map(|name| Case::open("tiny-dense", name));
    let prepare = || cases.iter().map(|case| model.prepare(&case.inputs()).unwrap()).collect();
    let all = model.prefill(prepare(), &mut [], Logits::All).unwrap();
    let expected: Vec<f32> = cases.iter().flat_map(|case| case.floats("expect.logits")).collect();
    assert_eq!(all.dims(), [1, expected.len() / 320, 320]);
    let error = relative_error(&all.into_data().to_vec::<f32>().unwrap(), &expected);
    assert!(error < TOLERANCE, "{error:.2e}");

    let last = model.prefill(prepare(), &mut [], Logits::Last).unwrap();
    assert_eq!(last.dims(), [4, 1, 320]);
    let expected: Vec<f32> = cases
        .iter()
        .flat_map(|case| case.floats("expect.logits").split_off((case.inputs().input_ids.len() - 1) * 320))
        .collect();
    let error = relative_error(&last.into_data().to_vec::<f32>().unwrap(), &expected);
    assert!(error < TOLERANCE, "{error:.2e}");
}

/// Stop ids end each answer by itself, and a draw with a seed is each prompt's own.
#[test]
fn options_count_for_each_prompt_by_itself() {
    let model = load::<Kiln<Flex>>();
    let prompts = CASES.map(|name| Case::open("tiny-dense", name).inputs());
    for options in [
        GenerateOptions::new(24).with_stop_ids(vec![239, 47, 216]),
        GenerateOptions::new(12).with_sampling(Sampling::greedy().with_temperature(0.8).with_top_p(0.9).with_seed(7)),
    ] {
        let answers = generate_batch(&model, None, &prompts, &options).unwrap();
        for (prompt, answer) in prompts.iter().zip(answers) {
            let alone = generate(&model, prompt, &options).unwrap();
            assert_eq!((answer.tokens, answer.finish), (alone.tokens, alone.finish));
            assert_eq!(answer.prompt_tokens, prompt.input_ids.len());
        }
    }
    assert!(generate_batch(&model, None, &[], &GenerateOptions::new(1)).unwrap().is_empty());
}

#[test]
fn breaking_off_ends_one_answer() {
    let model = load::<Kiln<Flex>>();
    let prompts = ["text", "image"].map(|name| Case::open("tiny-dense", name).inputs());
    let mut told = [0; 2];
    let answers = stream_batch(&model, None, &prompts, &GenerateOptions::new(6), |index, _| {
        told[index] += 1;
        if index == 0 && told[0] == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(told, [2, 6]);
    assert_eq!(answers[0].finish, FinishReason::Cancelled);
    assert_eq!(answers[0].tokens, fixture::read_greedy("tiny-dense", "text")[..2]);
    assert_eq!(answers[1].finish, FinishReason::Length);
    assert_eq!(answers[1].tokens, fixture::read_greedy("tiny-dense", "image")[..6]);
}

#[test]
fn one_wrong_prompt_stops_the_batch_before_anything_runs() {
    let model = load::<Flex>();
    let good = Case::open("tiny-dense", "text").inputs();
    let options = GenerateOptions::new(2);
    let mut steps = 0;
    let error = stream_batch(&model, None, &[good.clone(), ModelInputs::default()], &options, |_, _| {
        steps += 1;
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert!(matches!(error, Error::Input(InputError::Empty)), "{error}");
    assert_eq!(steps, 0);
    let error = generate_batch(&model, None, &[good], &GenerateOptions::new(0)).unwrap_err();
    assert!(matches!(error, Error::Generate(GenerateError::NoTokens)), "{error}");
}
