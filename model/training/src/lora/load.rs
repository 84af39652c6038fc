//! Training on from an adapter that was saved.

use super::LoraError;
use super::attach::{dropout_seed, freeze, put};
use super::targets::HEAD;
use burn_kiln_fusion::FusedOps;
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_burn::checkpoint::{Adapter, expected_tensors};
use qwen3_vl_burn::layers::Dropout;
use std::path::Path;

/// Freezes the model's weights and puts the adapter in the folder `dir` beside its layers, trainable: one that
/// [`save_adapter`](super::save_adapter) wrote, or PEFT's own. Ranks and factors may differ between layers.
///
/// # Errors
/// [`LoraError::Model`] for an adapter that cannot be read or doesn't fit the model, [`LoraError::Head`],
/// [`LoraError::Attached`], [`LoraError::Streamed`].
pub fn load_adapter<B: FusedOps>(model: Qwen3Vl<B>, dir: impl AsRef<Path>) -> Result<Qwen3Vl<B>, LoraError> {
    load_adapter_with_seed(model, dir, 0)
}

/// [`load_adapter`] whose dropout has the masks of `seed`, as [`attach`](super::attach) has those of its settings'.
///
/// # Errors
/// As there.
pub fn load_adapter_with_seed<B: FusedOps>(
    model: Qwen3Vl<B>,
    dir: impl AsRef<Path>,
    seed: u64,
) -> Result<Qwen3Vl<B>, LoraError> {
    let mut model = freeze(model)?;
    let adapter = Adapter::open(dir)?;
    adapter.check(&expected_tensors(model.config()))?;
    if adapter.pair(HEAD).is_some() {
        return Err(LoraError::Head { target: HEAD.to_owned() });
    }
    let (probability, pass) = (adapter.config().dropout, model.dropout_pass().clone());
    model.visit_adaptable(&mut |name, layer| {
        if let Some(pair) = adapter.pair(name) {
            let dropout = Dropout { probability, seed: dropout_seed(seed, name), pass: pass.clone() };
            put(name, layer, (pair.a.clone(), pair.b.clone()), (pair.rank, pair.scale), dropout);
        }
    });
    Ok(model)
}
