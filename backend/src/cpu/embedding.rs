//! Rows of a weight by id.

use super::engine::CpuPanels;
use super::storage::CpuBackend;
use crate::engine::{Engine, EngineWeight};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_std::Shape;
use kiln_kernels::embedding::{self as kernel, EmbeddingTable};
use kiln_kernels::{ElementType, FloatsMut, Launch};

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
    let ids_of_rows = B::indices(ids)?;
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
    let mut out = B::allocate(ElementType::F32, ids_of_rows.len() * table.hidden())?;
    let FloatsMut::F32(rows) = out.as_floats_mut() else { return None };
    kernel::embedding(Launch::default(), table, &ids_of_rows, rows).ok()?;
    let mut shape = ids.shape().to_vec();
    shape.push(table.hidden());
    B::from_floats(out, Shape::from(shape))
}
