//! Rows of a weight by id.

use super::panels::CpuEngine;
use crate::engine::{EmbeddingOperands, EngineWeight};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::embedding::{self as kernel, EmbeddingTable};
use kiln_kernels::{ElementType, FloatsMut, Launch};

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
    let view = match weight {
        EngineWeight::Plain(tensor) => Some(B::view(tensor)?),
        EngineWeight::Packed(_) => None,
    };
    let table = match (weight, &view) {
        (EngineWeight::Plain(tensor), Some(view)) => {
            let [_, hidden] = tensor.shape().dims();
            EmbeddingTable::Plain { data: view.contiguous()?, hidden }
        }
        (EngineWeight::Packed(panels), _) => EmbeddingTable::Packed(&panels.matrix),
        (EngineWeight::Plain(_), None) => return None,
    };
    let mut out = B::allocate(ElementType::F32, rows.len().checked_mul(table.hidden())?)?;
    let FloatsMut::F32(floats) = out.as_floats_mut() else { return None };
    kernel::embedding(Launch::from(config), table, &rows, floats).ok()?;
    let mut shape = ids.shape().to_vec();
    shape.push(table.hidden());
    let output = B::from_floats(out, Shape::from(shape))?;
    note(Route::Embedding);
    Some(output)
}
