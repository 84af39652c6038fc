//! `--temperature`, `--max-new-tokens` and the other options of generation, over what the checkpoint says.

use crate::Error;
use clap::Args;
use qwen3_vl_burn::generate::{GenerateOptions, GenerationConfig, Sampling};

/// Longest answer where neither the command line nor the checkpoint says, tokens: a paragraph or two.
const DEFAULT_MAX_NEW_TOKENS: usize = 256;

/// On each option, since a heading for all would also take in what a program lists after them.
const HEADING: &str = "Generation (the checkpoint's generation_config.json decides what is not given)";

/// How tokens are chosen, and what ends an answer. What isn't given is the checkpoint's (generation_config.json).
#[derive(Debug, Clone, Default, Args)]
pub struct SamplingArgs {
    /// Longest answer, tokens (256 if the checkpoint does not say)
    #[arg(long, help_heading = HEADING, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_new_tokens: Option<u32>,
    /// Take the likeliest token each time, without the checkpoint's penalties
    #[arg(long, help_heading = HEADING, conflicts_with = "temperature")]
    pub greedy: bool,
    /// Chance: 0 takes the likeliest token each time, 1 draws as the model learnt, more is wilder
    #[arg(long, help_heading = HEADING, allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Draw from this many of the likeliest tokens; 0 for all
    #[arg(long, help_heading = HEADING, value_name = "TOKENS")]
    pub top_k: Option<usize>,
    /// Draw from the likeliest tokens that hold this share of the probability; above 0, at most 1
    #[arg(long, help_heading = HEADING, value_name = "SHARE", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// Draw from tokens with at least this fraction of the likeliest one's probability; 0 to 1
    #[arg(long, help_heading = HEADING, value_name = "FRACTION", allow_negative_numbers = true)]
    pub min_p: Option<f64>,
    /// Make tokens of the prompt and the answer less likely: 1 for not at all, 1.05 for a little
    #[arg(long, help_heading = HEADING, value_name = "FACTOR", allow_negative_numbers = true)]
    pub repetition_penalty: Option<f64>,
    /// Make tokens of the answer less likely, however often they stand there; -2 to 2, 0 for not at all
    #[arg(long, help_heading = HEADING, value_name = "PENALTY", allow_negative_numbers = true)]
    pub presence_penalty: Option<f64>,
    /// Make tokens of the answer less likely, the more often they stand there; -2 to 2, 0 for not at all
    #[arg(long, help_heading = HEADING, value_name = "PENALTY", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f64>,
    /// Number that fixes what is drawn: the same one gives the same answer
    #[arg(long, help_heading = HEADING)]
    pub seed: Option<u64>,
    /// Text that ends the answer and is not shown; may be given several times
    #[arg(long, help_heading = HEADING, value_name = "STRING", allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// End answers only at the tokens that generation_config.json (or config.json) names, as HF does, and not also at
    /// the end of a turn that the tokenizer and the chat template know
    #[arg(long, help_heading = HEADING)]
    pub exact_eos: bool,
}

impl SamplingArgs {
    /// The checkpoint's settings, with what was given in place of them.
    ///
    /// # Errors
    /// [`Error::Model`] for a value out of its range.
    pub fn apply(&self, config: &GenerationConfig) -> Result<GenerateOptions, Error> {
        let given = self.max_new_tokens.map(|tokens| tokens as usize);
        let max_new_tokens = given.or(config.max_new_tokens).unwrap_or(DEFAULT_MAX_NEW_TOKENS);
        let base = if self.greedy { Sampling::greedy() } else { config.sampling.clone() };
        let sampling = Sampling {
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(base.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(base.frequency_penalty),
            temperature: self.temperature.unwrap_or(base.temperature),
            top_k: self.top_k.unwrap_or(base.top_k),
            top_p: self.top_p.unwrap_or(base.top_p),
            min_p: self.min_p.unwrap_or(base.min_p),
            seed: self.seed.or(base.seed),
        };
        let config = if self.exact_eos { &config.clone().exact() } else { config };
        let options = config.options(max_new_tokens).with_sampling(sampling).with_stop_strings(&self.stop);
        options.validate()?;
        Ok(options)
    }
}
