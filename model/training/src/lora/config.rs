//! What is adapted, and how.

use super::LoraError;
use qwen3_vl_burn::checkpoint::{AdapterConfig, AdapterTargets};
use serde::{Deserialize, Serialize};

/// The text layers that are adapted unless others are named.
const TEXT: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Settings of a LoRA adapter, in PEFT's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rows of `A` and columns of `B`, at least 1.
    pub rank: usize,
    /// What is added is `alpha / rank · B·A`.
    pub alpha: f64,
    /// The share of an adapter's inputs that are dropped while it trains, in [0, 1). Nothing is dropped but in passes
    /// that [`DropoutPass::begin`](qwen3_vl_burn::layers::DropoutPass::begin) starts.
    pub dropout: f64,
    /// The layers that are adapted.
    pub targets: AdapterTargets,
    /// rsLoRA: `alpha / √rank · B·A`.
    pub rank_stabilized: bool,
    /// Of `A`, and of the dropout's masks.
    pub seed: u64,
    /// The base model's folder or Hugging Face id, for who loads the adapter.
    pub base_model: Option<String>,
}

impl LoraConfig {
    /// An adapter of all linear layers of the decoder, without dropout, of seed 0.
    pub fn new(rank: usize, alpha: f64) -> Self {
        Self {
            rank,
            alpha,
            dropout: 0.0,
            targets: AdapterTargets::Names(TEXT.map(str::to_owned).to_vec()),
            rank_stabilized: false,
            seed: 0,
            base_model: None,
        }
    }

    /// Adapts `targets` in place of the decoder's layers.
    pub fn with_targets(mut self, targets: AdapterTargets) -> Self {
        self.targets = targets;
        self
    }

    /// What the product of the matrices is multiplied with.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// Refuses what no adapter can be made with.
    ///
    /// # Errors
    /// [`LoraError::Rank`], [`LoraError::Alpha`], [`LoraError::Dropout`].
    pub fn check(&self) -> Result<(), LoraError> {
        if self.rank == 0 {
            return Err(LoraError::Rank);
        }
        if !(self.alpha.is_finite() && self.alpha >= 0.0) {
            return Err(LoraError::Alpha { found: self.alpha });
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(LoraError::Dropout { found: self.dropout });
        }
        Ok(())
    }

    /// The settings as PEFT's file has them.
    pub(super) fn to_adapter(&self, targets: AdapterTargets) -> AdapterConfig {
        AdapterConfig {
            rank: self.rank,
            alpha: self.alpha,
            dropout: self.dropout,
            rank_stabilized: self.rank_stabilized,
            targets,
            base_model: self.base_model.clone(),
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
        }
    }
}
