//! The exponential and what follows from it.

use super::{LaneOps, polynomial};

/// `ln 2` in two parts: the first has 10 significant bits, so that its product with an exponent (8 bits) is exact.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Beyond these the result is 0 or infinite, and the exponent would not fit the scaling.
const LOWEST: f32 = -104.0;
const HIGHEST: f32 = 89.0;

/// [`LOWEST`], or what is bounded to it, where one instruction scales by any power: it takes 219 cycles for a result of
/// 2⁻⁵¹¹ to 2⁻¹²⁷ and 1 below (`vscalefps`, Granite Rapids), so that what is masked (below -355) goes to 2⁻⁵¹⁹. What
/// lies between is computed as it is.
#[inline(always)]
pub(super) fn lowest<I: LaneOps>() -> f32 {
    if I::LOOKS_UP { -360.0 } else { LOWEST }
}

/// `(eʳ - 1 - r) / r²` on |r| ≤ ln 2 / 2, minimax: relative error of eʳ below 2⁻²⁸.
pub(super) const EXP: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_387, 0.008_368_717, 0.001_381_459_2];

/// The same for 16-bit results, from `(eʳ - 1) / r` on: relative error of eʳ below 2⁻¹⁸.
const EXP_16BIT: [f32; 4] = [0.999_966_8, 0.500_030_2, 0.167_875_92, 0.041_513_68];

/// `tanh(x) = x + x³ P(x²)` on |x| ≤ 0.63, minimax: relative error below 2⁻²⁷.
const TANH: [f32; 5] = [-0.333_332_78, 0.133_313_3, -0.053_730_007, 0.020_606_17, -0.005_666_969_5];

/// `eˣ`, within 1 ulp, subnormal results included (1.3 ulp on a portable tier without FMA).
///
/// `x = n ln 2 + r` (Cody and Waite), `eˣ = 2ⁿ eʳ`, eʳ by a polynomial.
#[inline(always)]
pub fn exp<I: LaneOps>(isa: I, x: I::V) -> I::V {
    // A NaN is the second operand, which both give.
    let x = isa.min(isa.splat(HIGHEST), isa.max(isa.splat(lowest::<I>()), x));
    let n = isa.round(isa.mul(x, isa.splat(core::f32::consts::LOG2_E)));
    let r = isa.mul_add(n, isa.splat(-LN2[0]), x);
    let r = isa.mul_add(n, isa.splat(-LN2[1]), r);
    let [a, b, c, d, e] = EXP;
    isa.mul_pow2(polynomial(isa, r, [1.0, 1.0, a, b, c, d, e]), n)
}

/// `e⁻ᵗ` for -40 ≤ t ≤ 112 (360 where [`Isa::LOOKS_UP`](crate::simd::Isa::LOOKS_UP)), within 1 ulp, subnormal results
/// included; 0 from 104 on. NaN gives NaN.
///
/// As [`exp`], with the signs of odd powers turned, without bounds, and with a scale that need not reach large numbers:
/// a third fewer instructions on AVX2.
#[inline(always)]
pub(crate) fn decay<I: LaneOps>(isa: I, t: I::V) -> I::V {
    let n = isa.round(isa.mul(t, isa.splat(-core::f32::consts::LOG2_E)));
    let u = isa.mul_add(n, isa.splat(LN2[0]), t);
    let u = isa.mul_add(n, isa.splat(LN2[1]), u);
    let [a, b, c, d, e] = EXP;
    isa.mul_pow2_low(polynomial(isa, u, [1.0, -1.0, a, -b, c, -d, e]), n)
}

/// `e⁻ᵗ` for t ≥ -40, infinite too: [`decay`] with its bound.
#[inline(always)]
pub(crate) fn decay_any<I: LaneOps>(isa: I, t: I::V) -> I::V {
    decay(isa, isa.min(isa.splat(-lowest::<I>()), t))
}

/// [`decay_any`] for 16-bit results, within a relative 2⁻¹⁷ (1/64 of the rounding to f16, 1/512 of that to bf16): three
/// multiply-adds of nine less. 1 at 0.
#[inline(always)]
pub(crate) fn decay_any_16bit<I: LaneOps>(isa: I, t: I::V) -> I::V {
    decay_16bit(isa, isa.min(isa.splat(-lowest::<I>()), t))
}

