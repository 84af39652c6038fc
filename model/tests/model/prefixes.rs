//! A conversation that goes on computes only what is new, and gives what the whole prompt gives.

use crate::fixture;

use burn_flex::Flex;
use burn_kiln::Kiln;
use fixture::Case;
use qwen3_vl_burn::generate::{GenerateOptions, Session, generate, stream_after};
use qwen3_vl_burn::{Error, InputError, LoadOptions, Logits, ModelInputs, PrefixCache, Qwen3Vl};
use std::ops::ControlFlow;

type B = Kiln<Flex>;

/// Relative to the largest logit: keys of the shared part were computed in a pass of another shape.
const TOLERANCE: f64 = 1e-5;

fn load() -> Qwen3Vl<B> {
    Qwen3Vl::load(fixture::folder("tiny-dense"), &Default::default(), LoadOptions::default()).unwrap()
}

/// Runs a prompt behind `prefix` and pushes `answer`; gives the prefix and how many tokens of the prompt were computed,
/// once the logits are those of the whole prompt.
fn run(
    model: &Qwen3Vl<B>,
    inputs: &ModelInputs,
    mut prefix: PrefixCache<B>,
    answer: &[u32],
) -> (PrefixCache<B>, usize) {
    let options = GenerateOptions::new(8);
    let prompt = Session::prepare_after(model, inputs, &options, &mut prefix).unwrap();
    let computed = prompt.len();
    let (mut session, mut logits) = Session::resume(model, prompt, &options, prefix).unwrap();
    let mut whole = inputs.clone();
    for pushed in 0..=answer.len() {
        let expected = model.forward(&whole, Logits::Last).unwrap().into_data().to_vec::<f32>().unwrap();
        let largest = expected.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let error = logits.iter().zip(&expected).fold(0f32, |error, (a, b)| error.max((a - b).abs())) / largest;
        assert!(f64::from(error) < TOLERANCE, "after {pushed} tokens: {error:.2e}");
        if let Some(&token) = answer.get(pushed) {
            logits = session.push(token).unwrap();
            whole.input_ids.push(token);
        }
    }
    (session.into_prefix().unwrap(), computed)
}

/// `inputs`, then these tokens, then the prompt and the picture of the case `image`.
fn go_on(inputs: &ModelInputs, tokens: &[u32]) -> ModelInputs {
    let mut longer = inputs.clone();
    longer.input_ids.extend(tokens);
    let next = Case::open("tiny-dense", "image").inputs();
    longer.input_ids.extend(&next.input_ids);
    longer.images.grids.extend(next.images.grids);
    longer.images.pixel_values.extend(next.images.pixel_values);
    longer
}

#[test]
fn the_next_turn_computes_what_is_new() {
    let model = load();
    for first in ["text", "two-images", "video"] {
        let inputs = Case::open("tiny-dense", first).inputs();
        let (prefix, computed) = run(&model, &inputs, PrefixCache::new(&model), &[48, 239, 27]);
        assert_eq!(computed, inputs.input_ids.len(), "{first}");
        assert_eq!(prefix.len(), computed + 3, "{first}");

        let second = go_on(&inputs, &[48, 239, 27, 12]);
        let (prefix, computed) = run(&model, &second, prefix, &[50, 60]);
        assert_eq!(computed, second.input_ids.len() - inputs.input_ids.len() - 3, "{first}");
        // The same again: one token, whose logits are wanted.
        let (_, computed) = run(&model, &second, prefix, &[]);
        assert_eq!(computed, 1, "{first}");
    }
}

#[test]
fn an_answer_that_was_changed_is_computed_again() {
    let model = load();
    let inputs = Case::open("tiny-dense", "image").inputs();
    let (prefix, _) = run(&model, &inputs, PrefixCache::new(&model), &[48, 239, 27]);
    let second = go_on(&inputs, &[48, 238, 27, 12]);
    let (_, computed) = run(&model, &second, prefix, &[9]);
    assert_eq!(computed, second.input_ids.len() - inputs.input_ids.len() - 1);
}

#[test]
fn another_picture_is_computed_again() {
    let model = load();
    let inputs = Case::open("tiny-dense", "two-images").inputs();
    let (prefix, _) = run(&model, &inputs, PrefixCache::new(&model), &[48]);
    let mut other = inputs.clone();
    let last = other.images.pixel_values.len() - 1;
    other.images.pixel_values[last] += 0.5;
    let pad = model.config().image_token_id;
    let start = other.images.grids[0].tokens(2) + other.input_ids.iter().position(|&id| id == pad).unwrap();
    let second = start + other.input_ids[start..].iter().position(|&id| id == pad).unwrap();
    let (prefix, computed) = run(&model, &other, prefix, &[]);
    assert_eq!(computed, other.input_ids.len() - second);

    other.images.pixel_values[0] += 0.5;
    let first = other.input_ids.iter().position(|&id| id == pad).unwrap();
    let (_, computed) = run(&model, &other, prefix, &[]);
    assert_eq!(computed, other.input_ids.len() - first);
}

#[test]
fn a_prompt_that_does_not_fit_leaves_the_prefix_as_it_was() {
    let model = load();
    let inputs = Case::open("tiny-dense", "text").inputs();
    let (mut prefix, _) = run(&model, &inputs, PrefixCache::new(&model), &[48]);
    let held = prefix.len();
    let options = GenerateOptions::new(300_000);
    let error = Session::prepare_after(&model, &inputs, &options, &mut prefix).unwrap_err();
    assert!(matches!(error, Error::Input(InputError::TooLong { .. })), "{error}");
    let wrong = ModelInputs::from_text(vec![1, 100_000]);
    let error = Session::prepare_after(&model, &wrong, &GenerateOptions::new(4), &mut prefix).unwrap_err();
    assert!(matches!(error, Error::Input(InputError::TokenId { .. })), "{error}");
    assert_eq!(prefix.len(), held);
}

#[test]
fn a_conversation_gives_the_tokens_of_whole_prompts() {
    let model = load();
    let options = GenerateOptions::new(12);
    let mut prefix = PrefixCache::new(&model);
    let mut inputs = Case::open("tiny-dense", "two-images").inputs();
    let mut reused = 0;
    for turn in 0..3 {
        let stop_after = if turn == 1 { 5 } else { 12 };
        let mut told = 0;
        let answer = stream_after(&model, None, &inputs, &options, &mut prefix, |_| {
            told += 1;
            if told == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        let alone = generate(&model, &inputs, &options).unwrap();
        assert_eq!(answer.tokens, alone.tokens[..stop_after], "turn {turn}");
        assert_eq!(answer.reused_tokens, reused, "turn {turn}");
        // The last token of an answer is never an input.
        reused = inputs.input_ids.len() + stop_after - 1;
        assert_eq!(prefix.len(), reused, "turn {turn}");
        inputs = go_on(&inputs, &answer.tokens);
    }
}
