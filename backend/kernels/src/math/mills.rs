//! `Φ(-t)`, the tail of the normal distribution, where the instruction set looks up tables of 16 in a register:
//! `Φ(-t) = e^{-t²/2} R(t)`.
//!
//! `R` is a polynomial for each of 16 segments: `t + 1` has four binary orders from 1 to 16, each with four equal
//! segments, which the last bits of its exponent and the first of its mantissa number. The exponential is
//! `2^{k/16} e^{-u/2}`, the first factor from a table too. The two chains of multiply-adds are interleaved: the CPU
//! looks ahead over too few instructions to find the second behind the first (10.0 cycles a register in place of 10.8
//! on AMD Zen 5; by quotient, [`super::gelu`], 12.9).

use super::LaneOps;
use crate::simd::Table;
use core::f32::consts::{LN_2, LOG2_E};

/// Bits of a float below the first two of its mantissa.
const BELOW_QUARTERS: u32 = 21;

/// The middle of each segment of t, in the order of the bits of t + 1.
#[rustfmt::skip]
static MIDDLES: Table = Table([
    1.25, 1.75, 2.25, 2.75, 3.5, 4.5, 5.5, 6.5,
    8.0, 10.0, 12.0, 14.0, 0.125, 0.375, 0.625, 0.875,
]);

/// `R` around these, through Chebyshev's nodes: relative error below 2⁻²⁵·⁵ for t ≤ 3, below 2⁻²³·⁵ to 15.
#[rustfmt::skip]
static TAIL: [Table; 6] = [
    Table([
        0.230_760_32, 0.185_231_67, 0.153_651_94, 0.130_724_73, 0.106_345_16, 0.084_803_395, 0.070_342_7, 0.060_015_675,
        0.049_122_55, 0.039_506_696, 0.033_018_973, 0.028_352_661,
        0.453_793_23, 0.379_604_43, 0.323_356_18, 0.279_770_58,
    ]),
    Table([
        -0.110_491_88, -0.074_786_864, -0.053_225_42, -0.039_449_263,
        -0.026_734_244, -0.017_327_016, -0.012_057_464, -0.008_840_390_5,
        -0.005_961_911_3, -0.003_875_339_4, -0.002_714_627_4, -0.002_005_033,
        -0.342_218_13, -0.256_590_63, -0.196_844_68, -0.154_143_04,
    ]),
    Table([
        0.046_321_4, 0.027_176_816, 0.016_947_161, 0.011_119_54,
        0.006_387_158_3, 0.003_415_774_8, 0.002_013_279, 0.001_276_551_6,
        0.000_713_556_54, 0.000_376_632_58, 0.000_221_715_43, 0.000_141_097_26,
        0.205_506_94, 0.141_690_91, 0.100_163_8, 0.072_447_52,
    ]),
    Table([
        -0.017_529_098, -0.009_075_383, -0.005_031_229, -0.002_956_737,
        -0.001_459_055_6, -0.000_651_783_4, -0.000_328_055_58, -0.000_180_897_4,
        -8.428_114e-5, -3.627_778_6e-5, -1.799_265e-5, -9.881_589e-6,
        -0.105_509_505, -0.067_818_58, -0.044_747_263, -0.030_250_372,
    ]),
    Table([
        0.006_159_718, 0.002_845_408_6, 0.001_415_642_6, 0.000_751_071_9,
        0.000_325_405_33, 0.000_122_137_02, 5.271_445e-5, 2.535_499_5e-5,
        1.002_467_6e-5, 3.510_608_4e-6, 1.464_962_7e-6, 6.937_472e-7,
        0.048_258_28, 0.029_161_904, 0.018_103_514, 0.011_525_793,
    ]),
    Table([
        -0.001_996_701_1, -0.000_832_495_2, -0.000_375_378_3, -0.000_181_304_71,
        -6.876_402e-5, -2.198_256e-5, -8.212_914_5e-6, -3.468_837_8e-6,
        -1.154_012_4e-6, -3.322_677_5e-7, -1.173_907_76e-7, -4.812_582e-8,
        -0.019_963_548, -0.011_416_874, -0.006_710_918_6, -0.004_048_171_5,
    ]),
];

/// `2^{k/16}`.
#[rustfmt::skip]
static ROOTS: Table = Table([
    1.0, 1.044_273_7, 1.090_507_7, 1.138_788_6, 1.189_207_1, 1.241_857_8, 1.296_839_6, 1.354_255_6,
    core::f32::consts::SQRT_2, 1.476_826_2, 1.542_210_8, 1.610_490_3, 1.681_792_9, 1.756_252_2, 1.834_008_1, 1.915_206_6,
]);

/// Added to a small number, it leaves that in sixteenths, which are the last bits of the sum.
const SIXTEENTHS: f32 = 786_432.0;

/// `Φ(-t)` for 0 ≤ t ≤ 14.9.
#[inline(always)]
pub(super) fn normal_tail<I: LaneOps>(isa: I, t: I::V) -> I::V {
    let place = isa.add(t, isa.splat(1.0));
    let tail = |i: usize| isa.lookup::<BELOW_QUARTERS>(&TAIL[i], place);
    let square = isa.mul(t, t);
    // e^{-t²/2} = 2ⁿ e^{-u/2} for n in sixteenths: |u| ≤ ln 2 / 16. Why one multiply-add: see `reduce_half`.
    let sixteenths = isa.interleave(isa.mul_add(square, isa.splat(-0.5 * LOG2_E), isa.splat(SIXTEENTHS)));
    let d = isa.interleave(isa.sub(t, isa.lookup::<BELOW_QUARTERS>(&MIDDLES, place)));
    let n = isa.sub(sixteenths, isa.splat(SIXTEENTHS));
    let r = isa.interleave(isa.mul_add(tail(5), d, tail(4)));
    // What the rounding of t² added, exactly.
    let added = isa.neg_mul_add(t, t, square);
    let u = isa.interleave(isa.mul_add(n, isa.splat(2.0 * LN_2), square));
    let r = isa.interleave(isa.mul_add(r, d, tail(3)));
    let u = isa.interleave(isa.sub(u, added));
    let r = isa.interleave(isa.mul_add(r, d, tail(2)));
    // e^{-u/2} - 1 = u (-1/2 + u/8 - u²/48 + ..): what is left out is below 2⁻²⁶·⁶.
    let e = isa.interleave(isa.mul_add(u, isa.splat(-1.0 / 48.0), isa.splat(1.0 / 8.0)));
    let r = isa.interleave(isa.mul_add(r, d, tail(1)));
    let e = isa.interleave(isa.mul_add(e, u, isa.splat(-0.5)));
    let r = isa.interleave(isa.mul_add(r, d, tail(0)));
    let e = isa.interleave(isa.mul(e, u));
    let r = isa.interleave(isa.mul(r, isa.lookup::<0>(&ROOTS, sixteenths)));
    isa.mul_pow2_low(isa.mul_add(r, e, r), n)
}
