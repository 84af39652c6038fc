//! Inputs that don't fit are typed errors with values, never a panic.

use crate::fixture;

use burn::module::Param;
use burn::tensor::Tensor;
use burn_flex::Flex;
use fixture::Case;
use qwen3_vl_burn::generate::{FinishReason, GenerateError, GenerateOptions, generate, stream};
use qwen3_vl_burn::processor::Grid;
use qwen3_vl_burn::prompt::{Modality, PromptError};
use qwen3_vl_burn::{Error, InputError, LoadOptions, Logits, ModelInputs, Qwen3Vl};
use std::ops::ControlFlow;

fn load() -> Qwen3Vl<Flex> {
    Qwen3Vl::load(fixture::folder("tiny-dense"), &Default::default(), LoadOptions::default()).unwrap()
}

fn refuse(model: &Qwen3Vl<Flex>, inputs: &ModelInputs) -> Error {
    model.forward(inputs, Logits::Last).unwrap_err()
}

#[test]
fn tokens_must_be_there_and_have_an_embedding() {
    let model = load();
    assert!(matches!(refuse(&model, &ModelInputs::default()), Error::Input(InputError::Empty)));
    let inputs = ModelInputs::from_text(vec![1, 319, 320]);
    let Error::Input(error) = refuse(&model, &inputs) else { panic!() };
    assert_eq!(error, InputError::TokenId { index: 2, id: 320, vocab_size: 320 });
}

#[test]
fn pixels_must_fill_the_grids() {
    let model = load();
    let mut inputs = Case::open("tiny-dense", "image").inputs();
    inputs.images.pixel_values.pop();
    let Error::Input(error) = refuse(&model, &inputs) else { panic!() };
    let expected = 60 * 1536;
    let found = expected - 1;
    assert_eq!(error, InputError::PixelCount { modality: Modality::Image, patches: 60, expected, found });

    inputs.images.grids = vec![Grid { t: usize::MAX, h: 2, w: 2 }];
    assert!(matches!(refuse(&model, &inputs), Error::Input(InputError::PixelCount { .. })));
}

#[test]
fn pads_must_match_the_pictures() {
    let model = load();
    let mut inputs = Case::open("tiny-dense", "image").inputs();
    let pad = model.config().image_token_id;
    let first = inputs.input_ids.iter().position(|&id| id == pad).unwrap();
    inputs.input_ids.remove(first);
    assert!(matches!(refuse(&model, &inputs), Error::Prompt(PromptError::RunLength { expected: 15, found: 14, .. })));
    let text = ModelInputs::from_text(vec![9, pad, 9]);
    assert!(matches!(refuse(&model, &text), Error::Prompt(PromptError::Count { given: 0, .. })));
}

#[test]
fn answers_must_fit_the_context() {
    let model = load();
    let options = GenerateOptions::new(262_144);
    let error = generate(&model, &ModelInputs::from_text(vec![9, 10]), &options).unwrap_err();
    let Error::Input(error) = error else { panic!("{error}") };
    assert_eq!(error, InputError::TooLong { prompt: 2, added: 262_144, limit: 262_144 });
    let error = generate(&model, &ModelInputs::from_text(vec![9]), &GenerateOptions::new(0)).unwrap_err();
    assert!(matches!(error, Error::Generate(GenerateError::NoTokens)));
}

#[test]
fn nan_ends_generation() {
    let mut model = load();
    let weight = Tensor::full([64], f32::NAN, &Default::default());
    model.language_model.norm.weight = Param::from_tensor(weight);
    let error = generate(&model, &ModelInputs::from_text(vec![9, 10]), &GenerateOptions::new(4)).unwrap_err();
    assert!(matches!(error, Error::Generate(GenerateError::NotANumber { position: 2, token: 0 })), "{error}");
}

#[test]
fn a_caller_can_break_off() {
    let model = load();
    let case = Case::open("tiny-dense", "text");
    let mut told = Vec::new();
    let answer = stream(&model, None, &case.inputs(), &GenerateOptions::new(8), |step| {
        told.push(step.token);
        if told.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let answer = answer.unwrap();
    assert_eq!(answer.finish, FinishReason::Cancelled);
    assert_eq!(answer.tokens, told);
    let expected: Vec<u32> = case.integers("expect.greedy").iter().map(|&id| id as u32).collect();
    assert_eq!(told, expected[..3]);
}
