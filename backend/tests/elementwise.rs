//! Element-wise kernels on every tier of this machine against f64.

mod reference;

use burn_kiln::kernels::elementwise::{
    BinaryOp, Operand, UnaryOp, binary, binary_in_place, silu_mul, silu_mul_in_place, silu_mul_packed, unary,
    unary_in_place,
};
use burn_kiln::kernels::{Floats, FloatsMut, Launch};
use burn_kiln::simd::Tier;
use half::{bf16, f16};
use reference::{Element, assert_close, erfc, exact, launches, random, ulps};
use proptest::prelude::*;

const OPS: [UnaryOp; 7] =
    [UnaryOp::GeluTanh, UnaryOp::GeluErf, UnaryOp::Silu, UnaryOp::Sigmoid, UnaryOp::Relu, UnaryOp::Exp, UnaryOp::Tanh];

/// The exact function. Far to the left gelu and silu are 0, which their formulas miss.
fn exactly(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::GeluTanh | UnaryOp::GeluErf | UnaryOp::Silu if x < -1e4 => -0.0,
        // x / (1 + exp(-2u)) does not cancel in f64 either.
        UnaryOp::GeluTanh => x / (1.0 + (-(8.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).exp()),
        UnaryOp::GeluErf => 0.5 * x * erfc(-x / core::f64::consts::SQRT_2),
        UnaryOp::Silu => x / (1.0 + (-x).exp()),
        UnaryOp::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryOp::Relu if x.is_nan() => x,
        UnaryOp::Relu => x.max(0.0),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Tanh => x.tanh(),
    }
}

/// Largest error over `xs`: in ulp of the result, and as a multiple of 2⁻²⁴.
fn sweep(tier: Tier, op: UnaryOp, xs: &[f32]) -> [(f64, f32); 2] {
    let mut ys = vec![0.0; xs.len()];
    unary(Launch::single(tier), op, Floats::F32(xs), FloatsMut::F32(&mut ys));
    let mut worst = [(0.0, 0.0); 2];
    for (&x, &y) in xs.iter().zip(&ys) {
        let want = exactly(op, x as f64);
        let error = ulps(y, want);
        assert!(error.is_finite(), "{tier} {op:?}({x:e}) = {y:e}, not {want:e}");
        let absolute = if error == 0.0 { 0.0 } else { (y as f64 - want).abs() * 2f64.powi(24) };
        for (worst, error) in worst.iter_mut().zip([error, absolute]) {
            if error > worst.0 {
                *worst = (error, x);
            }
        }
    }
    println!("{tier:8} {op:?} {:?}: {:.2} ulp, {:.3} · 2⁻²⁴", (xs[0], xs[xs.len() - 1]), worst[0].0, worst[1].0);
    worst
}

/// Every 1021st finite f32: all exponents, both signs, subnormal numbers too.
fn all_floats() -> Vec<f32> {
    (0..=u32::MAX).step_by(1021).map(f32::from_bits).filter(|x| x.is_finite()).collect()
}

/// Floats at even distances.
fn range(begin: f32, end: f32) -> Vec<f32> {
    (0..200_000).map(|i| begin + (end - begin) * (i as f32 / 200_000.0)).collect()
}

#[test]
fn functions_are_as_exact_as_documented() {
    let all = all_floats();
    for tier in Tier::available() {
        let bound = |op: UnaryOp, xs: &[f32], bound: f64| {
            let [relative, _] = sweep(tier, op, xs);
            assert!(relative.0 <= bound, "{tier} {op:?}: {} ulp at {:e}", relative.0, relative.1);
        };
        bound(UnaryOp::Relu, &all, 0.0);
        bound(UnaryOp::Exp, &all, 1.0);
        bound(UnaryOp::Exp, &range(-104.0, 89.0), 1.0);
        bound(UnaryOp::Tanh, &all, 2.0);
        bound(UnaryOp::Tanh, &range(-10.0, 10.0), 2.0);
        bound(UnaryOp::Sigmoid, &all, 2.5);
        bound(UnaryOp::Sigmoid, &range(-110.0, 20.0), 2.5);
        bound(UnaryOp::Silu, &range(-80.0, 100.0), 3.0);
        bound(UnaryOp::GeluTanh, &range(-1.0, 20.0), 4.0);
        bound(UnaryOp::GeluTanh, &range(-10.0, -1.0), 1e9);
        bound(UnaryOp::GeluErf, &range(-1.0, 20.0), 4.0);
        bound(UnaryOp::GeluErf, &range(-13.0, -1.0), 1e9);
        bound(UnaryOp::GeluErf, &all, 1e9);
        bound(UnaryOp::GeluTanh, &all, 1e9);
        bound(UnaryOp::Silu, &all, 1e9);
    }
}
