//! Sequences side by side: each gets what it gets alone.

mod fixture;

use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln_fusion::FusedOps;
use fixture::Case;
use qwen3_vl_burn::generate::{GenerateOptions, Session};
use qwen3_vl_burn::{LoadOptions, Logits, Qwen3Vl};
use std::collections::BTreeMap;

/// Relative to the largest logit. A batch's products have other shapes than a single prompt's, so sums may be taken in another
/// order; positions, masks and caches that were mixed up would show at once.
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

/// All cases of the fixture in one batch: prompts of 34, 24, 54 and 42 tokens with pictures, none and a video. Every sequence
/// gives HF's 64 greedy tokens, though each ends at another time.
fn check_greedy<B: FusedOps>(use_cache: bool) {
    let model = load::<B>();
    let text = std::fs::read_to_string(fixture::folder("tiny-dense").join("greedy.json")).unwrap();
    let expected: BTreeMap<String, Vec<u32>> = serde_json::from_str(&text).unwrap();
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
        assert_eq!(answer, expected[*name][..length], "{name}");
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
    let all = model.prefill(prepare(), &mut [], Logits::All);
    let expected: Vec<f32> = cases.iter().flat_map(|case| case.floats("expect.logits")).collect();
    assert_eq!(all.dims(), [1, expected.len() / 320, 320]);
    let error = relative_error(&all.into_data().to_vec::<f32>().unwrap(), &expected);
    assert!(error < TOLERANCE, "{error:.2e}");

    let last = model.prefill(prepare(), &mut [], Logits::Last);
    assert_eq!(last.dims(), [4, 1, 320]);
    let expected: Vec<f32> = cases
        .iter()
        .flat_map(|case| case.floats("expect.logits").split_off((case.inputs().input_ids.len() - 1) * 320))
        .collect();
    let error = relative_error(&last.into_data().to_vec::<f32>().unwrap(), &expected);
    assert!(error < TOLERANCE, "{error:.2e}");
}
