//! What the backward passes of linear layers and MLPs compute.

use super::linear;
use super::panels::CpuEngine;
use super::storage::{CpuBackend, OwnedFloats, View};
use crate::engine::{
    ActivationBackward, ActivationBackwardOperands, SiluMulBackward, SiluMulBackwardOperands, WeightGradientOperands,
};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::backward::{
    Buffer, activation_backward, activation_backward_with_sums, column_sums, silu_mul_backward,
};
use kiln_kernels::gemm::{Epilogue, Matrix, OutMatrix, Residual, gemm};
use kiln_kernels::planning::{ProductShape, plan_product};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// Rows of f32, of any strides.
fn rows<'a>(view: &View<'a>) -> Option<Matrix<'a>> {
    let rows = view.as_rows().filter(|_| view.data.is_f32())?;
    Matrix::new(view.data, view.offset, [rows.rows, rows.d], [rows.row_stride as isize, rows.stride as isize]).ok()
}

/// `gradᵀ·x + sum`: the transpose is read in its own layout, and the sum goes on in `sum` where nobody else holds it.
pub(super) fn weight_gradient<B: CpuEngine>(
    mut operands: WeightGradientOperands<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, WeightGradientOperands<B>> {
    let WeightGradientOperands { x, grad, sum } = &mut operands;
    let run = |sum: &mut Option<FloatTensor<B>>| {
        let (x, grad) = (B::view(x)?, B::view(grad)?);
        let (x, grad) = (rows(&x)?, rows(&grad)?.transposed());
        let fits = linear::takes(config) && x.rows() == grad.cols();
        let [out_features, in_features] = [grad.rows(), x.cols()];
        let shape = Shape::from([out_features, in_features]);
        if !fits || sum.as_ref().is_some_and(|sum| sum.shape() != shape) {
            return None;
        }
        let plan = plan_product(ProductShape::of(&grad, &x), config);
        if let Some(sum) = sum
            && let Some(FloatsMut::F32(held)) = B::view_mut(sum)
        {
            let mut out = OutMatrix::row_major(FloatsMut::F32(held), out_features, in_features).ok()?;
            gemm(&plan, &grad, &x, &mut out, &Epilogue::residual(Residual::Output)).ok()?;
            return Some(None);
        }
        let residual = match sum {
            Some(sum) => {
                let held = B::elements(sum).filter(|held| held.is_f32())?;
                Residual::Add(Matrix::row_major(held, out_features, in_features).ok()?)
            }
            None => Residual::None,
        };
        let mut out = B::allocate(ElementType::F32, out_features.checked_mul(in_features)?)?;
        let mut to = OutMatrix::row_major(out.as_floats_mut(), out_features, in_features).ok()?;
        gemm(&plan, &grad, &x, &mut to, &Epilogue::residual(residual)).ok()?;
        B::from_floats(out, shape).map(Some)
    };
    let result = match run(sum) {
        Some(Some(new)) => Some(new),
        Some(None) => sum.take(),
        None => None,
    };
    result.inspect(|_| note(Route::WeightGradient)).ok_or(operands)
}

/// The sum over the rows.
pub(super) fn bias_gradient<B: CpuEngine>(grad: &FloatTensor<B>, config: &KernelConfig) -> Option<FloatTensor<B>> {
    let Floats::F32(rows) = B::elements(grad).filter(|_| config.simd.enabled)? else { return None };
    let width = *grad.shape().as_slice().last()?;
    let mut sums = B::allocate(ElementType::F32, width)?;
    let FloatsMut::F32(to) = sums.as_floats_mut() else { return None };
    column_sums(Launch::from(config), rows, to);
    note(Route::BiasGradient);
    B::from_floats(sums, Shape::from([width]))
}

/// The memory of a result: that of the operand where nobody else holds it, else a new one.
fn buffer<'a, B: CpuBackend>(tensor: &'a mut FloatTensor<B>, new: &'a mut Option<OwnedFloats>) -> Option<Buffer<'a>> {
    if matches!(B::view_mut(tensor), Some(FloatsMut::F32(_))) {
        let Some(FloatsMut::F32(held)) = B::view_mut(tensor) else { return None };
        return Some(Buffer::InPlace(held));
    }
    let Floats::F32(from) = B::elements(tensor)? else { return None };
    let FloatsMut::F32(to) = new.insert(B::allocate(ElementType::F32, from.len())?).as_floats_mut() else {
        return None;
    };
    Some(Buffer::New { from, to })
}

/// The tensor that a kernel wrote: the operand's, or one of the new memory.
fn written<B: CpuBackend>(operand: FloatTensor<B>, new: Option<OwnedFloats>) -> FloatTensor<B> {
    match new {
        Some(new) => B::from_floats(new, operand.shape()).expect("the backend has tensors of f32"),
        None => operand,
    }
}

/// `grad · activation'(x)`, and its sum over the rows.
pub(super) fn differentiate<B: CpuEngine>(
    mut operands: ActivationBackwardOperands<B>,
    config: &KernelConfig,
) -> Result<ActivationBackward<B>, ActivationBackwardOperands<B>> {
    let ActivationBackwardOperands { activation, x, grad, sums } = &mut operands;
    let (mut new, mut bias) = (None, None);
    let width = x.shape().as_slice().last().copied().unwrap_or(1);
    let mut run = || {
        if !config.simd.enabled || !B::same_shape(x, grad) {
            return None;
        }
        let Floats::F32(x) = B::elements(x)? else { return None };
        let mut to = if *sums { Some(B::allocate(ElementType::F32, width)?) } else { None };
        let grad = buffer::<B>(grad, &mut new)?;
        match to.as_mut().map(OwnedFloats::as_floats_mut) {
            Some(FloatsMut::F32(sums)) => {
                activation_backward_with_sums(Launch::from(config), *activation, x, grad, sums);
            }
            Some(_) => return None,
            None => activation_backward(Launch::from(config), *activation, x, grad),
        }
        bias = to;
        Some(())
    };
    if run().is_none() {
        return Err(operands);
    }
    note(Route::ActivationGradient);
    let bias = bias.map(|sums| B::from_floats(sums, Shape::from([width])).expect("the backend has tensors of f32"));
    Ok(ActivationBackward { x: written::<B>(operands.grad, new), bias })
}

/// Gradients of `silu(gate) ⊙ up`, and the product.
pub(super) fn split_gated<B: CpuEngine>(
    mut operands: SiluMulBackwardOperands<B>,
    config: &KernelConfig,
) -> Result<SiluMulBackward<B>, SiluMulBackwardOperands<B>> {
    let SiluMulBackwardOperands { gate, up, grad } = &mut operands;
    let mut new = [None, None, None];
    let mut run = || {
        let fits = config.simd.enabled && B::same_shape(gate, up) && B::same_shape(gate, grad);
        let [a, b, c] = &mut new;
        if !fits {
            return None;
        }
        let buffers = (buffer::<B>(gate, a)?, buffer::<B>(up, b)?, buffer::<B>(grad, c)?);
        silu_mul_backward(Launch::from(config), buffers.0, buffers.1, buffers.2);
        Some(())
    };
    if run().is_none() {
        return Err(operands);
    }
    note(Route::GatedGradient);
    let SiluMulBackwardOperands { gate, up, grad } = operands;
    let [a, b, c] = new;
    Ok(SiluMulBackward { gate: written::<B>(gate, a), up: written::<B>(up, b), product: written::<B>(grad, c) })
}
