//! The Gaussian error linear unit, `x · Φ(x)` with the normal distribution function Φ (Hendrycks and Gimpel 2016).
//!
//! At -∞ both give -0, the limit, and at ∞ they give ∞. (The formulas, and PyTorch, give NaN at -∞.)

use super::exp::{decay, positive_less, sigmoid_tail};
use super::{Vector, polynomial};

/// From here on to the left the forms round to 0; the bounds also keep -∞ · 0 out.
const TANH_HIGHEST: f32 = 10.8;
const ERF_HIGHEST: f32 = 14.8;

/// `√(8/π)` and 0.044715 of it: twice the argument of the hyperbolic tangent is `x (c₀ + c₁ x²)`.
const TANH_ARGUMENT: [f32; 2] = [1.595_769_2, 0.071_354_814];

/// `Φ(-t) e^{t²/2}` on 0 ≤ t ≤ 15 is the quotient of these, minimax: relative error below 2⁻²⁷. No coefficient is negative,
/// so nothing cancels.
const TAIL_OVER: [f32; 5] = [0.5, 0.439_283_73, 0.183_969_37, 0.040_881_205, 0.004_153_241_6];
const TAIL_UNDER: [f32; 6] = [1.0, 1.676_452_5, 1.205_549_2, 0.471_409_3, 0.102_480_106, 0.010_410_521];

/// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
///
/// Computed as `x / (1 + e^{-2u})`, which does not cancel in the negative tail. Within 3 ulp for x ≥ -1. Left of
/// that the exponential multiplies the rounding of its argument 2u: up to 200 ulp where the result is near 10⁻⁴⁰, while the
/// absolute error is below 2⁻²⁴ for all x ≤ 0. (The formula with the hyperbolic tangent has no correct digit there in f32.)
#[inline(always)]
pub fn gelu_tanh<I: Vector>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(TANH_HIGHEST), isa.abs(x));
    let slope = isa.mul_add(isa.splat(TANH_ARGUMENT[1]), isa.mul(t, t), isa.splat(TANH_ARGUMENT[0]));
    positive_less(isa, x, t, sigmoid_tail(isa, isa.mul(t, slope)))
}

/// `x/2 · (1 + erf(x/√2))`.
///
/// `Φ(-t) = e^{-t²/2} R(t)` with a rational R, and `Φ(t) = 1 - Φ(-t)`: the negative tail keeps its digits. Within 3.5 ulp for
/// x ≥ -1, within 9 ulp everywhere; without FMA (the portable tier) within 80 ulp in the tail. The absolute error is below
/// 2⁻²⁴ for all x ≤ 0.
#[inline(always)]
pub fn gelu_erf<I: Vector>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(ERF_HIGHEST), isa.abs(x));
    let half = isa.mul(t, isa.splat(0.5));
    let square = isa.mul(t, half);
    // What the rounding of t²/2 lost: with FMA exact; without, 0, and the error of the tail grows with t².
    let lost = isa.neg_mul_add(t, half, square);
    let e = decay(isa, square);
    let e = isa.mul_add(e, lost, e);
    let tail = isa.div_near(isa.mul(e, polynomial(isa, t, TAIL_OVER)), polynomial(isa, t, TAIL_UNDER));
    positive_less(isa, x, t, tail)
}
