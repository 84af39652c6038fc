//! Functions of lanes, generic over the instruction set, of one register or of several beside each other.
//!
//! Errors are the largest found in a sweep of all f32 exponents against f64 (`tests/elementwise.rs`), in units in the
//! last place (ulp) of the result. NaN gives NaN (but relu 0); an infinite argument gives the limit.

mod exp;
mod gelu;
mod lanes;
mod mills;
mod slope;

pub(crate) use exp::{decay_any, decay_any_16bit};
pub use exp::{exp, sigmoid, sigmoid_bf16, silu, silu_bf16, tanh};
pub use gelu::{gelu_erf, gelu_erf_bf16, gelu_tanh, gelu_tanh_bf16};
pub use lanes::{LaneOps, Unrolled};
pub use slope::{silu_and_slope, slope};

use serde::{Deserialize, Serialize};

/// An element-wise activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Activation {
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`, HF's `gelu_pytorch_tanh`.
    GeluTanh,
    /// `x/2 · (1 + erf(x/√2))`, HF's `gelu`.
    GeluErf,
    /// `x / (1 + e⁻ˣ)`.
    Silu,
}

/// `activation(x)`.
#[inline(always)]
pub fn activate<I: LaneOps>(isa: I, activation: Activation, x: I::V) -> I::V {
    match activation {
        Activation::GeluTanh => gelu_tanh(isa, x),
        Activation::GeluErf => gelu_erf(isa, x),
        Activation::Silu => silu(isa, x),
    }
}

/// `max(x, 0)`; 0 for NaN, as Burn's CPU backends give.
#[inline(always)]
pub fn relu<I: LaneOps>(isa: I, x: I::V) -> I::V {
    // `max` gives its second operand for NaN.
    isa.max(x, isa.splat(0.0))
}

/// `c₀ + c₁ x + c₂ x² + ..`, by Horner's rule.
#[inline(always)]
fn polynomial<I: LaneOps, const N: usize>(isa: I, x: I::V, coefficients: [f32; N]) -> I::V {
    let mut sum = isa.splat(coefficients[N - 1]);
    for c in coefficients.into_iter().rev().skip(1) {
        sum = isa.interleave(isa.mul_add(sum, x, isa.splat(c)));
    }
    sum
}
