//! Norms over the last dimension.

use super::panels::CpuEngine;
use super::storage::{CpuBackend, OwnedFloats, View};
use crate::engine::{AddNormOperands, AddNormResult, LayerNormOperands, NormResult, RmsNormOperands};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{AddNormForward, KernelConfig, RmsNormForward, RmsWeights};
use burn_std::Shape;
use core::marker::PhantomData;
use kiln_kernels::norm::{self, LayerNorm, NormRows, Normed, RmsNorm};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// Rows of a view whose last dimension is contiguous and not empty, and how many elements they hold.
pub(super) fn rows<'a>(view: &View<'a>) -> Option<(NormRows<'a>, usize)> {
    let rows = view.as_rows().filter(|rows| rows.d > 0 && (rows.stride == 1 || rows.d == 1))?;
    Some((NormRows { data: view.data_from(view.offset), rows: rows.rows, stride: rows.row_stride }, rows.rows * rows.d))
}

/// A weight `[d]`.
pub(super) fn weight<B: CpuBackend>(tensor: &FloatTensor<B>, d: usize) -> Option<Floats<'_>> {
    B::view(tensor)?.contiguous().filter(|weight| weight.len() == d)
}

/// The last dimension of a tensor whose norms kernels take, 1 for a scalar.
pub(super) fn last(shape: &Shape) -> usize {
    shape.as_slice().last().copied().unwrap_or(1)
}

/// Whether norms of rows of `d` have a kernel.
pub(super) fn takes(d: usize, config: &KernelConfig) -> bool {
    config.blocking.enabled && d > 0
}

/// One number a row, to be written and then to be a tensor.
pub(super) struct Column<B: CpuBackend> {
    numbers: OwnedFloats,
    shape: Shape,
    backend: PhantomData<B>,
}

impl<B: CpuBackend> Column<B> {
    /// For rows of `shape`, which are not empty.
    pub(super) fn of(shape: &Shape) -> Option<Self> {
        let rows = shape.num_elements().checked_div(last(shape))?;
        let mut column = shape.to_vec();
        if let Some(last) = column.last_mut() {
            *last = 1;
        }
        let numbers = B::allocate(ElementType::F32, rows)?;
        Some(Self { numbers, shape: Shape::from(column), backend: PhantomData })
    }

    pub(super) fn as_mut_slice(&mut self) -> Option<&mut [f32]> {
        match self.numbers.as_floats_mut() {
            FloatsMut::F32(numbers) => Some(numbers),
            FloatsMut::Bf16(_) | FloatsMut::F16(_) => None,
        }
    }

    pub(super) fn into_tensor(self) -> FloatTensor<B> {
        B::from_floats(self.numbers, self.shape).expect("every CPU backend stores f32")
    }
}

/// `(x - mean) / √(var + epsilon) · gamma + beta`; in place where nobody else holds the buffer.
pub(super) fn layer<B: CpuEngine>(
    mut operands: LayerNormOperands<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, LayerNormOperands<B>> {
    let LayerNormOperands { x, gamma, beta, epsilon } = &mut operands;
    let (d, gamma, beta) = (last(&x.shape()), &*gamma, &*beta);
    // Where the types differ, B says what it thinks of that.
    let same = gamma.dtype() == x.dtype() && beta.as_ref().is_none_or(|beta| beta.dtype() == x.dtype());
    let weights = || {
        let beta = match beta {
            Some(beta) => Some(weight::<B>(beta, d)?),
            None => None,
        };
        Some(LayerNorm { gamma: weight::<B>(gamma, d)?, beta, epsilon: *epsilon })
    };
    let fits = takes(d, config) && same;
    let Some(norm) = fits.then(weights).flatten() else { return Err(operands) };
    let launch = Launch::from(config);
    if let Some(buffer) = B::view_mut(x) {
        norm::layer_norm_in_place(launch, norm, buffer);
        note(Route::LayerNorm);
        return Ok(operands.x);
    }
    let output = B::view(x).and_then(|view| {
        let (operand, len) = rows(&view)?;
        let mut out = B::allocate(view.dtype(), len)?;
        norm::layer_norm(launch, norm, operand, out.as_floats_mut());
        B::from_floats(out, x.shape())
    });
    output.inspect(|_| note(Route::LayerNorm)).ok_or(operands)
}

/// `x / √(mean(x²) + epsilon) · gamma` and the reciprocal deviations; in place where nobody else holds the buffer.
pub(super) fn rms<B: CpuEngine>(mut operands: RmsNormOperands<B>, config: &KernelConfig) -> NormResult<B> {
    let RmsNormOperands { x, norm: RmsWeights { gamma, epsilon } } = &mut operands;
    let shape = x.shape();
    let column = Column::<B>::of(&shape).filter(|_| takes(last(&shape), config));
    let Some((mut column, gamma)) = column.zip(weight::<B>(gamma, last(&shape))) else { return Err(operands) };
    let (launch, norm) = (Launch::from(config), RmsNorm { gamma, epsilon: *epsilon });
    if let Some(buffer) = B::view_mut(x) {
        norm::rms_norm_in_place(launch, norm, Normed { out: buffer, rstd: column.as_mut_slice() });
        note(Route::RmsNorm);
        return Ok(RmsNormForward { output: operands.x, rstd: column.into_tensor() });
    }
    let output = B::view(x).and_then(|view| {
        let (operand, len) = rows(&view)?;
        let mut out = B::allocate(view.dtype(), len)?;
        let to = Normed { out: out.as_floats_mut(), rstd: column.as_mut_slice() };
        norm::rms_norm(launch, norm, operand, to);
        B::from_floats(out, shape)
    });
    match output {
        Some(output) => {
            note(Route::RmsNorm);
            Ok(RmsNormForward { output, rstd: column.into_tensor() })
        }
        None => Err(operands),
    }
}

/// The sum, its RMS norm and the reciprocal deviations; the sum in place of `x` where nobody else holds the buffer.
pub(super) fn add<B: CpuEngine>(mut operands: AddNormOperands<B>, config: &KernelConfig) -> AddNormResult<B> {
    let AddNormOperands { x, residual, norm: RmsWeights { gamma, epsilon } } = &mut operands;
    let (shape, residual, gamma) = (x.shape(), &*residual, &*gamma);
    let fits = takes(last(&shape), config) && B::same_shape(x, residual) && x.dtype() == residual.dtype();
    let read = || {
        let norm = RmsNorm { gamma: weight::<B>(gamma, last(&shape))?, epsilon: *epsilon };
        let right = B::elements(residual)?;
        Some((norm, right, Column::<B>::of(&shape)?, B::allocate(right.dtype(), right.len())?))
    };
    let Some((norm, right, mut column, mut normed)) = fits.then(read).flatten() else { return Err(operands) };
    let launch = Launch::from(config);
    let to = Normed { out: normed.as_floats_mut(), rstd: column.as_mut_slice() };
    let sum = if let Some(buffer) = B::view_mut(x) {
        norm::add_norm_in_place(launch, norm, buffer, right, to);
        None
    } else {
        let sum = B::elements(x).and_then(|left| {
            let mut sum = B::allocate(left.dtype(), left.len())?;
            norm::add_norm(launch, norm, [left, right], sum.as_floats_mut(), to);
            B::from_floats(sum, shape.clone())
        });
        if sum.is_none() {
            return Err(operands);
        }
        sum
    };
    note(Route::AddNorm);
    let normed = B::from_floats(normed, shape).expect("the dtype was allocated for this backend");
    Ok(AddNormForward { sum: sum.unwrap_or(operands.x), normed, rstd: column.into_tensor() })
}