/// [`decay_any_16bit`] without its bound, for t as in [`decay`].
#[inline(always)]
fn decay_16bit<I: LaneOps>(isa: I, t: I::V) -> I::V {
    let n = isa.round(isa.mul(t, isa.splat(-core::f32::consts::LOG2_E)));
    let u = isa.mul_add(n, isa.splat(core::f32::consts::LN_2), t);
    let [a, b, c, d] = EXP_16BIT;
    isa.mul_pow2_low(polynomial(isa, u, [1.0, -a, b, -c, d]), n)
}

/// `1 / (1 + eᵗ)`, the sigmoid of -t, for t ≥ 0 as in [`decay`].
#[inline(always)]
pub(super) fn sigmoid_tail<I: LaneOps>(isa: I, t: I::V) -> I::V {
    let e = decay(isa, t);
    isa.div_near(e, isa.add(isa.splat(1.0), e))
}

/// [`sigmoid_tail`] of which bf16 is stored: within a relative 2⁻¹³·⁷.
#[inline(always)]
pub(super) fn sigmoid_tail_bf16<I: LaneOps>(isa: I, t: I::V) -> I::V {
    let e = decay_16bit(isa, t);
    isa.div_coarse(e, isa.add(isa.splat(1.0), e))
}

/// `(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)`, within 1.5 ulp.
///
/// A polynomial near 0, where the quotient would cancel; `1 - 2 e^{-2|x|} / (1 + e^{-2|x|})` elsewhere.
#[inline(always)]
pub fn tanh<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let square = isa.mul(x, x);
    let near = isa.mul_add(isa.mul(polynomial(isa, square, TANH), square), x, x);
    let t = isa.abs(x);
    // From 9.02 on the result is 1.
    let bounded = isa.min(isa.splat(10.0), t);
    let tail = sigmoid_tail(isa, isa.add(bounded, bounded));
    let far = isa.mul_add(tail, isa.splat(-2.0), isa.splat(1.0));
    isa.select(isa.lt(t, isa.splat(0.625)), near, isa.copysign(far, x))
}

/// `1 / (1 + e⁻ˣ)`, within 2.5 ulp.
#[inline(always)]
pub fn sigmoid<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let tail = sigmoid_tail(isa, isa.min(isa.splat(-lowest::<I>()), isa.abs(x)));
    isa.select(isa.lt(x, isa.splat(0.0)), tail, isa.sub(isa.splat(1.0), tail))
}

/// [`sigmoid`] of which bf16 is stored: within a relative 2⁻¹³·⁷, 1/26 of what rounding the result adds.
#[inline(always)]
pub fn sigmoid_bf16<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let tail = sigmoid_tail_bf16(isa, isa.min(isa.splat(-lowest::<I>()), isa.abs(x)));
    isa.select(isa.lt(x, isa.splat(0.0)), tail, isa.sub(isa.splat(1.0), tail))
}

/// `x / (1 + e⁻ˣ)`, within 3 ulp for x ≥ -80. Further left the exponential is nearly subnormal: within 1.5 · |x| units
/// of 2⁻¹⁴⁹. `silu(-∞) = -0`, the limit; the formula, and PyTorch, give NaN there.
#[inline(always)]
pub fn silu<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(-lowest::<I>()), isa.abs(x));
    positive_less(isa, x, t, sigmoid_tail(isa, t))
}

/// [`silu`] of which bf16 is stored: within a relative 2⁻¹³·⁷ where the result is not subnormal. Two thirds of the
/// instructions.
#[inline(always)]
pub fn silu_bf16<I: LaneOps>(isa: I, x: I::V) -> I::V {
    let t = isa.min(isa.splat(-lowest::<I>()), isa.abs(x));
    positive_less(isa, x, t, sigmoid_tail_bf16(isa, t))
}

/// `max(x, 0) - t · tail`: `x · F(x)` for `t = |x|`, bounded, and `tail = F(-t) = 1 - F(t)`. Rounded once for a
/// positive x, and -0 where a negative x leaves nothing.
#[inline(always)]
pub(super) fn positive_less<I: LaneOps>(isa: I, x: I::V, t: I::V, tail: I::V) -> I::V {
    // `max` gives its second operand for NaN and for two zeros.
    let positive = isa.max(isa.splat(-0.0), x);
    isa.neg_mul_add(t, tail, positive)
}
