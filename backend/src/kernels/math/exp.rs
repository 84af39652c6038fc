//! The exponential and what follows from it.

use super::polynomial;
use crate::simd::Isa;

/// `ln 2` in two parts: the first has 10 significant bits, so that its product with an exponent (8 bits) is exact.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Beyond these the result is 0 or infinite, and the exponent would not fit the scaling.
const LOWEST: f32 = -104.0;
const HIGHEST: f32 = 89.0;

/// `(eʳ - 1 - r) / r²` on |r| ≤ ln 2 / 2, minimax: relative error of eʳ below 2⁻²⁸.
const EXP: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_387, 0.008_368_717, 0.001_381_459_2];

/// `tanh(x) = x + x³ P(x²)` on |x| ≤ 0.63, minimax: relative error below 2⁻²⁷.
const TANH: [f32; 5] = [-0.333_332_78, 0.133_313_3, -0.053_730_007, 0.020_606_17, -0.005_666_969_5];

/// `eˣ`, within 1 ulp, subnormal results included.
///
/// `x = n ln 2 + r` (Cody and Waite), `eˣ = 2ⁿ eʳ`, eʳ by a polynomial.
#[inline(always)]
pub fn exp<I: Isa>(isa: I, x: I::V) -> I::V {
    // A NaN is the second operand, which both give.
    let x = isa.min(isa.splat(HIGHEST), isa.max(isa.splat(LOWEST), x));
    let n = isa.round(isa.mul(x, isa.splat(core::f32::consts::LOG2_E)));
    let r = isa.mul_add(n, isa.splat(-LN2[0]), x);
    let r = isa.mul_add(n, isa.splat(-LN2[1]), r);
    let p = isa.mul_add(polynomial(isa, r, EXP), isa.mul(r, r), r);
    isa.mul_pow2(isa.add(p, isa.splat(1.0)), n)
}

/// `(eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)`, within 1.3 ulp.
///
/// A polynomial near 0, where the quotient would cancel; `1 - 2 / (e^{2|x|} + 1)` elsewhere.
#[inline(always)]
pub fn tanh<I: Isa>(isa: I, x: I::V) -> I::V {
    let t = isa.abs(x);
    let square = isa.mul(x, x);
    let near = isa.mul_add(isa.mul(polynomial(isa, square, TANH), square), x, x);
    let one = isa.splat(1.0);
    let e = exp(isa, isa.add(t, t));
    let far = isa.sub(one, isa.div(isa.splat(2.0), isa.add(e, one)));
    isa.select(isa.lt(t, isa.splat(0.625)), near, isa.copysign(far, x))
}

/// `1 / (1 + e⁻ʸ)` for `y = ±t`, `t ≥ 0`, where `negative` says which: no overflow, and small results keep their digits.
#[inline(always)]
pub(super) fn logistic<I: Isa>(isa: I, t: I::V, negative: I::M) -> I::V {
    let one = isa.splat(1.0);
    let e = exp(isa, isa.sub(isa.splat(0.0), t));
    isa.div(isa.select(negative, e, one), isa.add(one, e))
}

/// `1 / (1 + e⁻ˣ)`, within 2.3 ulp.
#[inline(always)]
pub fn sigmoid<I: Isa>(isa: I, x: I::V) -> I::V {
    logistic(isa, isa.abs(x), isa.lt(x, isa.splat(0.0)))
}

/// `x / (1 + e⁻ˣ)`, within 3 ulp for x ≥ -80. Further left the exponential is nearly subnormal: within 60 units of
/// 2⁻¹⁴⁹. `silu(-∞) = -0`.
#[inline(always)]
pub fn silu<I: Isa>(isa: I, x: I::V) -> I::V {
    // Below -120 the sigmoid is 0: the bound keeps -∞ · 0 out.
    isa.mul(isa.max(isa.splat(-120.0), x), sigmoid(isa, x))
}
