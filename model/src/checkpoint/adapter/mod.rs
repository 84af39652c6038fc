//! Adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! ```text
//! base_model.model.model.language_model.layers.3.self_attn.q_proj.lora_A.weight
//! └ PEFT ────────┘ └ the module's name in HF's model ────────────┘ └ A [rank, in], B [out, rank]
//! W + s·B·A        s = alpha / rank, with rsLoRA alpha / √rank
//! ```
//!
//! Names are read as those of checkpoints are: of training on the text model alone
//! (`base_model.model.model.layers.3..`), of older HF versions, of wrappers. What is not plain LoRA (DoRA, biases,
//! saved modules, experts, embeddings) is an error that names it: leaving it out would be another model.

mod config;
mod error;
mod find;
mod merge;
mod names;
mod open;
mod pattern;

pub use config::{AdapterConfig, AdapterTargets};
pub use error::AdapterError;
pub(crate) use find::{ADAPTER_CONFIG, find_adapter};
pub use names::{is_adaptable, name_adapter_tensor};
pub use pattern::{Pattern, PatternError};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of an adapter's tensors.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// An adapter in memory: each pair of matrices by the released name of its module.
#[derive(Debug, Clone)]
pub struct Adapter {
    dir: PathBuf,
    config: AdapterConfig,
    pairs: BTreeMap<String, LoraPair>,
}

/// The two matrices of a module, in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPair {
    /// `[rank, inputs]`, row by row.
    pub a: Vec<f32>,
    /// `[outputs, rank]`, row by row.
    pub b: Vec<f32>,
    /// Their common size, at least 1.
    pub rank: usize,
    /// Length of a row of the module's input; a convolution's kernel is one row.
    pub inputs: usize,
    /// Length of a row of its output.
    pub outputs: usize,
    /// What their product is multiplied with.
    pub scale: f64,
}

impl Adapter {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its settings.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// The matrices by their modules' released names (`model.language_model.layers.3.self_attn.q_proj`).
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &LoraPair)> {
        self.pairs.iter().map(|(module, pair)| (module.as_str(), pair))
    }

    /// The matrices of a module.
    pub fn pair(&self, module: &str) -> Option<&LoraPair> {
        self.pairs.get(module)
    }

    /// The matrices of the module whose weight is the tensor `name`.
    pub(crate) fn pair_of(&self, name: &str) -> Option<&LoraPair> {
        self.pair(name.strip_suffix(".weight")?)
    }
}
