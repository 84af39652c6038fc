//! Rows of a weight by id.

use super::panels::{CpuEngine, sizes};
use crate::engine::{EmbeddingOperands, EngineWeight};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::{ElementType, Floats, FloatsMut, Storage};

/// Rows as f32. An id out of range is left to B, whose error it is.
///
/// In the section `simd`, as all that is done element by element: off, B selects rows and converts them.
pub(super) fn embedding<B: CpuEngine>(
    operands: &EmbeddingOperands<B>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    if !config.simd.enabled {
        return None;
    }
    let EmbeddingOperands { weight, ids } = operands;
    let rows = B::indices(ids)?;
    let [vocab, hidden] = sizes(weight);
    if rows.iter().any(|&row| row >= vocab) {
        return None;
    }
    let mut out = B::allocate(ElementType::F32, rows.len().checked_mul(hidden)?)?;
    let FloatsMut::F32(floats) = out.as_floats_mut() else { return None };
    let targets = rows.iter().zip(floats.chunks_exact_mut(hidden.max(1)));
    match weight {
        EngineWeight::Packed(panels) => {
            for (&row, target) in targets {
                panels.matrix.row(row, target).ok()?;
            }
        }
        EngineWeight::Plain(tensor) => match B::view(tensor)?.contiguous()? {
            Floats::F32(table) => targets.for_each(|(&row, target)| widen(table, row, target)),
            Floats::Bf16(table) => targets.for_each(|(&row, target)| widen(table, row, target)),
            Floats::F16(table) => targets.for_each(|(&row, target)| widen(table, row, target)),
        },
    }
    let mut shape = ids.shape().to_vec();
    shape.push(hidden);
    let output = B::from_floats(out, Shape::from(shape))?;
    note(Route::Embedding);
    Some(output)
}

fn widen<S: Storage>(table: &[S], row: usize, target: &mut [f32]) {
    let source = &table[row * target.len()..][..target.len()];
    for (x, &s) in target.iter_mut().zip(source) {
        *x = s.to_f32();
    }
}
