//! The switch of software prefetching, for every algorithm of a product: kernels say when they prefetch, and do so only
//! where the plan has a distance.
//!
//! Counts are of the whole process: this is the only test of its binary.

use half::bf16;
use kiln_kernels::gemm::{
    Epilogue, Matrix, OutMatrix, PackedMatrix, Plan, Product, RightMatrix, Variant, gemm, gemm_grouped, gemm_packed,
};
use kiln_kernels::probe::{Probe, count};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut, KernelConfig, Launch};

/// Rows, columns and depth.
type Shape = [usize; 3];

/// B of a product.
#[derive(Debug, Clone, Copy)]
enum Right {
    /// `[k, n]` with contiguous rows.
    Rows,
    /// `[k, n]` with contiguous columns.
    Columns,
    Packed,
    Gated,
}

/// How often kernels said that they prefetch, and the product, for operands of ones and small numbers.
fn run<S: Copy>(
    plan: &Plan,
    [m, n, k]: Shape,
    right: Right,
    floats: fn(&[S]) -> Floats<'_>,
    number: fn(f32) -> S,
) -> (u64, Vec<f32>) {
    let numbers = |len: usize| -> Vec<S> { (0..len).map(|i| number((i % 7) as f32 - 3.0)).collect() };
    let (a, b, mut c) = (numbers(m * k), numbers(n * k), vec![0.0; m * n]);
    let left = Matrix::row_major(floats(&a), m, k).unwrap();
    let packed = PackedMatrix::pack(plan.launch, floats(&b), [n, k]).unwrap();
    let mut out = OutMatrix::row_major(FloatsMut::F32(&mut c), m, n).unwrap();
    let (epilogue, before) = (Epilogue::default(), count(Probe::Prefetch));
    match right {
        Right::Rows => gemm(plan, &left, &Matrix::row_major(floats(&b), k, n).unwrap(), &mut out, &epilogue),
        Right::Columns => {
            let b = Matrix::row_major(floats(&b), n, k).unwrap().transposed();
            gemm(plan, &left, &b, &mut out, &epilogue)
        }
        Right::Packed => gemm_packed(plan, &left, &packed, &mut out, &epilogue),
        Right::Gated => {
            let right = RightMatrix::Gated([&packed; 2]);
            gemm_grouped(plan, &left, None, &mut [Product { right, out, epilogue }])
        }
    }
    .unwrap();
    (count(Probe::Prefetch) - before, c)
}

/// Every algorithm, by the name of its loop. (One that does not take an element type is replaced by the choice for the
/// shape.)
const ROUTES: [(&str, Option<Variant>, Shape, Right); 8] = [
    ("blocked", Some(Variant::Blocked), [40, 70, 300], Right::Rows),
    ("blocked, panels", Some(Variant::Blocked), [40, 70, 300], Right::Packed),
    ("blocked, gated", Some(Variant::Blocked), [40, 70, 300], Right::Gated),
    ("unpacked", Some(Variant::Unpacked), [24, 48, 40], Right::Rows),
    ("packed gemv", None, [3, 70, 300], Right::Packed),
    ("dots", Some(Variant::Dot), [2, 70, 300], Right::Columns),
    ("broadcast", Some(Variant::Dot), [16, 70, 304], Right::Columns),
    ("axpy", Some(Variant::Axpy), [3, 70, 300], Right::Rows),
];

#[test]
fn a_distance_of_zero_prefetches_nothing() {
    for tier in Tier::available() {
        let launch = Launch::single(tier);
        for (route, variant, shape, right) in ROUTES {
            let on = Plan { variant, ..launch.into() };
            let off = Plan { launch: Launch { prefetch: 0, ..launch }, ..on };
            let f32s = [on, off].map(|plan| run(&plan, shape, right, |x| Floats::F32(x), |x| x));
            // Few enough bits that every sum is exact, whatever multiplies.
            let bf16s = [on, off].map(|plan| run(&plan, shape, right, |x| Floats::Bf16(x), bf16::from_f32));
            for (dtype, [(some, with), (none, without)]) in [("f32", f32s), ("bf16", bf16s)] {
                assert!(some > 0, "{route}, {dtype}, {tier}: no kernel prefetches");
                assert_eq!(none, 0, "{route}, {dtype}, {tier}: a kernel prefetches with the switch off");
                assert!(with == without, "{route}, {dtype}, {tier}: prefetching changes the product");
            }
        }
    }
    let mut config = KernelConfig::default();
    assert!(Plan::from(&config).launch.prefetch > 0);
    config.prefetch.enabled = false;
    assert_eq!(Plan::from(&config).launch.prefetch, 0);
}
