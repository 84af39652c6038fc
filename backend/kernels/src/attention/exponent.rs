//! Powers of two: weights are `2^(score · log₂ e - max)`, so that the logarithm's base costs no operation of its own.

use crate::simd::{Isa, Tier};

/// `(2ʳ - 1) / r` on |r| ≤ 1/2, minimax with 2⁰ exact: relative error of 2ʳ below 2⁻²³.
#[allow(clippy::approx_constant)] // near ln 2, but not it
const POWER: [f32; 5] = [0.693_147, 0.240_222_42, 0.055_507_336, 0.009_671_513, 0.001_326_472_7];

/// `2ˣ` for x ≤ 64, within 2 ulp; what is below 2⁻¹²⁷ may be 0, and -∞ gives 0. NaN gives NaN.
///
/// `x = n + r`, `2ˣ = 2ⁿ · 2ʳ`, the latter by a polynomial.
#[inline(always)]
pub(super) fn power_of_two<I: Isa>(isa: I, x: I::V) -> I::V {
    // Where one instruction scales, a subnormal result costs nothing more; elsewhere the exponent of -127 is that of 0.
    let scales = I::TIER != Tier::Avx2 && I::TIER != Tier::Portable;
    // A NaN is the second operand, which `max` gives.
    let x = isa.max(isa.splat(if scales { -160.0 } else { -127.0 }), x);
    let n = isa.round(x);
    let r = isa.sub(x, n);
    let mut sum = isa.splat(POWER[4]);
    for c in POWER.into_iter().rev().skip(1) {
        sum = isa.mul_add(sum, r, isa.splat(c));
    }
    let power = isa.mul_add(sum, r, isa.splat(1.0));
    if scales { isa.mul_pow2(power, n) } else { isa.mul(power, isa.pow2(n)) }
}
