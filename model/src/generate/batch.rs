//! Several prompts side by side.

use super::{Continuation, GenerateOptions, Generation, Session, Step, Timings};
use crate::prompt::Tokenizer;
use crate::{ModelInputs, Qwen3Vl, Result};
use burn_kiln_fusion::FusedOps;
use std::ops::ControlFlow;
use std::time::Instant;

/// Continues prompts of any lengths side by side: each gets the answer that it gets alone (up to the rounding of sums
/// that are taken in another order), and the weights are read once for all of them.
///
/// ```no_run
/// use burn_flex::Flex;
/// use qwen3_vl_burn::generate::{GenerationConfig, generate_batch};
/// use qwen3_vl_burn::{LoadOptions, Qwen3Vl, Qwen3VlProcessor};
///
/// let dir = "Qwen3-VL-2B-Instruct";
/// let model = Qwen3Vl::<Flex>::load(dir, &Default::default(), LoadOptions::default())?;
/// let processor = Qwen3VlProcessor::load(dir)?;
/// let prompts = [processor.ask(&["cat.jpg"], "What is this?")?, processor.ask(&["dog.jpg"], "And this?")?];
/// for answer in generate_batch(&model, Some(&processor.tokenizer), &prompts, &GenerationConfig::load(dir)?.options(64))? {
///     println!("{}", answer.text.unwrap_or_default());
/// }
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
///
/// # Errors
/// As [`stream_batch`].
pub fn generate_batch<B: FusedOps>(
    model: &Qwen3Vl<B>,
    tokenizer: Option<&Tokenizer>,
    prompts: &[ModelInputs],
    options: &GenerateOptions,
) -> Result<Vec<Generation>> {
    stream_batch(model, tokenizer, prompts, options, |_, _| ControlFlow::Continue(()))
}

/// As [`generate_batch`], and tells `on_step` of each token of each prompt (by its index) as soon as it is chosen.
/// Breaking off ends that answer; the others go on. [`GenerateOptions::cancel`] ends all.
///
/// The options count for each prompt by itself: with a seed, each draws what it draws alone. Times are those of the
/// batch.
///
/// # Errors
/// As [`stream`](super::stream), for any of the prompts: all are checked before anything runs.
pub fn stream_batch<B: FusedOps>(
    model: &Qwen3Vl<B>,
    tokenizer: Option<&Tokenizer>,
    prompts: &[ModelInputs],
    options: &GenerateOptions,
    mut on_step: impl FnMut(usize, &Step) -> ControlFlow<()>,
) -> Result<Vec<Generation>> {
    let mut timings = Timings::default();
    let start = |prompt: &ModelInputs| Continuation::new(options, &prompt.input_ids, tokenizer);
    let mut answers = prompts.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let finish = |answers: Vec<Continuation<'_>>, timings| {
        Ok(answers.into_iter().map(|answer| answer.into_generation(timings)).collect())
    };
    if prompts.is_empty() || options.is_cancelled() {
        return finish(answers, timings);
    }
    for prompt in prompts {
        Session::check(model, prompt, options)?;
    }

    let began = Instant::now();
    let prepared = prompts.iter().map(|prompt| model.prepare(prompt)).collect::<Result<Vec<_>>>()?;
    let _ = B::sync(&model.device()); // as for one prompt
    timings.prepare = began.elapsed();
    if options.is_cancelled() {
        return finish(answers, timings);
    }

    let began = Instant::now();
    let (mut session, mut logits) = Session::start_batch(model, prepared, options)?;
    timings.prefill = began.elapsed();

    let began = Instant::now();
    let mut running: Vec<usize> = (0..prompts.len()).collect();
    loop {
        let mut next = Vec::with_capacity(running.len());
        for (&index, logits) in running.iter().zip(&logits) {
            let step = answers[index].accept(logits)?;
            if on_step(index, &step).is_break() || step.finish.is_some() {
                session.release(index);
            } else {
                next.push((index, step.token));
            }
        }
        if next.is_empty() || options.is_cancelled() {
            break;
        }
        logits = session.push_batch(&next)?;
        running = next.into_iter().map(|(index, _)| index).collect();
    }
    timings.decode = began.elapsed();
    finish(answers, timings)
}
