//! What a checkpoint of a run holds.
//!
//! | file | what |
//! | --- | --- |
//! | `adapter_config.json`, `adapter_model.safetensors` | the adapter, as PEFT has it |
//! | or `model.safetensors` and what else a checkpoint has | all weights, as released ones have them |
//! | `optimizer.safetensors` | moments, steps, f32 copies of parameters that are held in bf16 |
//! | `state.json` | [`RunState`] |

use super::error::RunError;
use super::folder::RunFolder;
use super::state::RunState;
use super::{manifest, weights};
use crate::lora::{LoraConfig, save_adapter};
use crate::optim::AdamW;
use burn_autodiff::Autodiff;
use burn_kiln_fusion::TrainingOps;
use qwen3_vl_burn::Qwen3Vl;
use std::path::{Path, PathBuf};

const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// What of the model is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The adapter.
    Adapter(LoraConfig),
    /// All weights.
    Weights {
        /// The folder of the checkpoint that training began with: its configuration, tokenizer and settings are copied.
        base: PathBuf,
    },
}

impl Output {
    /// The folder of the result within that of the run.
    pub fn folder(&self) -> &'static str {
        match self {
            Self::Adapter(_) => "adapter",
            Self::Weights { .. } => "model",
        }
    }

    pub(super) fn write<B: TrainingOps>(&self, model: &Qwen3Vl<Autodiff<B>>, dir: &Path) -> Result<(), RunError> {
        match self {
            Self::Adapter(config) => Ok(save_adapter(model, config, dir)?),
            Self::Weights { base } => weights::write_weights(model, base, dir),
        }
    }
}

/// Writes the checkpoint of `state.step`.
pub(super) fn write_checkpoint<B: TrainingOps>(
    folder: &RunFolder,
    output: &Output,
    (model, optimizer): (&Qwen3Vl<Autodiff<B>>, &AdamW<B>),
    state: &RunState,
) -> Result<PathBuf, RunError> {
    folder.write_checkpoint(state.step, |dir| {
        output.write(model, dir)?;
        optimizer.save(&dir.join(OPTIMIZER))?;
        let path = dir.join(STATE);
        std::fs::write(&path, manifest::to_bytes(state)).map_err(|source| RunError::Write { path, source })
    })
}

/// Reads the state of a checkpoint, and that of the optimiser; weights are loaded as those of any model, adapters by
/// [`load_adapter_with_seed`](crate::lora::load_adapter_with_seed).
pub(super) fn read_checkpoint<B: TrainingOps>(
    dir: &Path,
    optimizer: &mut AdamW<B>,
    device: &B::Device,
) -> Result<RunState, RunError> {
    let path = dir.join(STATE);
    let bytes = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
    let state = manifest::from_bytes(&path, &bytes)?;
    optimizer.load(&dir.join(OPTIMIZER), device)?;
    Ok(state)
}
