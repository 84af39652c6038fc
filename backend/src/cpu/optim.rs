//! The optimiser's step and the norm of gradients. In the section `simd`, as all that is done element by element.

use super::panels::CpuEngine;
use super::storage::{CpuBackend, OwnedFloats, element_type};
use crate::engine::{AdamWOperands, AdamWResult, ParameterGrad};
use crate::routes::{Route, note};
use burn_backend::tensor::FloatTensor;
use burn_backend::{DType, TensorMetadata};
use burn_kiln_fusion::{AdamWOptions, AdamWState, KernelConfig};
use burn_std::Shape;
use kiln_kernels::optim::{self, AdamW, AdamWSlices, Gradient};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// The numbers of a step for kernels.
fn numbers(options: AdamWOptions) -> AdamW {
    let AdamWOptions { learning_rate, beta_1, beta_2, epsilon, weight_decay, step, grad_scale } = options;
    AdamW { learning_rate, beta_1, beta_2, epsilon, weight_decay, step, grad_scale }
}

/// Parameter, master copy and moments after a step.
type Stepped<B> = [Option<FloatTensor<B>>; 4];

/// Parameter and state in their own memory. A buffer that somebody else holds is copied first: 2 numbers an element
/// beside the 7 of the step.
pub(super) fn adamw<B: CpuEngine>(mut operands: AdamWOperands<B>, config: &KernelConfig) -> AdamWResult<B> {
    match take_step::<B>(&mut operands, config) {
        Some([parameter, master, moment_1, moment_2]) => {
            note(Route::AdamW);
            let AdamWOperands { parameter: own, state, .. } = operands;
            let state = AdamWState {
                moment_1: moment_1.unwrap_or(state.moment_1),
                moment_2: moment_2.unwrap_or(state.moment_2),
                master: master.or(state.master),
            };
            Ok((parameter.unwrap_or(own), state))
        }
        None => Err(operands),
    }
}

/// What a step writes: a tensor's own buffer, or a copy of it.
enum Written<'a> {
    Own(FloatsMut<'a>),
    Copy(OwnedFloats),
}

impl Written<'_> {
    fn as_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Self::Own(floats) => floats.reborrow(),
            Self::Copy(floats) => floats.as_floats_mut(),
        }
    }

    fn as_f32(&mut self) -> Option<&mut [f32]> {
        match self.as_mut() {
            FloatsMut::F32(floats) => Some(floats),
            FloatsMut::Bf16(_) | FloatsMut::F16(_) => None,
        }
    }

    fn into_copy(self) -> Option<OwnedFloats> {
        match self {
            Self::Own(_) => None,
            Self::Copy(floats) => Some(floats),
        }
    }
}

/// Whether the tensor is contiguous and has `len` elements.
fn is_whole<B: CpuBackend>(tensor: &FloatTensor<B>, len: usize) -> bool {
    B::elements(tensor).is_some_and(|floats| floats.len() == len)
}

fn writable<B: CpuBackend>(tensor: &mut FloatTensor<B>) -> Option<Written<'_>> {
    if B::view_mut(tensor).is_none() {
        let from = B::elements(tensor)?;
        let mut copy = B::allocate(from.dtype(), from.len())?;
        match (copy.as_floats_mut(), from) {
            (FloatsMut::F32(to), Floats::F32(from)) => to.copy_from_slice(from),
            (FloatsMut::Bf16(to), Floats::Bf16(from)) => to.copy_from_slice(from),
            (FloatsMut::F16(to), Floats::F16(from)) => to.copy_from_slice(from),
            _ => return None,
        }
        return Some(Written::Copy(copy));
    }
    B::view_mut(tensor).map(Written::Own)
}

/// Everything is checked before anything is written.
fn take_step<B: CpuEngine>(operands: &mut AdamWOperands<B>, config: &KernelConfig) -> Option<Stepped<B>> {
    let AdamWOperands { parameter, grad, state, options } = operands;
    let AdamWState { moment_1, moment_2, master } = state;
    let (shape, len) = (parameter.shape(), B::len(parameter));
    let kept = [Some(&*moment_1), Some(&*moment_2), master.as_ref()];
    let fits = kept.into_iter().flatten().all(|kept| kept.dtype() == DType::F32 && is_whole::<B>(kept, len));
    if !config.simd.enabled || !fits || !is_whole::<B>(parameter, len) {
        return None;
    }
    let (ids, data) = match grad {
        ParameterGrad::Dense(grad) => (None, B::elements(grad).filter(|grad| grad.len() == len)?),
        ParameterGrad::Rows { ids, rows } => (Some(B::indices(ids)?), B::elements(rows)?),
    };
    let gradient = match (&ids, data) {
        (None, data) => {
            let takes = Gradient::takes(data.dtype(), element_type(parameter.dtype())?);
            takes.then_some(Gradient::Dense(data))?
        }
        (Some(ids), Floats::F32(data)) => {
            let &[rows, hidden] = shape.as_slice() else { return None };
            let rises = ids.is_sorted_by(|a, b| a < b) && ids.last().is_none_or(|&id| id < rows);
            (rises && ids.len() * hidden == data.len()).then_some(Gradient::Rows { ids, data, hidden })?
        }
        (Some(_), _) => return None,
    };
    let (mut parameter, mut moment_1, mut moment_2) =
        (writable::<B>(parameter)?, writable::<B>(moment_1)?, writable::<B>(moment_2)?);
    let mut master = match master {
        Some(master) => Some(writable::<B>(master)?),
        None => None,
    };
    let slices = AdamWSlices {
        parameter: parameter.as_mut(),
        master: match &mut master {
            Some(master) => Some(master.as_f32()?),
            None => None,
        },
        moment_1: moment_1.as_f32()?,
        moment_2: moment_2.as_f32()?,
    };
    optim::adamw(Launch::from(config), numbers(*options), slices, gradient);
    let tensor = |written: Written<'_>| written.into_copy().and_then(|copy| B::from_floats(copy, shape.clone()));
    Some([tensor(parameter), master.and_then(&tensor), tensor(moment_1), tensor(moment_2)])
}

/// One number.
pub(super) fn sum_of_squares<B: CpuEngine>(x: &FloatTensor<B>, config: &KernelConfig) -> Option<FloatTensor<B>> {
    if !config.simd.enabled {
        return None;
    }
    let elements = B::elements(x)?;
    let mut sum = B::allocate(ElementType::F32, 1)?;
    let FloatsMut::F32([number]) = sum.as_floats_mut() else { return None };
    *number = optim::sum_of_squares(Launch::from(config), elements) as f32;
    let sum = B::from_floats(sum, Shape::from([1]))?;
    note(Route::SumOfSquares);
    Some(sum)
}
