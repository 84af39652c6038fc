//! What the kernel tests share: f64 references, seeded numbers, and element types by name.
#![allow(dead_code)]

use half::{bf16, f16};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut, Launch, Storage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// An element type as tests use it.
pub trait Element: Storage + PartialEq + core::fmt::Debug {
    /// Half the distance between 1 and the next number: the relative error of one rounding.
    const ROUNDING: f64;
    /// Half the distance between subnormal numbers.
    const SUBNORMAL: f64;
    fn view(x: &[Self]) -> Floats<'_>;
    fn view_mut(x: &mut [Self]) -> FloatsMut<'_>;
}

impl Element for f32 {
    const ROUNDING: f64 = 5.96e-8;
    const SUBNORMAL: f64 = 7.1e-46;
    fn view(x: &[Self]) -> Floats<'_> {
        Floats::F32(x)
    }
    fn view_mut(x: &mut [Self]) -> FloatsMut<'_> {
        FloatsMut::F32(x)
    }
}
impl Element for bf16 {
    const ROUNDING: f64 = 1.0 / 256.0;
    const SUBNORMAL: f64 = 7.1e-46 * 65536.0;
    fn view(x: &[Self]) -> Floats<'_> {
        Floats::Bf16(x)
    }
    fn view_mut(x: &mut [Self]) -> FloatsMut<'_> {
        FloatsMut::Bf16(x)
    }
}
impl Element for f16 {
    const ROUNDING: f64 = 1.0 / 2048.0;
    const SUBNORMAL: f64 = 1.0 / 33_554_432.0;
    fn view(x: &[Self]) -> Floats<'_> {
        Floats::F16(x)
    }
    fn view_mut(x: &mut [Self]) -> FloatsMut<'_> {
        FloatsMut::F16(x)
    }
}

/// Each tier of this machine with 1 and with 2 threads.
pub fn launches() -> Vec<Launch> {
    let both = |tier| [Launch { threads: 1, ..Launch::single(tier) }, Launch { threads: 2, ..Launch::single(tier) }];
    Tier::available().into_iter().flat_map(both).collect()
}

/// `len` numbers of -2 to 2.
pub fn random<S: Element>(len: usize, seed: u64) -> Vec<S> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| S::from_f32(rng.random_range(-2.0..2.0))).collect()
}

/// The same in f64.
pub fn exact<S: Element>(x: &[S]) -> Vec<f64> {
    x.iter().map(|x| x.to_f32() as f64).collect()
}

/// How far `got` is from `want`, in units in the last place of an f32 near `want`; 0 for equal infinities and two NaNs,
/// infinite for a difference in kind.
pub fn ulps(got: f32, want: f64) -> f64 {
    if want.is_nan() || got.is_nan() {
        return if want.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    // What rounds to infinity may be the last finite number, and the other way around.
    let limit = 2f64.powi(128);
    let (got, want) = ((got as f64).clamp(-limit, limit), want.clamp(-limit, limit));
    let exponent = if want == 0.0 { -126 } else { (want.abs().log2().floor() as i32).clamp(-126, 127) };
    (got - want).abs() / 2f64.powi(exponent - 23)
}

/// Asserts that `got` is `want` within `relative · |want| + absolute`, NaN and infinities alike.
#[track_caller]
pub fn assert_close<S: Element>(got: &[S], want: &[f64], relative: f64, absolute: f64, what: &dyn core::fmt::Debug) {
    assert_eq!(got.len(), want.len(), "{what:?}: lengths");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let got = got.to_f32() as f64;
        let fits = got == *want
            || (got.is_nan() && want.is_nan())
            || got == S::from_f32(*want as f32).to_f32() as f64 // which may be infinite
            || (got - want).abs() <= (relative + S::ROUNDING) * want.abs() + absolute + S::SUBNORMAL;
        assert!(fits, "{what:?}: element {i} is {got:e}, not {want:e}");
    }
}

/// `1 - erf(x)`: its Taylor series near 0, its continued fraction (Lentz) elsewhere; 1e-13 relative.
pub fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 1.0 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while f64::abs(term) > 1e-18 * f64::abs(sum) && n < 200.0 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return 1.0 - core::f64::consts::FRAC_2_SQRT_PI * sum;
    }
    if x > 30.0 {
        return 0.0;
    }
    // erfc(x) = exp(-x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ..)))), from the inside out.
    let mut fraction = x;
    for n in (1..=200).rev() {
        fraction = x + (n as f64 / 2.0) / fraction;
    }
    (-x * x).exp() / (core::f64::consts::PI.sqrt() * fraction)
}
