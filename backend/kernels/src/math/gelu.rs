//! The Gaussian error linear unit, `x · Φ(x)` with the normal distribution function Φ (Hendrycks and Gimpel 2016).
//!
//! At -∞ both give -0, the limit, and at ∞ they give ∞. (The formulas, and PyTorch, give NaN at -∞.)

use super::exp::{EXP, positive_less, sigmoid_tail, sigmoid_tail_bf16};
use super::mills::normal_tail;
use super::{LaneOps, polynomial};
use core::f32::consts::{LN_2, LOG2_E};

/// From here on to the left the forms round to 0; the bounds also keep -∞ · 0 out.
pub(super) const TANH_HIGHEST: f32 = 10.8;
pub(super) const ERF_HIGHEST: f32 = 14.8;

/// `√(8/π)` and 0.044715 of it: twice the argument of the hyperbolic tangent is `x (c₀ + c₁ x²)`.
pub(super) const TANH_ARGUMENT: [f32; 2] = [1.595_769_2, 0.071_354_814];

/// `Φ(-t) e^{t²/2}` on 0 ≤ t ≤ 15 is the quotient of these, minimax: relative error below 2⁻²⁷. No coefficient is
/// negative, so nothing cancels.
const TAIL_OVER: [f32; 5] = [0.5, 0.439_283_73, 0.183_969_37, 0.040_881_205, 0.004_153_241_6];
const TAIL_UNDER: [f32; 6] = [1.0, 1.676_452_5, 1.205_549_2, 0.471_409_3, 0.102_480_106, 0.010_410_521];

/// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
///
/// Computed as `x / (1 + e^{-2u})`, which does not cancel in the negative tail. Within 3 ulp for x ≥ -1. Left of that
/// the exponential multiplies the rounding of its argument 2u: up to 200 ulp where the result is near 10⁻⁴⁰, while the
/// absolute error is below 2⁻²⁴ for all x ≤ 0. (The formula with the hyperbolic tangent has no correct digit there in
/// f32.)
#[inline(always)]
pub fn gelu_tanh<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(TANH_HIGHEST), isa.abs(x));
    positive_less(isa, x, t, sigmoid_tail(isa, tanh_argument(isa, t)))
}

/// [`gelu_tanh`] of which bf16 is stored: within a relative 2⁻¹³·⁷.
#[inline(always)]
pub fn gelu_tanh_bf16<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(TANH_HIGHEST), isa.abs(x));
    positive_less(isa, x, t, sigmoid_tail_bf16(isa, tanh_argument(isa, t)))
}

/// Twice the argument of the hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh_argument<I: LaneOps>(isa: I, t: I::V) -> I::V {
    let slope = isa.mul_add(isa.splat(TANH_ARGUMENT[1]), isa.mul(t, t), isa.splat(TANH_ARGUMENT[0]));
    isa.mul(t, slope)
}

/// The same for bf16: relative error below 2⁻¹⁵.
const COARSE_OVER: [f32; 3] = [0.500_012_8, 0.279_686, 0.063_125_074];
const COARSE_UNDER: [f32; 4] = [1.0, 1.358_048_9, 0.705_912, 0.158_068_72];

/// `e^{-u/2}` on |u| ≤ ln 2: the polynomial of [`super::exp`] in -u/2, and one for bf16, minimax: relative error below
/// 2⁻¹⁸.
const HALF_DECAY: [f32; 7] = {
    let [a, b, c, d, e] = EXP;
    [1.0, -0.5, a / 4.0, -b / 8.0, c / 16.0, -d / 32.0, e / 64.0]
};
const COARSE_HALF_DECAY: [f32; 5] = [1.0, -0.499_983_4, 0.125_007_55, -0.020_984_488, 0.002_594_604_3];

/// `x/2 · (1 + erf(x/√2))`.
///
/// `Φ(-t) = e^{-t²/2} R(t)` with a rational R, and `Φ(t) = 1 - Φ(-t)`: the negative tail keeps its digits. Within 3.7
/// ulp for x ≥ -1, within 12 ulp everywhere; without FMA (the portable tier) within 200 ulp in the tail. The absolute
/// error is below 2⁻²⁴ for all x ≤ 0. (A formula with erf, PyTorch's, has no correct digit left of -5.5.)
#[inline(always)]
pub fn gelu_erf<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(ERF_HIGHEST), isa.abs(x));
    let tail = if I::LOOKS_UP { normal_tail(isa, t) } else { normal_tail_by_quotient(isa, t) };
    positive_less(isa, x, t, tail)
}

/// `Φ(-t)` for 0 ≤ t ≤ 15.
#[inline(always)]
fn normal_tail_by_quotient<I: LaneOps>(isa: I, t: I::V) -> I::V {
    normal_tail_and_decay(isa, t)[0]
}

/// `Φ(-t)` and `e^{-t²/2}` for 0 ≤ t ≤ 15.
#[inline(always)]
pub(super) fn normal_tail_and_decay<I: LaneOps>(isa: I, t: I::V) -> [I::V; 2] {
    let square = isa.mul(t, t);
    // What the rounding of t² added: with FMA exact; without, 0, and the error of the tail grows with t².
    let added = isa.neg_mul_add(t, t, square);
    let (n, u) = reduce_half(isa, square);
    let e = polynomial(isa, isa.sub(u, added), HALF_DECAY);
    let decay = isa.mul_pow2_low(e, n);
    let over = isa.mul(decay, polynomial(isa, t, TAIL_OVER));
    [isa.div_near(over, polynomial(isa, t, TAIL_UNDER)), decay]
}

/// [`gelu_erf`] of a bf16, of which bf16 is stored: relative error below 2⁻¹³·⁴, 1/21 of what rounding the result adds,
/// with two thirds of the instructions. The square of a bf16 is exact.
#[inline(always)]
pub fn gelu_erf_bf16<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(ERF_HIGHEST), isa.abs(x));
    let (n, u) = reduce_half(isa, isa.mul(t, t));
    let e = polynomial(isa, u, COARSE_HALF_DECAY);
    let over = isa.mul(isa.mul_pow2_low(e, n), polynomial(isa, t, COARSE_OVER));
    positive_less(isa, x, t, isa.div_coarse(over, polynomial(isa, t, COARSE_UNDER)))
}

/// `n` and `u` of `e^{-s/2} = 2ⁿ e^{-u/2}` with |u| ≤ ln 2.
///
/// One multiply-add: the constant is off by 2⁻²⁸, and n times half of that, 150 at the most, is 2.5 ulp of the farthest
/// tail.
#[inline(always)]
fn reduce_half<I: LaneOps>(isa: I, s: I::V) -> (I::V, I::V) {
    let n = isa.round(isa.mul(s, isa.splat(-0.5 * LOG2_E)));
    (n, isa.mul_add(n, isa.splat(2.0 * LN_2), s))
}
