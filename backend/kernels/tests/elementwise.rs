//! Element-wise kernels on every tier of this machine against f64.

mod reference;

use half::{bf16, f16};
use kiln_kernels::ElementType;
use kiln_kernels::elementwise::{
    BinaryOp, Operand, UnaryOp, binary, binary_in_place, silu_mul, silu_mul_in_place, unary, unary_in_place,
};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut, Launch};
use proptest::prelude::*;
use reference::{Element, assert_close, erfc, exact, launches, random, ulps};

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
        // NaN gives 0.
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
        let ulp = |op: UnaryOp, xs: &[f32], bound: f64| {
            let [(error, at), _] = sweep(tier, op, xs);
            assert!(error <= bound, "{tier} {op:?}({at:e}): {error} ulp");
        };
        // In units of 2^-24, of which a result of 1/2 to 1 has one.
        let absolute = |op: UnaryOp, xs: &[f32], bound: f64| {
            let [_, (error, at)] = sweep(tier, op, xs);
            assert!(error <= bound, "{tier} {op:?}({at:e}): {error} of 2^-24");
        };
        ulp(UnaryOp::Relu, &all, 0.0);
        // The portable tier of a build without FMA rounds each step of a polynomial twice.
        let exp = if tier == Tier::Portable { 1.3 } else { 1.0 };
        ulp(UnaryOp::Exp, &all, exp);
        ulp(UnaryOp::Exp, &range(-104.0, 89.0), exp);
        ulp(UnaryOp::Tanh, &all, 2.0);
        ulp(UnaryOp::Tanh, &range(-10.0, 10.0), 2.0);
        ulp(UnaryOp::Sigmoid, &all, 2.5);
        ulp(UnaryOp::Sigmoid, &range(-110.0, 20.0), 2.5);
        ulp(UnaryOp::Silu, &range(-80.0, 100.0), 3.0);
        ulp(UnaryOp::Silu, &all, 60.0);
        ulp(UnaryOp::GeluTanh, &range(-1.0, 20.0), 3.0);
        ulp(UnaryOp::GeluTanh, &all, 200.0);
        absolute(UnaryOp::GeluTanh, &range(-20.0, 0.0), 0.8);
        ulp(UnaryOp::GeluErf, &range(-1.0, 20.0), 3.5);
        // Only the portable tier of a CPU without FMA in its build loses the low half of a square.
        ulp(UnaryOp::GeluErf, &all, if tier == Tier::Portable { 200.0 } else { 12.0 });
        absolute(UnaryOp::GeluErf, &range(-20.0, 0.0), 0.8);
    }
}

#[test]
fn special_values_give_limits() {
    let xs = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MAX, f32::MIN, 1e-45, -1e-45];
    for tier in Tier::available() {
        for op in OPS {
            let mut ys = xs;
            unary_in_place(Launch::single(tier), op, FloatsMut::F32(&mut ys));
            for (x, y) in xs.into_iter().zip(ys) {
                let want = exactly(op, x as f64);
                assert!(ulps(y, want) <= 1.0, "{tier} {op:?}({x:e}) = {y:e}, not {want:e}");
            }
        }
    }
}

/// `op` of each element type for every length up to two registers and a bit, out of place, in place, and with the
/// slices beginning anywhere.
fn check_unary<S: Element>(launch: Launch, len: usize, offset: usize) {
    let x = random::<S>(offset + len, len as u64);
    for op in OPS {
        let mut y = vec![S::from_f32(9.0); offset + len + 3];
        unary(launch, op, S::view(&x[offset..]), S::view_mut(&mut y[offset..offset + len]));
        let want: Vec<f64> = exact(&x[offset..]).into_iter().map(|x| exactly(op, x)).collect();
        assert_close(&y[offset..offset + len], &want, 1e-6, 0.0, &(launch, op, len));
        assert!(y[..offset].iter().chain(&y[offset + len..]).all(|y| y.to_f32() == 9.0), "{op:?}: written beside");
        let mut in_place = x.clone();
        unary_in_place(launch, op, S::view_mut(&mut in_place[offset..]));
        assert_eq!(in_place[offset..], y[offset..offset + len], "{op:?} in place");
    }
}

