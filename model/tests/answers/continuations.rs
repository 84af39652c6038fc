//! Answers without a model: text, what ends it, log-probabilities. Each token of the tokenizer here is one byte.

use crate::fixture;

use qwen3_vl_burn::generate::{Continuation, FinishReason, GenerateError, GenerateOptions, Step};
use qwen3_vl_burn::prompt::{CHAT_TOKENS, Tokenizer, byte_level_tokenizer};
use std::sync::LazyLock;

const VOCAB: usize = 320;
/// `<|im_end|>`, as in the tiny checkpoints.
const END: u32 = 3;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let special: Vec<(&str, u32)> = CHAT_TOKENS.into_iter().zip(1..).collect();
    Tokenizer::from_bytes(byte_level_tokenizer(VOCAB, &special).unwrap().as_bytes(), "tokenizer.json").unwrap()
});

/// Logits that leave no choice.
fn logits_of(token: u32) -> Vec<f32> {
    (0..VOCAB as u32).map(|other| if other == token { 1.0 } else { 0.0 }).collect()
}

fn start(options: &GenerateOptions) -> Continuation<'static> {
    Continuation::new(options, &[9, 10], Some(&TOKENIZER)).unwrap()
}

/// Gives the tokens one at a time, until the answer ends.
fn give(answer: &mut Continuation, tokens: &[u32]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for &token in tokens {
        if answer.finish().is_none() {
            steps.push(answer.accept(&logits_of(token)).unwrap());
            assert_eq!(steps.last().unwrap().token, token);
        }
    }
    steps
}

fn texts(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.text.as_str()).collect()
}

#[test]
fn characters_are_never_split() {
    let text = "Grüße, 漢字 🙂!";
    let mut tokens = TOKENIZER.encode(text).unwrap();
    assert_eq!(tokens.len(), text.len());
    tokens.push(END);
    let mut answer = start(&GenerateOptions::new(99).with_stop_ids(vec![END]));
    let steps = give(&mut answer, &tokens);
    let shown: Vec<String> = text.chars().map(String::from).collect();
    assert_eq!(texts(&steps).into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>(), shown);
    assert_eq!(steps.last().unwrap().finish, Some(FinishReason::Stop));
    let generation = answer.into_generation(Default::default());
    // The mark of the end is a token, and no text.
    assert_eq!(generation.text.as_deref(), Some(text));
    assert_eq!(generation.tokens, tokens);
    assert_eq!((generation.prompt_tokens, generation.seed, generation.logprobs), (2, None, None));
}

#[test]
fn the_length_ends_characters_too() {
    let tokens = TOKENIZER.encode("a🙂").unwrap();
    let mut answer = start(&GenerateOptions::new(3));
    let steps = give(&mut answer, &tokens);
    assert_eq!(texts(&steps), ["a", "", "\u{FFFD}"]);
    assert_eq!(steps[2].finish, Some(FinishReason::Length));
    let error = answer.accept(&logits_of(20)).unwrap_err();
    assert_eq!(error, GenerateError::Ended { tokens: 3 });
    let generation = answer.into_generation(Default::default());
    assert_eq!(generation.text.unwrap(), TOKENIZER.decode(&tokens[..3], true));
}

#[test]
fn stop_strings_are_cut_and_their_beginnings_held_back() {
    let options = GenerateOptions::new(99).with_stop_strings(["\nUser:", "END🙂"]);
    let mut answer = start(&options);
    let steps = give(&mut answer, &TOKENIZER.encode("a\nUse EN\nUser: more").unwrap());
    assert_eq!(texts(&steps), ["a", "", "", "", "", "\nUse ", "", "", "EN", "", "", "", "", ""]);
    assert_eq!(steps.last().unwrap().finish, Some(FinishReason::StopString(0)));
    let generation = answer.into_generation(Default::default());
    assert_eq!(generation.text.as_deref(), Some("a\nUse EN"));
    assert_eq!(generation.finish, FinishReason::StopString(0));
    // The tokens of the stop string stay.
    assert_eq!(TOKENIZER.decode(&generation.tokens, true), "a\nUse EN\nUser:");

    let mut answer = start(&options);
    let steps = give(&mut answer, &TOKENIZER.encode("xEND🙂y").unwrap());
    assert_eq!(steps.len(), 8);
    assert_eq!(answer.into_generation(Default::default()).text.as_deref(), Some("x"));
}

