//! The likeliest token each time.

use super::{FinishReason, GenerateOptions, Generation, Session, Timings};
use crate::{ModelInputs, Qwen3Vl, Result};
use burn_kiln_fusion::FusedOps;
use std::ops::ControlFlow;
use std::time::Instant;

/// Continues a prompt with the likeliest token each time.
///
/// # Errors
/// As [`stream_greedy`].
pub fn generate_greedy<B: FusedOps>(
    model: &Qwen3Vl<B>,
    inputs: &ModelInputs,
    options: &GenerateOptions,
) -> Result<Generation> {
    stream_greedy(model, inputs, options, |_| ControlFlow::Continue(()))
}

/// As [`generate_greedy`], and tells `on_token` of each token as soon as it is chosen; `on_token` may break off.
///
/// # Errors
/// [`InputError`](crate::InputError) and [`PromptError`](crate::prompt::PromptError) for inputs that don't fit the model or its
/// context, [`GenerateError`](super::GenerateError) for logits that aren't numbers.
pub fn stream_greedy<B: FusedOps>(
    model: &Qwen3Vl<B>,
    inputs: &ModelInputs,
    options: &GenerateOptions,
    mut on_token: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<Generation> {
    let mut timings = Timings::default();
    let began = Instant::now();
    let prompt = Session::prepare(model, inputs, options)?;
    // Backends that queue work would charge the tower's time to the decoder; a failure shows when the logits are read.
    let _ = B::sync(&model.device());
    timings.prepare = began.elapsed();

    let began = Instant::now();
    let (mut session, mut logits) = Session::start(model, prompt, options)?;
    timings.prefill = began.elapsed();

    let began = Instant::now();
    let mut tokens = Vec::with_capacity(options.max_new_tokens);
    let finish = loop {
        let token = find_largest(&logits);
        tokens.push(token);
        if on_token(token).is_break() {
            break FinishReason::Cancelled;
        }
        if options.stop_ids.contains(&token) {
            break FinishReason::Stop;
        }
        if tokens.len() == options.max_new_tokens {
            break FinishReason::Length;
        }
        logits = session.push(token)?;
    };
    timings.decode = began.elapsed();
    Ok(Generation { tokens, prompt_tokens: inputs.input_ids.len(), finish, timings })
}

/// Index of the largest value, the first of equal ones. There is one: a vocabulary isn't empty.
fn find_largest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = index;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(find_largest(&[1.0, 3.0, 2.0, 3.0]), 1);
        assert_eq!(find_largest(&[f32::NEG_INFINITY; 3]), 0);
    }
}
