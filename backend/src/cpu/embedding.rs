//! Rows of a weight by id.

use super::engine::CpuPanels;
use super::storage::{CpuBackend, OwnedFloats};
use crate::engine::{Engine, EngineWeight};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_std::Shape;
use kiln_kernels::{Floats, Storage};

/// Rows as f32. An id out of range is left to B, whose error it is.
pub(super) fn embedding<B: CpuBackend + Engine<Panels = CpuPanels>>(
    weight: &EngineWeight<'_, B>,
    ids: IntTensor<B>,
) -> Result<FloatTensor<B>, IntTensor<B>> {
    match run::<B>(weight, &ids) {
        Some(rows) => {
            note(Route::Embedding);
            Ok(rows)
        }
        None => Err(ids),
    }
}

fn run<B: CpuBackend + Engine<Panels = CpuPanels>>(
    weight: &EngineWeight<'_, B>,
    ids: &IntTensor<B>,
) -> Option<FloatTensor<B>> {
    let rows = B::indices(ids)?;
    let (vocab, hidden) = match weight {
        EngineWeight::Plain(tensor) => {
            let [vocab, hidden] = tensor.shape().dims();
            (vocab, hidden)
        }
        EngineWeight::Packed(panels) => (panels.matrix.n(), panels.matrix.k()),
    };
    if rows.iter().any(|&row| row >= vocab) {
        return None;
    }
    let mut out = vec![0.0f32; rows.len() * hidden];
    let targets = rows.iter().zip(out.chunks_exact_mut(hidden.max(1)));
    match weight {
        EngineWeight::Packed(panels) => {
            for (&row, target) in targets {
                panels.matrix.row(row, target).ok()?;
            }
        }
        EngineWeight::Plain(tensor) => {
            let view = B::view(tensor)?;
            match view.contiguous()? {
                Floats::F32(table) => targets.for_each(|(&row, target)| widen(table, row, target)),
                Floats::Bf16(table) => targets.for_each(|(&row, target)| widen(table, row, target)),
                Floats::F16(table) => targets.for_each(|(&row, target)| widen(table, row, target)),
            }
        }
    }
    let mut shape = ids.shape().to_vec();
    shape.push(hidden);
    B::from_floats(OwnedFloats::F32(out), Shape::from(shape))
}

fn widen<S: Storage>(table: &[S], row: usize, target: &mut [f32]) {
    let source = &table[row * target.len()..][..target.len()];
    for (x, &s) in target.iter_mut().zip(source) {
        *x = s.to_f32();
    }
}
