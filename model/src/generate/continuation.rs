//! One answer under way, without the model.

use super::answer_text::AnswerText;
use super::logprobs::measure;
use super::{FinishReason, GenerateError, GenerateOptions, Generation, Logprobs, Sampler, Timings};
use crate::prompt::Tokenizer;

/// The answer to one prompt: takes logits, chooses tokens, makes text of them, and knows when to end. Any loop can
/// drive it, for one sequence or as one of many.
///
/// ```
/// use qwen3_vl_burn::generate::{Continuation, FinishReason, GenerateOptions};
///
/// let mut answer = Continuation::new(&GenerateOptions::new(2), &[7, 8], None)?;
/// assert_eq!(answer.accept(&[0.0, 1.0, 0.5])?.token, 1);
/// assert_eq!(answer.accept(&[2.0, 1.0, 0.5])?.finish, Some(FinishReason::Length));
/// assert_eq!(answer.into_generation(Default::default()).tokens, [1, 0]);
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Continuation<'a> {
    max_new_tokens: usize,
    stop_ids: Vec<u32>,
    alternatives: Option<usize>,
    sampler: Sampler,
    text: Option<AnswerText<'a>>,
    prompt_tokens: usize,
    tokens: Vec<u32>,
    logprobs: Vec<Logprobs>,
    /// Room to rank alternatives in.
    ranked: Vec<u32>,
    finish: Option<FinishReason>,
}

/// One token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The token.
    pub token: u32,
    /// Text that may be shown now: whole characters, no special tokens, nothing that may begin a stop string. The texts
    /// of all steps, joined, are the answer's. Empty without a tokenizer.
    pub text: String,
    /// Its log-probabilities, where they were asked for.
    pub logprobs: Option<Logprobs>,
    /// Why it is the last one; `None` where it isn't.
    pub finish: Option<FinishReason>,
}

impl<'a> Continuation<'a> {
    /// An answer to `prompt`; with text if there is a tokenizer.
    ///
    /// # Errors
    /// As [`GenerateOptions::validate`]; [`GenerateError::StopStringsWithoutTokenizer`].
    pub fn new(
        options: &GenerateOptions,
        prompt: &[u32],
        tokenizer: Option<&'a Tokenizer>,
    ) -> Result<Self, GenerateError> {
        options.validate()?;
        if tokenizer.is_none() && !options.stop_strings.is_empty() {
            return Err(GenerateError::StopStringsWithoutTokenizer { count: options.stop_strings.len() });
        }
        Ok(Self {
            max_new_tokens: options.max_new_tokens,
            stop_ids: options.stop_ids.clone(),
            alternatives: options.logprobs,
            sampler: Sampler::new(&options.sampling, prompt)?,
            text: tokenizer.map(|tokenizer| AnswerText::new(tokenizer, options.stop_strings.clone())),
            prompt_tokens: prompt.len(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            ranked: Vec::new(),
            finish: None,
        })
    }

    /// Chooses the next token from its logits, `[vocab_size]`.
    ///
    /// A token that ends the answer in several ways ends it by a stop string rather than a stop id, and by a stop id
    /// rather than the length.
    ///
    /// # Errors
    /// As [`Sampler::distribute`]; [`GenerateError::Ended`] after the last step.
    pub fn accept(&mut self, logits: &[f32]) -> Result<Step, GenerateError> {
        if self.finish.is_some() {
            return Err(GenerateError::Ended { tokens: self.tokens.len() });
        }
        let token = self.sampler.choose(logits)?;
        self.tokens.push(token);
        let logprobs = self.alternatives.map(|count| measure(logits, token, count, &mut self.ranked));
        self.logprobs.extend(logprobs.clone());
        self.finish = if self.stop_ids.contains(&token) {
            Some(FinishReason::Stop)
        } else if self.tokens.len() == self.max_new_tokens {
            Some(FinishReason::Length)
        } else {
            None
        };
        let text = self.text.as_mut().map(|text| text.push(token, self.finish.is_some()));
        let (text, stop) = text.unwrap_or_default();
        if let Some(index) = stop {
            self.finish = Some(FinishReason::StopString(index));
        }
        Ok(Step { token, text, logprobs, finish: self.finish })
    }

    /// Ends the answer here, unless it has ended. Its text gets what was held back, which no step has shown.
    pub fn cancel(&mut self) {
        if self.finish.is_none() {
            self.finish = Some(FinishReason::Cancelled);
            if let Some(text) = &mut self.text {
                text.break_off();
            }
        }
    }

    /// The tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Why the answer ended; `None` while it hasn't.
    pub fn finish(&self) -> Option<FinishReason> {
        self.finish
    }

    /// The answer, cancelled if it hasn't ended.
    pub fn into_generation(mut self, timings: Timings) -> Generation {
        self.cancel();
        Generation {
            tokens: self.tokens,
            text: self.text.map(AnswerText::into_shown),
            logprobs: self.alternatives.map(|_| self.logprobs),
            prompt_tokens: self.prompt_tokens,
            reused_tokens: 0,
            finish: self.finish.unwrap_or(FinishReason::Cancelled),
            seed: self.sampler.seed(),
            timings,
        }
    }
}
