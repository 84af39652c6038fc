//! Activations.

use super::{accept, runs};
use crate::routes::Route;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{Activation, KernelConfig, cube};
use kiln_kernels::elementwise::UnaryOp;

/// An activation of each element; `None` for other functions, which CubeCL has, and where the kernel does not take the
/// operand.
pub(super) fn unary<R: CubeRuntime>(op: UnaryOp, x: &CubeTensor<R>, config: &KernelConfig) -> Option<CubeTensor<R>> {
    let activation = match op {
        UnaryOp::GeluTanh => Activation::GeluTanh,
        UnaryOp::GeluErf => Activation::GeluErf,
        UnaryOp::Silu => Activation::Silu,
        UnaryOp::Sigmoid | UnaryOp::Relu | UnaryOp::Exp | UnaryOp::Tanh => return None,
    };
    if !runs(config.simd.enabled, config) {
        return None;
    }
    accept(Route::CubeUnary, cube::activate(x, None, activation))
}

/// `silu(gate) ⊙ up`; `None` where the kernel does not take the operands.
pub(super) fn silu_mul<R: CubeRuntime>(
    gate: &CubeTensor<R>,
    up: &CubeTensor<R>,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    if !runs(config.simd.enabled, config) {
        return None;
    }
    accept(Route::CubeGated, cube::activate(gate, Some(up), Activation::Silu))
}
