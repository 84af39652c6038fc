//! Powers of two: weights are `2^(score · log₂ e - max)`, so that the logarithm's base costs no operation of its own.

#[cfg(target_arch = "x86_64")]
use crate::simd::Avx512Bf16;
use crate::simd::{Isa, Tier};

/// `(2ʳ - 1) / r` on |r| ≤ 1/2, minimax with 2⁰ exact: relative error of 2ʳ below 2⁻²³.
#[allow(clippy::approx_constant)] // near ln 2, but not it
const POWER: [f32; 5] = [0.693_147, 0.240_222_42, 0.055_507_336, 0.009_671_513, 0.001_326_472_7];

/// Exponents below are taken for -∞, so that no weight is subnormal, nor its products with what is above 2⁻²⁶: each
/// such register takes some 219 cycles on Intel (Granite Rapids: 52 ns for `vscalefps` down to 2⁻³⁰⁰, 0.3 ns at 2⁻¹⁰⁰⁰
/// and -∞).
const LEAST: i32 = -100;

/// `2ˣ` for x ≤ 64, within 2 ulp; 0 where x < -100. NaN gives NaN.
///
/// `x = n + r`, `2ˣ = 2ⁿ · 2ʳ`, the latter by a polynomial.
#[inline(always)]
pub(super) fn power_of_two<I: Isa>(isa: I, x: I::V) -> I::V {
    // Where one instruction scales, this exponent is far below any number; elsewhere that of -127 is the one of 0.
    let scales = I::TIER != Tier::Avx2 && I::TIER != Tier::Portable;
    let nothing = isa.splat(if scales { -1000.0 } else { -127.0 });
    // A NaN is not less.
    let x = isa.select(isa.lt(x, isa.splat(LEAST as f32)), nothing, x);
    let n = isa.round(x);
    let r = isa.sub(x, n);
    let mut sum = isa.splat(POWER[4]);
    for c in POWER.into_iter().rev().skip(1) {
        sum = isa.mul_add(sum, r, isa.splat(c));
    }
    let power = isa.mul_add(sum, r, isa.splat(1.0));
    if scales { isa.mul_pow2(power, n) } else { isa.mul(power, isa.pow2(n)) }
}

/// 2ʳ on 0 ≤ r < 1, minimax: relative error 2.6e-6.
#[cfg(target_arch = "x86_64")]
const FRACTION: [f32; 5] = [1.000_002_6, 0.693_003_83, 0.241_442_75, 0.052_011_46, 0.013_534_168];

/// `2ˣ` for x ≤ 127, for weights that become bf16 (relative error 2⁻⁹): within 2.7e-6, so that their sum is good for an
/// lse. 0 where x < -100, ∞ beyond; NaN gives NaN.
///
/// 8 instructions where [`power_of_two`] takes 11: the fraction above the floor is what one instruction leaves, and
/// scaling takes the floor itself.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn power_of_two_near(isa: Avx512Bf16, x: V) -> V {
    let base = isa.base();
    let r = isa.fraction(x);
    let mut sum = base.splat(FRACTION[4]);
    for c in FRACTION.into_iter().rev().skip(1) {
        sum = base.mul_add(sum, r, base.splat(c));
    }
    isa.scale_or_zero::<LEAST>(sum, x)
}

/// A register of AVX-512.
#[cfg(target_arch = "x86_64")]
type V = <crate::simd::Avx512 as Isa>::V;
