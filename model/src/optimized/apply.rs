//! `apply_low_level_optimizations` and its reverse.

use super::Block;
use crate::checkpoint::{LoadProgress, LoadStep, NoProgress};
use crate::{Qwen3Vl, Result};
use burn_kiln::{Engine, Kiln, OptimizationConfig, transfer};
use burn_kiln_fusion::FusedOps;

/// The model on Kiln's kernels, as `config` says: which of them, in what sizes, with packed weights or plain ones.
///
/// No weight is copied on the way from `B` to `Kiln<B>`, and packing frees each tensor before it reads the next:
/// weights that a checkpoint maps leave memory as they are packed. The configuration goes with the model, so two models
/// in one process keep their own.
///
/// ```no_run
/// use burn_flex::Flex;
/// use burn_kiln::{Kiln, OptimizationConfig};
/// use qwen3_vl_burn::{LoadOptions, Qwen3Vl, apply_low_level_optimizations};
///
/// let plain = Qwen3Vl::<Flex>::load("Qwen3-VL-2B-Instruct", &Default::default(), LoadOptions::default())?;
/// let fast: Qwen3Vl<Kiln<Flex>> = apply_low_level_optimizations(plain, &OptimizationConfig::detect())?;
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
///
/// A model with a [memory limit](crate::streaming) stays in the checkpoint's rows.
///
/// # Errors
/// [`Error::Optimization`](crate::Error::Optimization) for a configuration with values out of range.
pub fn apply_low_level_optimizations<B: Engine>(
    model: Qwen3Vl<B>,
    config: &OptimizationConfig,
) -> Result<Qwen3Vl<Kiln<B>>> {
    config.validate()?;
    let target = model.init_like();
    transfer::<B, Kiln<B>, _, _>(model, target)?.optimize(config)
}

/// The model back on `B`, its weights in the checkpoint's rows, bit for bit.
///
/// # Errors
/// None that a model of [`apply_low_level_optimizations`] can give.
pub fn undo_low_level_optimizations<B: Engine>(model: Qwen3Vl<Kiln<B>>) -> Result<Qwen3Vl<B>> {
    let model = model.unpack();
    let target = model.init_like();
    Ok(transfer::<Kiln<B>, B, _, _>(model, target)?)
}

impl<B: FusedOps> Qwen3Vl<B> {
    /// Runs the model as `config` says from now on, and packs its weights, if it says so:
    /// [`apply_low_level_optimizations`] for a model that was loaded onto its backend.
    ///
    /// # Errors
    /// [`Error::Optimization`](crate::Error::Optimization) for a configuration with values out of range.
    pub fn optimize(self, config: &OptimizationConfig) -> Result<Self> {
        self.optimize_with_progress(config, &mut NoProgress)
    }

    /// [`Qwen3Vl::optimize`], telling `progress` of every weight that is packed: its bytes are those of its elements as
    /// f32.
    ///
    /// # Errors
    /// As [`Qwen3Vl::optimize`].
    pub fn optimize_with_progress(self, config: &OptimizationConfig, progress: &mut dyn LoadProgress) -> Result<Self> {
        config.validate()?;
        config.apply_to_process();
        let kernels = config.kernels();
        let mut model = self.with_kernel_config(kernels.clone());
        // Of a model with a memory limit only a part could be packed, beside the limit.
        if !config.weights.pack || model.stream().is_some() {
            return Ok(model.unpack());
        }
        let mut total = 0;
        model.visit_weights(&mut |_, weight| total += bytes(weight.shape()));
        let mut done = 0;
        model.visit_weights(&mut |path, mut weight| {
            weight.pack(&kernels);
            done += bytes(weight.shape());
            progress.advance(LoadStep { done, total, tensor: path });
        });
        Ok(model)
    }

    /// Puts every packed weight back into the checkpoint's rows, bit for bit.
    pub fn unpack(mut self) -> Self {
        self.visit_weights(&mut |_, mut weight| weight.unpack());
        self
    }
}

fn bytes([rows, columns]: [usize; 2]) -> u64 {
    (rows * columns * size_of::<f32>()) as u64
}
