//! Sequences under way: their prompts, the tokens chosen so far, and the logits of the next.
//!
//! Sequences of any lengths run side by side: each pass of the decoder takes the rows of all of them behind each other,
//! so that weights are read once for all, and no row is padding. Each sequence has its own keys and values.

use super::{GenerateError, GenerateOptions};
use crate::inputs::check_length;
use crate::prefix::fingerprint_pictures;
use crate::text::Cache;
use crate::{Logits, ModelInputs, PrefixCache, PreparedPrompt, Qwen3Vl, Result};
use burn::tensor::Tensor;
use burn_kiln_fusion::FusedOps;

/// Gives logits for any way of choosing tokens: [`Session::start`], then [`Session::push`] for each token chosen.
#[derive(Debug)]
pub struct Session<'a, B: FusedOps> {
    model: &'a Qwen3Vl<B>,
    sequences: Vec<Sequence<B>>,
}

/// One of the sequences of a [`Session`].
#[derive(Debug)]
struct Sequence<B: FusedOps> {
    state: State<B>,
    /// Tokens so far.
    tokens: usize,
    /// Position of the next.
    position: i64,
}

#[derive(Debug)]
enum State<B: FusedOps> {
    /// Keys and values of everything so far.
    Cached(Cache<B>),
    /// Keys and values, and what they belong to.
    Prefix(PrefixCache<B>),
    /// The prompt and everything pushed, to be computed again for each token.
    Whole { prompt: Box<PreparedPrompt<B>>, pushed: Vec<u32> },
    /// Nothing: it has ended.
    Released,
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
        check_room(model, inputs, options)?;
        model.prepare(inputs)
    }

    /// Checks a prompt without running anything.
    ///
    /// # Errors
    /// As [`Session::prepare`].
    pub fn check(model: &Qwen3Vl<B>, inputs: &ModelInputs, options: &GenerateOptions) -> Result<()> {
        check_room(model, inputs, options)?;
        inputs.validate(model.config()).map(drop)
    }

    /// As [`Session::prepare`], but leaves out what `prefix` holds, which is cut to what it shares with this prompt.
    /// Only the pictures behind it are encoded.
    ///
    /// # Errors
    /// As [`Session::prepare`]; `prefix` is as it was then.
    pub fn prepare_after(
        model: &'a Qwen3Vl<B>,
        inputs: &ModelInputs,
        options: &GenerateOptions,
        prefix: &mut PrefixCache<B>,
    ) -> Result<PreparedPrompt<B>> {
        check_room(model, inputs, options)?;
        let layout = inputs.validate(model.config())?;
        let pictures = fingerprint_pictures(inputs, &layout.modalities, model.config());
        let shared = prefix.keep_shared(&inputs.input_ids, &pictures);
        prefix.ids.extend(&inputs.input_ids[shared..]);
        prefix.pictures = pictures;
        model.prepare_end(inputs, &layout, shared)
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
        let (session, mut logits) = Self::start_batch(model, vec![prompt], options)?;
        Ok((session, logits.remove(0)))
    }

    /// Runs prompts side by side and gives the logits of the first token of each, `[vocab_size]` each.
    ///
    /// # Errors
    /// As [`Session::start`].
    ///
    /// # Panics
    /// Without a prompt.
    pub fn start_batch(
        model: &'a Qwen3Vl<B>,
        prompts: Vec<PreparedPrompt<B>>,
        options: &GenerateOptions,
    ) -> Result<(Self, Vec<Vec<f32>>)> {
        let make = |prompt: &PreparedPrompt<B>| {
            let state = if options.use_cache {
                // The last token generated is never an input.
                State::Cached(model.new_cache(prompt.len() + options.max_new_tokens - 1))
            } else {
                State::Whole { prompt: Box::new(prompt.clone()), pushed: Vec::new() }
            };
            Sequence { state, tokens: prompt.len(), position: prompt.next_position() }
        };
        let sequences = prompts.iter().map(make).collect();
        Self { model, sequences }.run_prompts(prompts)
    }

    /// Runs the rest of a prompt ([`Session::prepare_after`]) behind `prefix`, which the session takes over
    /// ([`Session::into_prefix`]), and gives the logits of the first token to be generated.
    ///
    /// # Errors
    /// As [`Session::start`]; the prefix is lost then.
    pub fn resume(
        model: &'a Qwen3Vl<B>,
        prompt: PreparedPrompt<B>,
        options: &GenerateOptions,
        mut prefix: PrefixCache<B>,
    ) -> Result<(Self, Vec<f32>)> {
        let tokens = prefix.ids.len();
        prefix.cache.reserve(tokens + options.max_new_tokens - 1);
        let position = prompt.next_position();
        let sequences = vec![Sequence { state: State::Prefix(prefix), tokens, position }];
        let (session, mut logits) = Self { model, sequences }.run_prompts(vec![prompt])?;
        Ok((session, logits.remove(0)))
    }

    /// What a session that was [resumed](Session::resume) has computed: the prompt and all tokens pushed. `None` for
    /// others.
    pub fn into_prefix(self) -> Option<PrefixCache<B>> {
        self.sequences.into_iter().find_map(|sequence| match sequence.state {
            State::Prefix(prefix) => Some(prefix),
            _ => None,
        })
    }

    fn run_prompts(mut self, prompts: Vec<PreparedPrompt<B>>) -> Result<(Self, Vec<Vec<f32>>)> {
        let mut caches: Vec<&mut Cache<B>> = self.sequences.iter_mut().filter_map(|s| s.state.cache()).collect();
        let logits = self.model.prefill(prompts, &mut caches, Logits::Last)?;
        let tokens: Vec<usize> = self.sequences.iter().map(|sequence| sequence.tokens).collect();
        let logits = read_logits(logits, &tokens)?;
        Ok((self, logits))
    }

    /// Appends `token` to the only sequence and gives the logits of the next, `[vocab_size]`.
    ///
    /// # Errors
    /// [`GenerateError::Read`], [`GenerateError::NotANumber`].
    ///
    /// # Panics
    /// When more than `max_new_tokens - 1` tokens are pushed, or an id has no embedding.
    pub fn push(&mut self, token: u32) -> Result<Vec<f32>> {
        Ok(self.push_batch(&[(0, token)])?.remove(0))
    }

    /// Appends a token to each sequence named, in ascending order, and gives the logits of their next tokens,
    /// `[vocab_size]` each.
    ///
    /// # Errors
    /// As [`Session::push`].
    ///
    /// # Panics
    /// As [`Session::push`]; for a sequence that doesn't exist or was released; unless sequences ascend.
    pub fn push_batch(&mut self, tokens: &[(usize, u32)]) -> Result<Vec<Vec<f32>>> {
        assert!(tokens.is_sorted_by(|a, b| a.0 < b.0), "sequences ascend");
        let model = self.model;
        let mut wanted = tokens.iter().copied().peekable();
        let mut steps = Vec::with_capacity(tokens.len());
        let mut caches = Vec::with_capacity(tokens.len());
        let mut whole = Vec::new();
        let mut counts = Vec::with_capacity(tokens.len());
        for (index, sequence) in self.sequences.iter_mut().enumerate() {
            let Some((_, token)) = wanted.next_if(|&(wanted, _)| wanted == index) else { continue };
            steps.push((token, sequence.position));
            sequence.position += 1;
            sequence.tokens += 1;
            counts.push(sequence.tokens);
            match &mut sequence.state {
                State::Cached(cache) => caches.push(cache),
                State::Prefix(prefix) => {
                    prefix.ids.push(token);
                    caches.push(&mut prefix.cache);
                }
                State::Whole { prompt, pushed } => {
                    pushed.push(token);
                    whole.push(model.extend(prompt, pushed)?);
                }
                State::Released => panic!("sequence {index} was released"),
            }
        }
        assert_eq!(steps.len(), tokens.len(), "there are {} sequences", self.sequences.len());
        let logits = match whole.is_empty() {
            true => model.decode(&steps, &mut caches)?,
            false => model.prefill(whole, &mut [], Logits::Last)?,
        };
        read_logits(logits, &counts)
    }

    /// Gives the memory of a sequence that has ended back.
    pub fn release(&mut self, sequence: usize) {
        self.sequences[sequence].state = State::Released;
    }
}

