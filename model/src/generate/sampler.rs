//! From logits to a token.

use super::candidates::{Candidate, cut, find_threshold, weigh};
use super::draw::{Draws, pick};
use super::history::History;
use super::{GenerateError, Sampling};

/// Chooses the tokens of one sequence: penalties, temperature, top-k, top-p, min-p and a draw, in this order.
///
/// Scores are f64 from the f32 logits on, where HF computes in f32: results differ by HF's rounding. Of tokens equally
/// likely at the edge of top-p, those of lower id stay; HF's choice among them is its sort's. Each step is
/// O(vocabulary), and once the buffers have grown with the first token, nothing is allocated.
///
/// ```
/// use qwen3_vl_burn::generate::{Sampler, Sampling};
///
/// let mut sampler = Sampler::new(&Sampling::greedy().with_temperature(0.7).with_seed(1), &[5, 6])?;
/// let token = sampler.choose(&[0.1, 2.0, f32::NEG_INFINITY])?;
/// assert!(token < 2);
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    history: History,
    /// `None` where nothing is drawn.
    draws: Option<Draws>,
    scores: Vec<f64>,
    ranked: Vec<f64>,
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// For a sequence that begins with `prompt`.
    ///
    /// # Errors
    /// As [`Sampling::validate`].
    pub fn new(sampling: &Sampling, prompt: &[u32]) -> Result<Self, GenerateError> {
        sampling.validate()?;
        Ok(Self {
            sampling: sampling.clone(),
            history: History::new(sampling, prompt),
            draws: (!sampling.is_greedy()).then(|| Draws::new(sampling.seed)),
            scores: Vec::new(),
            ranked: Vec::new(),
            candidates: Vec::new(),
        })
    }

    /// The seed of the draws; `None` where the likeliest token is taken.
    pub fn seed(&self) -> Option<u64> {
        self.draws.as_ref().map(Draws::seed)
    }

    /// The tokens that may come next, by id, with their weights; the likeliest alone where the temperature is 0.
    ///
    /// Tokens of +inf share the probability among them. Nothing is remembered.
    ///
    /// # Errors
    /// [`GenerateError::NotANumber`]; [`GenerateError::NoCandidate`] where all logits are -inf.
    pub fn distribute(&mut self, logits: &[f32]) -> Result<&[Candidate], GenerateError> {
        let position = self.history.len();
        if let Some(token) = logits.iter().position(|logit| logit.is_nan()) {
            return Err(GenerateError::NotANumber { position, token });
        }
        self.scores.clear();
        self.scores.extend(logits.iter().map(|&logit| f64::from(logit)));
        self.history.penalize(&mut self.scores);
        let (token, largest) = find_largest(&self.scores);
        if largest == f64::NEG_INFINITY {
            return Err(GenerateError::NoCandidate { position, vocab_size: logits.len() });
        }
        if self.sampling.is_greedy() {
            self.candidates.clear();
            self.candidates.push(Candidate { token, weight: 1.0 });
        } else {
            let threshold = find_threshold(&self.scores, self.sampling.top_k, &mut self.ranked);
            weigh(&self.scores, largest, threshold, self.sampling.temperature, &mut self.candidates);
            cut(&mut self.candidates, &self.sampling);
        }
        Ok(&self.candidates)
    }

    /// Chooses the next token and remembers it.
    ///
    /// # Errors
    /// As [`Sampler::distribute`].
    pub fn choose(&mut self, logits: &[f32]) -> Result<u32, GenerateError> {
        self.distribute(logits)?;
        let number = self.draws.as_mut().map_or(0.0, Draws::next);
        let none = GenerateError::NoCandidate { position: self.history.len(), vocab_size: logits.len() };
        let token = pick(&self.candidates, number).ok_or(none)?;
        self.history.push(token);
        Ok(token)
    }
}

/// The largest score, and the first token that has it; -inf of none.
fn find_largest(scores: &[f64]) -> (u32, f64) {
    let mut best = (0, f64::NEG_INFINITY);
    for (token, &score) in (0u32..).zip(scores) {
        if score > best.1 {
            best = (token, score);
        }
    }
    best
}
