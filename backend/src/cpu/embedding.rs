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

/// The table whose rows a kernel takes; none where it takes none.
pub(super) fn find_table<'a, B: CpuEngine>(
    weight: &'a EngineWeight<B>,
    config: &KernelConfig,
) -> Option<EmbeddingTable<'a>> {
    if !config.simd.enabled {
        return None;
    }
    match weight {
        EngineWeight::Packed(panels) => Some(EmbeddingTable::Packed(&panels.matrix)),
        EngineWeight::Plain(tensor) => {
            let [_, hidden] = tensor.shape().dims();
            Some(EmbeddingTable::Plain { data: B::view(tensor)?.contiguous()?, hidden })
        }
    }
}

/// Rows as f32. An id out of range is left to B, whose error it is.
///
/// In the section `simd`, as all that is done element by element: off, B selects rows and converts them.
pub(super) fn embedding<B: CpuEngine>(
    operands: &EmbeddingOperands<B>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let EmbeddingOperands { weight, ids } = operands;
    let table = find_table::<B>(weight, config)?;
    let rows = B::indices(ids)?;
    let mut out = B::allocate(ElementType::F32, rows.len().checked_mul(table.hidden())?)?;
    let FloatsMut::F32(floats) = out.as_floats_mut() else { return None };
    kernel::embedding(Launch::from(config), table, &rows, floats).ok()?;
    let mut shape = ids.shape().to_vec();
    shape.push(table.hidden());
    let output = B::from_floats(out, Shape::from(shape))?;
    note(Route::Embedding);
    Some(output)
}
