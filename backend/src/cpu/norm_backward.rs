//! Gradients of norms over the last dimension.

use super::norm::{Column, last, rows, takes, weight};
use super::panels::CpuEngine;
use super::storage::{CpuBackend, OwnedFloats};
use crate::engine::{ANY_RANK, LayerNormOperands, NormBackwardOperands, NormBackwardResult, Primitives};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{KernelConfig, LayerNormForward, NormGrads};
use burn_std::Shape;
use kiln_kernels::norm::{self, LayerNorm, LayerNormed, NormBackward, NormGradInputs, NormWeightGrads};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// The norm with mean and reciprocal deviation of each row.
pub(super) fn layer_forward<B: CpuEngine>(
    LayerNormOperands { x, gamma, beta, epsilon }: &LayerNormOperands<B>,
    config: &KernelConfig,
) -> Option<LayerNormForward<Primitives<B>, ANY_RANK>> {
    let (shape, d) = (x.shape(), last(&x.shape()));
    let same = gamma.dtype() == x.dtype() && beta.as_ref().is_none_or(|beta| beta.dtype() == x.dtype());
    if !takes(d, config) || !same {
        return None;
    }
    let beta = match beta {
        Some(beta) => Some(weight::<B>(beta, d)?),
        None => None,
    };
    let norm = LayerNorm { gamma: weight::<B>(gamma, d)?, beta, epsilon: *epsilon };
    let view = B::view(x)?;
    let (operand, len) = rows(&view)?;
    let (mut mean, mut rstd) = (Column::<B>::of(&shape)?, Column::<B>::of(&shape)?);
    let mut out = B::allocate(view.dtype(), len)?;
    let to = LayerNormed { out: out.as_floats_mut(), mean: mean.as_mut_slice()?, rstd: rstd.as_mut_slice()? };
    norm::layer_norm_forward(Launch::from(config), norm, operand, to);
    let output = B::from_floats(out, shape)?;
    note(Route::LayerNorm);
    Some(LayerNormForward { output, mean: mean.into_tensor(), rstd: rstd.into_tensor() })
}

/// One number a row, f32.
fn column<B: CpuBackend>(tensor: &FloatTensor<B>, rows: usize) -> Option<&[f32]> {
    match B::elements(tensor)? {
        Floats::F32(numbers) if numbers.len() == rows => Some(numbers),
        _ => None,
    }
}

/// Sums over rows, to be written and then to be a tensor.
struct Sums<B: CpuBackend> {
    numbers: OwnedFloats,
    backend: core::marker::PhantomData<B>,
}

impl<B: CpuBackend> Sums<B> {
    fn of(d: usize) -> Option<Self> {
        Some(Self { numbers: B::allocate(ElementType::F32, d)?, backend: core::marker::PhantomData })
    }

    fn as_mut_slice(&mut self) -> Option<&mut [f32]> {
        f32_of(&mut self.numbers)
    }

    fn into_tensor(self, d: usize) -> FloatTensor<B> {
        B::from_floats(self.numbers, Shape::from([d])).expect("every CPU backend stores f32")
    }
}

fn f32_of(floats: &mut OwnedFloats) -> Option<&mut [f32]> {
    match floats.as_floats_mut() {
        FloatsMut::F32(numbers) => Some(numbers),
        FloatsMut::Bf16(_) | FloatsMut::F16(_) => None,
    }
}

/// Gradients of the input, in place of the output's where nobody else holds that, and of the weights.
pub(super) fn norm_backward<B: CpuEngine>(
    mut operands: NormBackwardOperands<B>,
    config: &KernelConfig,
) -> NormBackwardResult<B> {
    let in_place = B::view_mut(&mut operands.grad).is_some_and(|grad| matches!(grad, FloatsMut::F32(_)));
    match differentiate::<B>(&mut operands, in_place, config) {
        Some((x, gamma, beta)) => {
            note(match (&operands.mean, &operands.residual) {
                (Some(_), _) => Route::LayerNormBackward,
                (None, Some(_)) => Route::AddNormBackward,
                (None, None) => Route::RmsNormBackward,
            });
            Ok(NormGrads { x: x.unwrap_or(operands.grad), gamma, beta })
        }
        None => Err(operands),
    }
}

/// Gradients of a norm's input, of its gamma and of its beta; that of the input is none where it took the place of the
/// output's.
type Differentiated<B> = (Option<FloatTensor<B>>, FloatTensor<B>, Option<FloatTensor<B>>);

fn differentiate<B: CpuEngine>(
    operands: &mut NormBackwardOperands<B>,
    in_place: bool,
    config: &KernelConfig,
) -> Option<Differentiated<B>> {
    let NormBackwardOperands { x, gamma, mean, rstd, grad, residual } = operands;
    let (shape, d) = (x.shape(), last(&x.shape()));
    let same = B::same_shape(x, grad) && residual.as_ref().is_none_or(|residual| B::same_shape(x, residual));
    if !takes(d, config) || !same || (mean.is_some() && residual.is_some()) {
        return None;
    }
    let view = B::view(x)?;
    let (input, len) = rows(&view)?;
    let mean = match mean {
        Some(mean) => Some(column::<B>(mean, input.rows)?),
        None => None,
    };
    let norm = NormBackward { gamma: weight::<B>(gamma, d)?, mean, rstd: column::<B>(rstd, input.rows)? };
    let residual = match residual {
        Some(residual) => Some(B::view(residual)?),
        None => None,
    };
    let residual = match &residual {
        Some(view) => Some(rows(view)?.0),
        None => None,
    };
    let (mut gamma_sums, mut beta_sums) = (Sums::<B>::of(d)?, None);
    if mean.is_some() {
        beta_sums = Some(Sums::<B>::of(d)?);
    }
    let beta = match &mut beta_sums {
        Some(sums) => Some(sums.as_mut_slice()?),
        None => None,
    };
    let (launch, weights) = (Launch::from(config), NormWeightGrads { gamma: gamma_sums.as_mut_slice()?, beta });
    let dx = if in_place {
        let FloatsMut::F32(grad) = B::view_mut(grad)? else { return None };
        norm::norm_backward_in_place(launch, norm, input, grad, residual, weights);
        None
    } else {
        let view = B::view(grad)?;
        let inputs = NormGradInputs { x: input, grad: rows(&view)?.0, residual };
        let mut dx = B::allocate(ElementType::F32, len)?;
        norm::norm_backward(launch, norm, inputs, f32_of(&mut dx)?, weights);
        Some(B::from_floats(dx, shape)?)
    };
    Some((dx, gamma_sums.into_tensor(d), beta_sums.map(|sums| sums.into_tensor(d))))
}
