//! Gradients of rows added up by id. In the section `simd`, as their forward.

use super::panels::CpuEngine;
use super::storage::OwnedFloats;
use crate::engine::{AddRowsOperands, EmbeddingBackwardOperands};
use crate::routes::{Route, note};
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_backend::{TensorData, TensorMetadata};
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::embedding::{Before, NamedRows, RowGrads, add_rows};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// Gradients of rows as slices.
struct Given<'a> {
    ids: Vec<usize>,
    data: Floats<'a>,
    hidden: usize,
}

impl Given<'_> {
    fn grads(&self) -> RowGrads<'_> {
        RowGrads { ids: &self.ids, data: self.data, hidden: self.hidden }
    }
}

/// What a kernel takes; none where the section is off, an id is negative or the gradient is not contiguous.
fn read<'a, B: CpuEngine>(
    EmbeddingBackwardOperands { ids, grad }: &'a EmbeddingBackwardOperands<B>,
    config: &KernelConfig,
) -> Option<Given<'a>> {
    if !config.simd.enabled {
        return None;
    }
    let hidden = *grad.shape().as_slice().last()?;
    let (ids, data) = (B::indices(ids)?, B::view(grad)?.contiguous()?);
    (ids.len() * hidden == data.len()).then_some(Given { ids, data, hidden })
}

/// The whole table. Its memory is zeros that the operating system has at hand: rows that nobody names are not touched.
pub(super) fn dense<B: CpuEngine>(
    operands: &EmbeddingBackwardOperands<B>,
    rows: usize,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let given = read::<B>(operands, config)?;
    // Not from the pool, whose blocks would have to be cleared.
    let mut table = OwnedFloats::zeros(ElementType::F32, rows.checked_mul(given.hidden)?);
    let FloatsMut::F32(floats) = table.as_floats_mut() else { return None };
    add_rows(Launch::from(config), given.grads(), floats, Before::Zeros).ok()?;
    let table = B::from_floats(table, Shape::from([rows, given.hidden]))?;
    note(Route::EmbeddingBackward);
    Some(table)
}

/// The table with the rows, in its own memory; one that somebody else holds is copied first.
pub(super) fn add<B: CpuEngine>(
    mut operands: AddRowsOperands<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, AddRowsOperands<B>> {
    let AddRowsOperands { table, rows } = &mut operands;
    let done = read::<B>(rows, config).and_then(|given| {
        if table.shape().as_slice().last() != Some(&given.hidden) {
            return None;
        }
        if let Some(FloatsMut::F32(floats)) = B::view_mut(table) {
            add_rows(Launch::from(config), given.grads(), floats, Before::Rows).ok()?;
            return Some(None);
        }
        let Floats::F32(from) = B::elements(table)? else { return None };
        let mut copy = B::allocate(ElementType::F32, from.len())?;
        let FloatsMut::F32(floats) = copy.as_floats_mut() else { return None };
        floats.copy_from_slice(from);
        add_rows(Launch::from(config), given.grads(), floats, Before::Rows).ok()?;
        B::from_floats(copy, table.shape()).map(Some)
    });
    let Some(done) = done else { return Err(operands) };
    note(Route::EmbeddingBackward);
    Ok(done.unwrap_or(operands.table))
}

/// The rows that ids name, and those ids.
pub(super) fn named<B: CpuEngine>(
    operands: &EmbeddingBackwardOperands<B>,
    config: &KernelConfig,
) -> Option<(IntTensor<B>, FloatTensor<B>)> {
    let given = read::<B>(operands, config)?;
    let named = NamedRows::new(&given.ids);
    let count = named.ids().len();
    let mut rows = B::allocate(ElementType::F32, count * given.hidden)?;
    let FloatsMut::F32(floats) = rows.as_floats_mut() else { return None };
    named.sum(Launch::from(config), given.data, given.hidden, floats);
    let ids = named.ids().iter().map(|&id| i64::try_from(id)).collect::<Result<Vec<_>, _>>().ok()?;
    let ids = B::int_from_data(TensorData::new(ids, [count]), &B::float_device(&operands.grad));
    let rows = B::from_floats(rows, Shape::from([count, given.hidden]))?;
    note(Route::EmbeddingBackward);
    Some((ids, rows))
}