impl<B: FusedOps> State<B> {
    fn cache(&mut self) -> Option<&mut Cache<B>> {
        match self {
            Self::Cached(cache) => Some(cache),
            Self::Prefix(prefix) => Some(&mut prefix.cache),
            Self::Whole { .. } | Self::Released => None,
        }
    }
}

fn check_room<B: FusedOps>(model: &Qwen3Vl<B>, inputs: &ModelInputs, options: &GenerateOptions) -> Result<()> {
    if options.max_new_tokens == 0 {
        return Err(GenerateError::NoTokens.into());
    }
    Ok(check_length(inputs.input_ids.len(), options.max_new_tokens, model.config())?)
}

/// # Shapes
/// `logits` `[sequences, 1, vocab_size]`; `tokens` are those of each sequence so far.
fn read_logits<B: FusedOps>(logits: Tensor<B, 3>, tokens: &[usize]) -> Result<Vec<Vec<f32>>> {
    let [_, _, vocab] = logits.dims();
    let read = |error: String| GenerateError::Read { reason: error };
    let data = logits.try_into_data().map_err(|error| read(format!("{error:?}")))?;
    let mut logits: Vec<f32> = data.into_vec().map_err(|error| read(format!("{error:?}")))?;
    for (row, &position) in logits.chunks_exact(vocab).zip(tokens) {
        if let Some(token) = row.iter().position(|logit| logit.is_nan()) {
            return Err(GenerateError::NotANumber { position, token }.into());
        }
    }
    if tokens.len() == 1 {
        return Ok(vec![logits]);
    }
    Ok(logits.chunks_exact_mut(vocab).map(|row| row.to_vec()).collect())
}
