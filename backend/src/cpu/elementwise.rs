//! Functions and arithmetic of elements.

use super::storage::{CpuBackend, View};
use crate::routes::{Route, note};
use burn_backend::tensor::FloatTensor;
use burn_backend::{DType, Scalar, TensorMetadata};
use burn_kiln_fusion::KernelConfig;
use kiln_kernels::Launch;
use kiln_kernels::elementwise::{
    BinaryOp, Operand, UnaryOp, binary, binary_in_place, silu_mul, silu_mul_in_place, unary, unary_in_place,
};

/// Fewer f32 than these, arithmetic is left to B: one instruction an element takes 60 ns for a thousand, and what Kiln asks before it runs (its
/// configuration, the layouts, a buffer of the pool) another 30 to 80 where B needs about 100. At 4096 elements the kernels are 1.0 to 1.35 times
/// as fast as Flex (one thread, Zen 5). Functions of more than one instruction, and 16-bit types, are faster here at any size.
const LEAST: usize = 2048;

/// Whether arithmetic of one instruction an element pays the way to its kernel.
pub(super) fn pays<B: CpuBackend>(x: &FloatTensor<B>) -> bool {
    x.dtype() != DType::F32 || B::len(x) >= LEAST
}

/// `op` of each element; in place where nobody else holds the buffer.
pub(super) fn apply<B: CpuBackend>(
    op: UnaryOp,
    mut x: FloatTensor<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, FloatTensor<B>> {
    if !config.simd.enabled || (op == UnaryOp::Relu && !pays::<B>(&x)) {
        return Err(x);
    }
    let launch = Launch::from(config);
    if let Some(buffer) = B::view_mut(&mut x) {
        unary_in_place(launch, op, buffer);
        note(Route::Unary);
        return Ok(x);
    }
    let output = B::elements(&x).and_then(|source| {
        let mut out = B::allocate(source.dtype(), source.len())?;
        unary(launch, op, source, out.as_floats_mut());
        B::from_floats(out, x.shape())
    });
    finish::<B>(Route::Unary, output).ok_or(x)
}

/// `op(lhs, rhs)`; in place of `lhs` where nobody else holds it. Takes equal shapes, a row against rows and a number for each
/// row; anything else is handed back.
pub(super) fn combine<B: CpuBackend>(
    op: BinaryOp,
    mut lhs: FloatTensor<B>,
    rhs: FloatTensor<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, (FloatTensor<B>, FloatTensor<B>)> {
    if !config.simd.enabled || lhs.dtype() != rhs.dtype() || !pays::<B>(&lhs) {
        return Err((lhs, rhs));
    }
    let right = if B::same_shape(&lhs, &rhs) {
        B::elements(&rhs).map(Operand::Same)
    } else {
        B::view(&rhs).and_then(|view| broadcast(lhs.shape().as_slice(), &view))
    };
    let Some(operand) = right else { return Err((lhs, rhs)) };
    let launch = Launch::from(config);
    if let Some(buffer) = B::view_mut(&mut lhs) {
        binary_in_place(launch, op, buffer, operand);
        note(Route::Binary);
        return Ok(lhs);
    }
    let output = B::elements(&lhs).and_then(|source| {
        let mut out = B::allocate(source.dtype(), source.len())?;
        binary(launch, op, source, operand, out.as_floats_mut());
        B::from_floats(out, lhs.shape())
    });
    finish::<B>(Route::Binary, output).ok_or((lhs, rhs))
}

/// `op(lhs, number)`.
pub(super) fn combine_scalar<B: CpuBackend>(
    op: BinaryOp,
    mut lhs: FloatTensor<B>,
    rhs: Scalar,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, FloatTensor<B>> {
    // In bf16 and f16 B rounds the number to the tensor's type first: only it knows how.
    if !config.simd.enabled || lhs.dtype() != DType::F32 || !pays::<B>(&lhs) {
        return Err(lhs);
    }
    let (launch, operand) = (Launch::from(config), Operand::Scalar(rhs.elem()));
    if let Some(buffer) = B::view_mut(&mut lhs) {
        binary_in_place(launch, op, buffer, operand);
        note(Route::Binary);
        return Ok(lhs);
    }
    let output = B::elements(&lhs).and_then(|source| {
        let mut out = B::allocate(source.dtype(), source.len())?;
        binary(launch, op, source, operand, out.as_floats_mut());
        B::from_floats(out, lhs.shape())
    });
    finish::<B>(Route::Binary, output).ok_or(lhs)
}

/// `silu(gate) ⊙ up`.
pub(super) fn gate<B: CpuBackend>(
    mut gate: FloatTensor<B>,
    up: FloatTensor<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, (FloatTensor<B>, FloatTensor<B>)> {
    let fits = config.simd.enabled && gate.dtype() == up.dtype() && B::same_shape(&gate, &up);
    let Some(right) = fits.then(|| B::elements(&up)).flatten() else { return Err((gate, up)) };
    let launch = Launch::from(config);
    if let Some(buffer) = B::view_mut(&mut gate) {
        silu_mul_in_place(launch, buffer, right);
        note(Route::Gated);
        return Ok(gate);
    }
    let output = B::elements(&gate).and_then(|source| {
        let mut out = B::allocate(source.dtype(), source.len())?;
        silu_mul(launch, source, right, out.as_floats_mut());
        B::from_floats(out, gate.shape())
    });
    finish::<B>(Route::Gated, output).ok_or((gate, up))
}

fn finish<B: CpuBackend>(route: Route, output: Option<FloatTensor<B>>) -> Option<FloatTensor<B>> {
    output.inspect(|_| note(route))
}

/// How `rhs` meets a contiguous left operand of another `shape`; `None` if the left one would have to be repeated, or the right one is
/// broadcast in another pattern.
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
    if rhs_d == d && rhs_lead.iter().all(|&size| size == 1) {
        return Some(Operand::Row(floats));
    }
    (rhs_d == 1 && rhs_lead == lead).then_some(Operand::Column(floats))
}
