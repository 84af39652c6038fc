//! The loop: logits to a token, the token to logits.

use super::{Continuation, GenerateOptions, Generation, Session, Step, Timings};
use crate::prompt::Tokenizer;
use crate::{ModelInputs, PrefixCache, Qwen3Vl, Result};
use burn_kiln_fusion::FusedOps;
use std::ops::ControlFlow;
use std::time::Instant;

/// Continues a prompt, to tokens without text.
///
/// # Errors
/// As [`stream`].
pub fn generate<B: FusedOps>(
    model: &Qwen3Vl<B>,
    inputs: &ModelInputs,
    options: &GenerateOptions,
) -> Result<Generation> {
    stream(model, None, inputs, options, |_| ControlFlow::Continue(()))
}

/// Continues a prompt and tells `on_step` of each token as soon as it is chosen, with the text that it completes if
/// there is a tokenizer. `on_step` may break off, and so may [`GenerateOptions::cancel`] before the prompt runs and
/// between tokens.
///
/// ```no_run
/// use burn_flex::Flex;
/// use qwen3_vl_burn::generate::{GenerationConfig, stream};
/// use qwen3_vl_burn::{LoadOptions, Qwen3Vl, Qwen3VlProcessor};
/// use std::ops::ControlFlow;
///
/// let dir = "Qwen3-VL-2B-Instruct";
/// let model = Qwen3Vl::<Flex>::load(dir, &Default::default(), LoadOptions::default())?;
/// let processor = Qwen3VlProcessor::load(dir)?;
/// let inputs = processor.ask(&["cat.jpg"], "What is this?")?;
/// let options = GenerationConfig::load(dir)?.options(256);
/// stream(&model, Some(&processor.tokenizer), &inputs, &options, |step| {
///     print!("{}", step.text);
///     ControlFlow::Continue(())
/// })?;
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
///
/// # Errors
/// [`InputError`](crate::InputError) and [`PromptError`](crate::prompt::PromptError) for inputs that don't fit the
/// model or its context, [`GenerateError`](super::GenerateError) for options out of range and logits that aren't
/// numbers. Inputs and options are checked before anything runs.
pub fn stream<B: FusedOps>(
    model: &Qwen3Vl<B>,
    tokenizer: Option<&Tokenizer>,
    inputs: &ModelInputs,
    options: &GenerateOptions,
    on_step: impl FnMut(&Step) -> ControlFlow<()>,
) -> Result<Generation> {
    run(model, tokenizer, inputs, options, None, on_step)
}

/// As [`stream`], for a conversation: what `prefix` holds and shares with this prompt is not computed again, and
/// afterwards it holds this prompt and the answer. After an error it may hold nothing.
///
/// Keys and values are always kept: [`GenerateOptions::use_cache`] doesn't count here.
///
/// # Errors
/// As [`stream`].
pub fn stream_after<B: FusedOps>(
    model: &Qwen3Vl<B>,
    tokenizer: Option<&Tokenizer>,
    inputs: &ModelInputs,
    options: &GenerateOptions,
    prefix: &mut PrefixCache<B>,
    on_step: impl FnMut(&Step) -> ControlFlow<()>,
) -> Result<Generation> {
    run(model, tokenizer, inputs, options, Some(prefix), on_step)
}

/// Prepares the prompt, or what `prefix` doesn't hold of it, and chooses tokens until the answer ends or somebody
/// breaks off.
fn run<B: FusedOps>(
    model: &Qwen3Vl<B>,
    tokenizer: Option<&Tokenizer>,
    inputs: &ModelInputs,
    options: &GenerateOptions,
    mut prefix: Option<&mut PrefixCache<B>>,
    mut on_step: impl FnMut(&Step) -> ControlFlow<()>,
) -> Result<Generation> {
    let mut timings = Timings::default();
    let mut answer = Continuation::new(options, &inputs.input_ids, tokenizer)?;
    if options.is_cancelled() {
        return Ok(answer.into_generation(timings));
    }
    let began = Instant::now();
    let prompt = match &mut prefix {
        Some(prefix) => Session::prepare_after(model, inputs, options, prefix),
        None => Session::prepare(model, inputs, options),
    }?;
    // Backends that queue work would charge the tower's time to the decoder; a failure shows when the logits are read.
    let _ = B::sync(&model.device());
    timings.prepare = began.elapsed();
    if options.is_cancelled() {
        return Ok(answer.into_generation(timings));
    }

    let began = Instant::now();
    let reused_tokens = inputs.input_ids.len() - prompt.len();
    let (mut session, mut logits) = match &mut prefix {
        Some(prefix) => {
            let held = std::mem::replace(*prefix, PrefixCache::new(model));
            Session::resume(model, prompt, options, held)
        }
        None => Session::start(model, prompt, options),
    }?;
    timings.prefill = began.elapsed();

    let began = Instant::now();
    loop {
        let step = answer.accept(&logits)?;
        let broken_off = on_step(&step).is_break();
        if broken_off || step.finish.is_some() || options.is_cancelled() {
            break;
        }
        logits = session.push(step.token)?;
    }
    timings.decode = began.elapsed();
    if let (Some(prefix), Some(held)) = (prefix, session.into_prefix()) {
        *prefix = held;
    }
    Ok(Generation { reused_tokens, ..answer.into_generation(timings) })
}