#[test]
fn unary_of_every_length_and_type() {
    for launch in launches() {
        for len in (0..35).chain([257, 150_000]) {
            check_unary::<f32>(launch, len, len % 3);
            check_unary::<bf16>(launch, len, len % 3);
            check_unary::<f16>(launch, len, len % 3);
        }
    }
}

type Exact = fn(f64, f64) -> f64;

const ARITHMETIC: [(BinaryOp, Exact); 4] = [
    (BinaryOp::Add, |a, b| a + b),
    (BinaryOp::Sub, |a, b| a - b),
    (BinaryOp::Mul, |a, b| a * b),
    (BinaryOp::Div, |a, b| a / b),
];

fn check_binary<S: Element>(launch: Launch, rows: usize, d: usize) {
    let a = random::<S>(rows * d, 1);
    let (same, row, column) = (random::<S>(rows * d, 2), random::<S>(d, 3), random::<S>(rows, 4));
    let scalar = 0.75;
    let operands: [(Operand<'_>, &dyn Fn(usize) -> f64); 4] = [
        (Operand::Same(S::view(&same)), &|i| same[i].to_f32() as f64),
        (Operand::Scalar(scalar), &|_| scalar as f64),
        (Operand::Row(S::view(&row)), &|i| row[i % d].to_f32() as f64),
        (Operand::Column(S::view(&column)), &|i| column[i / d].to_f32() as f64),
    ];
    for (op, function) in ARITHMETIC {
        for (operand, b) in &operands {
            let want: Vec<f64> = exact(&a).iter().enumerate().map(|(i, &a)| function(a, b(i))).collect();
            let mut out = vec![S::from_f32(f32::NAN); rows * d];
            binary(launch, op, S::view(&a), *operand, S::view_mut(&mut out));
            assert_close(&out, &want, 0.0, 1e-45, &(launch, op, rows, d));
            let mut in_place = a.clone();
            binary_in_place(launch, op, S::view_mut(&mut in_place), *operand);
            assert_eq!(in_place, out, "{op:?} in place");
        }
    }
}

#[test]
fn binary_of_every_shape_and_type() {
    for launch in launches() {
        for (rows, d) in
            [(1, 1), (1, 7), (1, 33), (5, 1), (3, 8), (4, 17), (2, 35), (2001, 67), (1, 100_000), (100_000, 1)]
        {
            check_binary::<f32>(launch, rows, d);
            check_binary::<bf16>(launch, rows, d);
            check_binary::<f16>(launch, rows, d);
        }
        for operand in [Operand::Same(Floats::F32(&[])), Operand::Row(Floats::F32(&[])), Operand::Scalar(2.0)] {
            binary_in_place(launch, BinaryOp::Add, FloatsMut::F32(&mut []), operand);
        }
    }
}

fn check_gated<S: Element>(launch: Launch, rows: usize, width: usize) {
    let packed = random::<S>(2 * rows * width, 5);
    let half = |second: usize| -> Vec<S> {
        (0..rows * width).map(|i| packed[i / width * 2 * width + second * width + i % width]).collect()
    };
    let (gate, up) = (half(0), half(1));
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let want: Vec<f64> = exact(&gate).into_iter().zip(exact(&up)).map(|(g, u)| silu(g) * u).collect();
    let mut out = vec![S::from_f32(f32::NAN); rows * width];
    silu_mul(launch, S::view(&gate), S::view(&up), S::view_mut(&mut out));
    assert_close(&out, &want, 1e-6, 0.0, &(launch, rows, width));
    let mut in_place = gate;
    silu_mul_in_place(launch, S::view_mut(&mut in_place), S::view(&up));
    assert_eq!(in_place, out);
}

#[test]
fn gated_products() {
    for launch in launches() {
        for (rows, width) in [(0, 0), (0, 4), (1, 1), (2, 3), (3, 17), (5, 32), (1500, 129)] {
            check_gated::<f32>(launch, rows, width);
            check_gated::<bf16>(launch, rows, width);
            check_gated::<f16>(launch, rows, width);
        }
    }
}

#[test]
#[should_panic(expected = "elements of the operands")]
fn lengths_must_fit() {
    let launch = Launch::single(Tier::Portable);
    binary_in_place(launch, BinaryOp::Add, FloatsMut::F32(&mut [0.0; 4]), Operand::Same(Floats::F32(&[0.0; 3])));
}

#[test]
#[should_panic(expected = "one element type")]
fn element_types_must_be_the_same() {
    let launch = Launch::single(Tier::Portable);
    unary(launch, UnaryOp::Exp, Floats::F32(&[0.0]), FloatsMut::F16(&mut [f16::ZERO]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn broadcasts_of_any_shape(rows in 1usize..80, d in 1usize..200) {
        for launch in launches() {
            check_binary::<f32>(launch, rows, d);
        }
    }
}

/// `op` of every 16-bit number: rounded from f32 once, so within half a unit of the type and what f32 loses.
fn check_every<S: Element>(tier: Tier, of_bits: fn(u16) -> S) {
    let xs: Vec<S> = (0..=u16::MAX).map(of_bits).collect();
    for op in OPS {
        let mut ys = vec![S::from_f32(9.0); xs.len()];
        unary(Launch::single(tier), op, S::view(&xs), S::view_mut(&mut ys));
        let want: Vec<f64> = exact(&xs).into_iter().map(|x| exactly(op, x)).collect();
        // 200 ulp of f32, which is what the far tail of the tanh form of gelu may lose; 2^-13.4 for bf16.
        let relative = if S::TYPE == ElementType::Bf16 { 9.3e-5 } else { 2.4e-5 };
        assert_close(&ys, &want, relative, 0.0, &(tier, op));
    }
}

#[test]
fn functions_of_every_16_bit_number() {
    for tier in Tier::available() {
        check_every::<bf16>(tier, bf16::from_bits);
        check_every::<f16>(tier, f16::from_bits);
    }
}

/// Results too large for the caches are stored past them, from the first cache line on: they are what parts of them are
/// that are not.
fn check_streamed<S: Element>(launch: Launch, offset: usize) {
    let (len, part) = ((34 << 20) / size_of::<S>() + 77, 1 << 19);
    let period = random::<S>(1009, 3);
    let x: Vec<S> = (0..offset + len).map(|i| period[i % period.len()]).collect();
    let (x, up) = (&x[offset..], &x[..len]);
    let [mut whole, mut parts] = [0, 1].map(|_| vec![S::from_f32(9.0); offset + len + 3]);
    let mut both = |what: &str, run: &dyn Fn(core::ops::Range<usize>, &mut [S])| {
        run(0..len, &mut whole[offset..offset + len]);
        for at in (0..len).step_by(part) {
            let end = (at + part).min(len);
            run(at..end, &mut parts[offset + at..offset + end]);
        }
        assert!(whole == parts, "{launch:?} {what} from {offset}");
    };
    both("silu", &|r, y| unary(launch, UnaryOp::Silu, S::view(&x[r]), S::view_mut(y)));
    both("product", &|r, y| silu_mul(launch, S::view(&x[r.clone()]), S::view(&up[r]), S::view_mut(y)));
    both("sum", &|r, y| {
        binary(launch, BinaryOp::Add, S::view(&x[r.clone()]), Operand::Same(S::view(&up[r])), S::view_mut(y));
    });
    both("scalar", &|r, y| binary(launch, BinaryOp::Mul, S::view(&x[r]), Operand::Scalar(0.3), S::view_mut(y)));
}

#[test]
fn large_results_are_stored_non_temporally() {
    for launch in launches() {
        check_streamed::<f32>(launch, 0);
        check_streamed::<f32>(launch, 5);
        check_streamed::<bf16>(launch, 3);
        check_streamed::<f16>(launch, 1);
    }
}
