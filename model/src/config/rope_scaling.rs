//! How rotary frequencies are changed for contexts longer than those of the training.

use burn::config::Config;

/// A way of changing the rotary frequencies.
#[derive(Config, Debug, PartialEq)]
pub enum RopeScaling {
    /// They are as they were trained.
    Unscaled,
    /// `linear`: every frequency is divided by a factor.
    Linear {
        /// The factor, above 0.
        factor: f64,
    },
    /// `dynamic` (NTK): the base grows with a sequence that is longer than
    /// [`max_position_embeddings`](super::TextConfig::max_position_embeddings).
    Dynamic {
        /// The factor, above 0.
        factor: f64,
    },
    /// `yarn`: low frequencies are divided by a factor, high ones are not, those between are mixed.
    Yarn(YarnConfig),
}

/// YaRN (Peng and others, arXiv 2309.00071), with HF's options.
#[derive(Config, Debug, PartialEq)]
pub struct YarnConfig {
    /// By how much contexts grow, above 0.
    pub factor: f64,
    /// Longest sequence of the training, tokens.
    pub original_max_position_embeddings: usize,
    /// What cosines and sines are multiplied with; `None`, what follows from `factor`, `mscale` and `mscale_all_dim`.
    pub attention_factor: Option<f64>,
    /// Turns within the original context above which a frequency stays as it is.
    #[config(default = 32.0)]
    pub beta_fast: f64,
    /// Turns within the original context below which a frequency is divided by `factor`.
    #[config(default = 1.0)]
    pub beta_slow: f64,
    /// Weight of `ln factor` in the numerator of the attention factor, where `mscale_all_dim` is there too.
    pub mscale: Option<f64>,
    /// The same in the denominator.
    pub mscale_all_dim: Option<f64>,
    /// Whether the range of mixed frequencies is widened to whole ones.
    #[config(default = true)]
    pub truncate: bool,
}

impl YarnConfig {
    /// What cosines and sines are multiplied with:
    ///
    /// ```text
    /// m(k) = 1 + k/10 · ln factor    (1 where factor ≤ 1)
    /// attention_factor, or m(mscale) / m(mscale_all_dim) where both are there and not 0, or m(1)
    /// ```
    pub fn attention_scale(&self) -> f64 {
        let m = |weight: f64| if self.factor <= 1.0 { 1.0 } else { 0.1 * weight * self.factor.ln() + 1.0 };
        let weight = |weight: Option<f64>| weight.filter(|&weight| weight != 0.0);
        match (self.attention_factor, weight(self.mscale), weight(self.mscale_all_dim)) {
            (Some(factor), _, _) => factor,
            (None, Some(above), Some(below)) => m(above) / m(below),
            _ => m(1.0),
        }
    }
}