#[test]
fn what_was_held_back_is_shown_at_the_end() {
    let tokens = [TOKENIZER.encode("so EN").unwrap(), vec![END]].concat();
    let options = GenerateOptions::new(99).with_stop_strings(["END"]).with_stop_ids(vec![END]);
    let mut answer = start(&options);
    assert_eq!(texts(&give(&mut answer, &tokens)), ["s", "o", " ", "", "", "EN"]);

    let mut answer = start(&options);
    let steps = give(&mut answer, &tokens[..5]);
    assert_eq!(texts(&steps).concat(), "so ");
    answer.cancel();
    assert_eq!(answer.finish(), Some(FinishReason::Cancelled));
    assert_eq!(answer.tokens(), &tokens[..5]);
    let generation = answer.into_generation(Default::default());
    assert_eq!((generation.text.as_deref(), generation.finish), (Some("so EN"), FinishReason::Cancelled));
}

#[test]
fn a_stop_string_comes_before_a_stop_id_and_that_before_the_length() {
    let tokens = TOKENIZER.encode("abc").unwrap();
    let stop_id = GenerateOptions::new(3).with_stop_ids(vec![tokens[2]]);
    let finish = |options: &GenerateOptions| {
        let mut answer = start(options);
        give(&mut answer, &tokens);
        let generation = answer.into_generation(Default::default());
        (generation.finish, generation.text.unwrap())
    };
    assert_eq!(finish(&stop_id), (FinishReason::Stop, "abc".to_owned()));
    let stop_string = stop_id.with_stop_strings(["x", "bc", "c"]);
    assert_eq!(finish(&stop_string), (FinishReason::StopString(1), "a".to_owned()));
}

#[test]
fn without_a_tokenizer_there_is_no_text() {
    let mut answer = Continuation::new(&GenerateOptions::new(2), &[], None).unwrap();
    let steps = give(&mut answer, &[20, 21]);
    assert_eq!(texts(&steps), ["", ""]);
    let generation = answer.into_generation(Default::default());
    assert_eq!((generation.tokens, generation.text), (vec![20, 21], None));
}

#[test]
fn bad_options_are_errors() {
    let new = |options: GenerateOptions| Continuation::new(&options, &[9], None).unwrap_err();
    assert_eq!(new(GenerateOptions::new(0)), GenerateError::NoTokens);
    let error = new(GenerateOptions::new(1).with_stop_strings(["a", "", ""]));
    assert_eq!(error, GenerateError::EmptyStopString { index: 1 });
    let error = new(GenerateOptions::new(1).with_stop_strings(["a", "b"]));
    assert_eq!(error, GenerateError::StopStringsWithoutTokenizer { count: 2 });
    let error = new(GenerateOptions::new(1).with_logprobs(101));
    assert_eq!(error.to_string(), "logprobs is 101, but must be at most 100");
    GenerateOptions::new(usize::MAX).with_logprobs(100).validate().unwrap();
}

/// Against PyTorch's `log_softmax` in f64.
#[test]
fn log_probabilities_equal_the_reference() {
    let path = fixture::folder("generate").join("sampling.json");
    let reference: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let logits: Vec<f32> = serde_json::from_value(reference["logits"]["plain"].clone()).unwrap();
    let expected: Vec<f64> = serde_json::from_value(reference["log_softmax"].clone()).unwrap();
    let mut ranked: Vec<usize> = (0..expected.len()).collect();
    ranked.sort_by(|&a, &b| expected[b].partial_cmp(&expected[a]).unwrap());

    for count in [0, 1, 5, 100] {
        let mut answer = Continuation::new(&GenerateOptions::new(2).with_logprobs(count), &[], None).unwrap();
        let step = answer.accept(&logits).unwrap();
        let logprobs = step.logprobs.unwrap();
        assert!((logprobs.chosen - expected[ranked[0]]).abs() < 1e-12);
        assert_eq!(logprobs.top.len(), count.min(expected.len()));
        for (other, &token) in logprobs.top.iter().zip(&ranked) {
            assert_eq!(other.token as usize, token);
            assert!((other.logprob - expected[token]).abs() < 1e-12);
        }
        if count == 100 {
            let sum: f64 = logprobs.top.iter().map(|other| other.logprob.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
        assert_eq!(answer.into_generation(Default::default()).logprobs, Some(vec![logprobs]));
    }
}

/// They are of the model's logits: penalties and temperature leave them as they are.
#[test]
fn log_probabilities_are_the_models_own() {
    let logits = [1.0f32, 1.0, 0.0];
    let sum = 1f64.exp() * 2.0 + 1.0;
    let mut options = GenerateOptions::new(9).with_logprobs(0);
    options.sampling = options.sampling.with_repetition_penalty(4.0).with_temperature(0.01).with_seed(3);
    let mut answer = Continuation::new(&options, &[1], None).unwrap();
    for _ in 0..2 {
        let step = answer.accept(&logits).unwrap();
        assert!(step.token <= 1);
        assert!((step.logprobs.unwrap().chosen - (1.0 - sum.ln())).abs() < 1e-12);
    }
}
