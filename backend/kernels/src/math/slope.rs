//! Derivatives of the activations.
//!
//! All three are `x · F(x)` with a distribution function `F`, of which the tail `F(-t)` for `t = |x|` is computed
//! without cancelling (exp.rs, gelu.rs):
//!
//! ```text
//! (x F)' = F + x f        f = F', even
//! silu        F = 1 / (1 + e⁻ˣ)           f = F(-t) (1 - F(-t))
//! gelu tanh   F = 1 / (1 + e^{-2u(x)})    f = F(-t) (1 - F(-t)) · 2u'(t)
//! gelu erf    F = Φ                       f = e^{-t²/2} / √(2π)
//! ```
//!
//! The bounds of `t` keep ∞ · 0 out: at -∞ the derivative is 0, at ∞ it is 1, the limits. NaN gives NaN.

use super::exp::{lowest, sigmoid_tail};
use super::gelu::{ERF_HIGHEST, TANH_ARGUMENT, TANH_HIGHEST, normal_tail_and_decay, tanh_argument};
use super::{Activation, LaneOps};

/// `1/√(2π)`.
const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;

/// `activation'(x)`, to an absolute 2⁻²¹.
#[inline(always)]
pub fn slope<I: LaneOps>(isa: I, activation: Activation, x: I::V) -> I::V {
    match activation {
        Activation::GeluTanh => gelu_tanh_slope(isa, x),
        Activation::GeluErf => gelu_erf_slope(isa, x),
        Activation::Silu => silu_and_slope(isa, x)[1],
    }
}

/// `silu(x)`, as [`silu`](super::silu) gives it, and `silu'(x)`: one exponential for both.
#[inline(always)]
pub fn silu_and_slope<I: LaneOps>(isa: I, x: I::V) -> [I::V; 2] {
    let t = isa.min(isa.splat(-lowest::<I>()), isa.abs(x));
    let tail = sigmoid_tail(isa, t);
    let value = super::exp::positive_less(isa, x, t, tail);
    [value, sum(isa, x, t, tail, density(isa, tail))]
}

#[inline(always)]
fn gelu_tanh_slope<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(TANH_HIGHEST), isa.abs(x));
    let tail = sigmoid_tail(isa, tanh_argument(isa, t));
    // The derivative of `t (c₀ + c₁ t²)`.
    let rate = isa.mul_add(isa.splat(3.0 * TANH_ARGUMENT[1]), isa.mul(t, t), isa.splat(TANH_ARGUMENT[0]));
    sum(isa, x, t, tail, isa.mul(density(isa, tail), rate))
}

#[inline(always)]
fn gelu_erf_slope<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(ERF_HIGHEST), isa.abs(x));
    let [tail, decay] = normal_tail_and_decay(isa, t);
    sum(isa, x, t, tail, isa.mul(decay, isa.splat(FRAC_1_SQRT_2PI)))
}

/// The logistic density at a point with this tail.
#[inline(always)]
fn density<I: LaneOps>(isa: I, tail: I::V) -> I::V {
    isa.neg_mul_add(tail, tail, tail)
}

/// `F(x) + x · f` of the bounded magnitude `t`, where `F(-t)` is `tail`.
#[inline(always)]
fn sum<I: LaneOps>(isa: I, x: I::V, t: I::V, tail: I::V, f: I::V) -> I::V {
    let below = isa.select(isa.lt(x, isa.splat(0.0)), tail, isa.sub(isa.splat(1.0), tail));
    isa.mul_add(isa.copysign(t, x), f, below)
}
