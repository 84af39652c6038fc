//! Functions and arithmetic of elements.

use super::panels::CpuEngine;
use super::storage::{CpuBackend, View};
use crate::engine::{BinaryOperands, ScalarOperands, SiluMulOperands, UnaryOperands};
use crate::routes::{Route, note};
use burn_backend::tensor::FloatTensor;
use burn_backend::{DType, TensorMetadata};
use burn_kiln_fusion::KernelConfig;
use kiln_kernels::elementwise::{
    BinaryOp, Operand, UnaryOp, binary, binary_in_place, silu_mul, silu_mul_in_place, unary, unary_in_place,
};
use kiln_kernels::{Floats, Launch};

/// Fewer f32 than these, arithmetic is left to B: one instruction an element takes 60 ns for a thousand, and what Kiln
/// asks before it runs (its configuration, the layouts, a buffer of the pool) another 30 to 80 where B needs about 100.
/// At 4096 elements the kernels are 1.0 to 1.35 times as fast as Flex (one thread, Zen 5). Functions of more than one
/// instruction, and 16-bit types, are faster here at any size.
const LEAST: usize = 2048;

/// Whether arithmetic of one instruction an element pays the way to its kernel.
pub(super) fn pays<B: CpuBackend>(x: &FloatTensor<B>) -> bool {
    x.dtype() != DType::F32 || pays_len(B::len(x))
}

/// The same of so many f32.
pub(super) fn pays_len(elements: usize) -> bool {
    elements >= LEAST
}

/// Whether `op` has a kernel, and `pays` the way to it.
pub(super) fn takes_unary(op: UnaryOp, pays: bool, config: &KernelConfig) -> bool {
    config.simd.enabled && (op != UnaryOp::Relu || pays)
}

/// The operation of each element; in place where nobody else holds the buffer.
pub(super) fn apply<B: CpuEngine>(
    mut operands: UnaryOperands<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, UnaryOperands<B>> {
    let UnaryOperands { op, x } = &mut operands;
    if !takes_unary(*op, pays::<B>(x), config) {
        return Err(operands);
    }
    let launch = Launch::from(config);
    if let Some(buffer) = B::view_mut(x) {
        unary_in_place(launch, *op, buffer);
        note(Route::Unary);
        return Ok(operands.x);
    }
    let output = B::elements(x).and_then(|source| {
        let mut out = B::allocate(source.dtype(), source.len())?;
        unary(launch, *op, source, out.as_floats_mut());
        B::from_floats(out, x.shape())
    });
    output.inspect(|_| note(Route::Unary)).ok_or(operands)
}

/// `op(lhs, rhs)`; in place of `lhs` where nobody else holds it. Takes equal shapes, a row against rows and a number
/// for each row; declines anything else.
pub(super) fn combine<B: CpuEngine>(
    mut operands: BinaryOperands<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, BinaryOperands<B>> {
    let BinaryOperands { op, lhs, rhs } = &mut operands;
    if !config.simd.enabled || lhs.dtype() != rhs.dtype() || !pays::<B>(lhs) {
        return Err(operands);
    }
    let right = if B::same_shape(lhs, rhs) {
        B::elements(rhs).map(Operand::Same)
    } else {
        B::view(rhs).and_then(|view| broadcast(lhs.shape().as_slice(), &view))
    };
    let Some(operand) = right else { return Err(operands) };
    if let (BinaryOp::Mul, Operand::Scalar(1.0)) = (*op, operand) {
        // A gradient that a loss of its own scales: nothing changes.
        return Ok(operands.lhs);
    }
    match combine_with::<B>(*op, lhs, operand, config) {
        Some(Combined::InPlace) => Ok(operands.lhs),
        Some(Combined::New(output)) => Ok(output),
        None => Err(operands),
    }
}

/// `op(lhs, number)`.
pub(super) fn combine_scalar<B: CpuEngine>(
    mut operands: ScalarOperands<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, ScalarOperands<B>> {
    let ScalarOperands { op, lhs, rhs } = &mut operands;
    // In bf16 and f16 B rounds the number to the tensor's type first: only it knows how.
    if !config.simd.enabled || lhs.dtype() != DType::F32 || !pays::<B>(lhs) {
        return Err(operands);
    }
    match combine_with::<B>(*op, lhs, Operand::Scalar(rhs.elem()), config) {
        Some(Combined::InPlace) => Ok(operands.lhs),
        Some(Combined::New(output)) => Ok(output),
        None => Err(operands),
    }
}

/// Where a result is.
enum Combined<B: CpuEngine> {
    /// In the left operand's buffer.
    InPlace,
    /// In a buffer of its own.
    New(FloatTensor<B>),
}

/// `op(lhs, operand)`, in place of `lhs` where nobody else holds it; none where its layout is not contiguous.
fn combine_with<B: CpuEngine>(
    op: BinaryOp,
    lhs: &mut FloatTensor<B>,
    operand: Operand<'_>,
    config: &KernelConfig,
) -> Option<Combined<B>> {
    let launch = Launch::from(config);
    if let Some(buffer) = B::view_mut(lhs) {
        binary_in_place(launch, op, buffer, operand);
        note(Route::Binary);
        return Some(Combined::InPlace);
    }
    let source = B::elements(lhs)?;
    let mut out = B::allocate(source.dtype(), source.len())?;
    binary(launch, op, source, operand, out.as_floats_mut());
    let output = B::from_floats(out, lhs.shape())?;
    note(Route::Binary);
    Some(Combined::New(output))
}

/// `silu(gate) ⊙ up`; in place of the gate where nobody else holds it.
pub(super) fn gate<B: CpuEngine>(
    mut operands: SiluMulOperands<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, SiluMulOperands<B>> {
    let SiluMulOperands { gate, up } = &mut operands;
    let fits = config.simd.enabled && gate.dtype() == up.dtype() && B::same_shape(gate, up);
    let Some(right) = fits.then(|| B::elements(up)).flatten() else { return Err(operands) };
    let launch = Launch::from(config);
    if let Some(buffer) = B::view_mut(gate) {
        silu_mul_in_place(launch, buffer, right);
        note(Route::Gated);
        return Ok(operands.gate);
    }
    let output = B::elements(gate).and_then(|source| {
        let mut out = B::allocate(source.dtype(), source.len())?;
        silu_mul(launch, source, right, out.as_floats_mut());
        B::from_floats(out, gate.shape())
    });
    output.inspect(|_| note(Route::Gated)).ok_or(operands)
}

/// How `rhs` meets a contiguous left operand of another `shape`; `None` if the left one would have to be repeated, or
/// the right one is broadcast in another pattern.
fn broadcast<'a>(shape: &[usize], rhs: &View<'a>) -> Option<Operand<'a>> {
    let floats = rhs.contiguous()?;
    if rhs.shape.len() != shape.len() {
        return None;
    }
    let (&d, lead) = shape.split_last()?;
    let (&rhs_d, rhs_lead) = rhs.shape.split_last()?;
    // An empty output has nothing to compute, and kernels want whole rows.
    if floats.is_empty() || d == 0 {
        return None;
    }
    if let Floats::F32(&[number]) = floats {
        return Some(Operand::Scalar(number));
    }
    if rhs_d == d && rhs_lead.iter().all(|&size| size == 1) {
        return Some(Operand::Row(floats));
    }
    (rhs_d == 1 && rhs_lead == lead).then_some(Operand::Column(floats))
}
