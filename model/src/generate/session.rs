//! One generation under way: a prompt, the tokens chosen so far, and the logits of the next.

use super::{GenerateError, GenerateOptions};
use crate::inputs::check_length;
use crate::text::Cache;
use crate::{Logits, ModelInputs, PreparedPrompt, Qwen3Vl, Result};
use burn::tensor::Tensor;
use burn_kiln_fusion::FusedOps;

/// Gives logits for any way of choosing tokens: [`Session::start`], then [`Session::push`] for each token chosen.
#[derive(Debug)]
pub struct Session<'a, B: FusedOps> {
    model: &'a Qwen3Vl<B>,
    state: State<B>,
    /// Tokens of the prompt.
    prompt_tokens: usize,
    /// Tokens pushed.
    pushed: usize,
    /// Position of the first pushed token.
    start: i64,
}

#[derive(Debug)]
enum State<B: FusedOps> {
    /// Keys and values of everything so far.
    Cached(Cache<B>),
    /// The prompt and everything pushed, to be computed again for each token.
    Whole { prompt: Box<PreparedPrompt<B>>, pushed: Vec<u32> },
}

impl<'a, B: FusedOps> Session<'a, B> {
    /// Checks that the prompt and `options.max_new_tokens` fit the context, encodes pictures and embeds tokens.
    ///
    /// # Errors
    /// As [`ModelInputs::validate`]; [`GenerateError::NoTokens`];
    /// [`InputError::TooLong`](crate::InputError::TooLong).
    pub fn prepare(
        model: &'a Qwen3Vl<B>,
        inputs: &ModelInputs,
        options: &GenerateOptions,
    ) -> Result<PreparedPrompt<B>> {
        if options.max_new_tokens == 0 {
            return Err(GenerateError::NoTokens.into());
        }
        check_length(inputs.input_ids.len(), options.max_new_tokens, model.config())?;
        model.prepare(inputs)
    }

    /// Runs the prompt and gives the logits of the first token to be generated, `[vocab_size]`.
    ///
    /// The cache is allocated once, for the prompt and `options.max_new_tokens`.
    ///
    /// # Errors
    /// [`GenerateError::Read`], [`GenerateError::NotANumber`].
    pub fn start(
        model: &'a Qwen3Vl<B>,
        prompt: PreparedPrompt<B>,
        options: &GenerateOptions,
    ) -> Result<(Self, Vec<f32>)> {
        let prompt_tokens = prompt.len();
        let start = prompt_tokens as i64 + prompt.positions().rope_delta;
        let (state, logits) = if options.use_cache {
            // The last token generated is never an input.
            let mut cache = model.new_cache(prompt_tokens + options.max_new_tokens - 1);
            let logits = model.prefill(prompt, Some(&mut cache), Logits::Last);
            (State::Cached(cache), logits)
        } else {
            let logits = model.prefill(prompt.clone(), None, Logits::Last);
            (State::Whole { prompt: Box::new(prompt), pushed: Vec::new() }, logits)
        };
        let logits = read_logits(logits, prompt_tokens)?;
        Ok((Self { model, state, prompt_tokens, pushed: 0, start }, logits))
    }

    /// Appends `token` and gives the logits of the next, `[vocab_size]`.
    ///
    /// # Errors
    /// [`GenerateError::Read`], [`GenerateError::NotANumber`].
    ///
    /// # Panics
    /// When more than `max_new_tokens - 1` tokens are pushed, or an id has no embedding.
    pub fn push(&mut self, token: u32) -> Result<Vec<f32>> {
        let position = self.start + self.pushed as i64;
        let logits = match &mut self.state {
            State::Cached(cache) => self.model.decode(token, position, cache),
            State::Whole { prompt, pushed } => {
                pushed.push(token);
                self.model.prefill(self.model.extend(prompt, pushed), None, Logits::Last)
            }
        };
        self.pushed += 1;
        read_logits(logits, self.prompt_tokens + self.pushed)
    }
}

/// # Shapes
/// `logits` `[1, 1, vocab_size]`.
fn read_logits<B: FusedOps>(logits: Tensor<B, 3>, position: usize) -> Result<Vec<f32>> {
    let read = |error: String| GenerateError::Read { reason: error };
    let data = logits.try_into_data().map_err(|error| read(format!("{error:?}")))?;
    let logits: Vec<f32> = data.into_vec().map_err(|error| read(format!("{error:?}")))?;
    match logits.iter().position(|logit| logit.is_nan()) {
        Some(token) => Err(GenerateError::NotANumber { position, token }.into()),
        None => Ok(logits),
    }
}
