//! What plans choose reaches the kernels, changes no result beyond rounding, and does not follow from threads.

use kiln_kernels::config::{IsaChoice, PlanningConfig, SimdConfig};
use kiln_kernels::gemm::{Epilogue, Layout, Matrix, OutMatrix, PackedMatrix, Plan, ProductShape, gemm, gemm_packed};
use kiln_kernels::planning::{explain_product, plan_product};
use kiln_kernels::simd::Tier;
use kiln_kernels::{ElementType, Floats, FloatsMut, KernelConfig, Launch};

/// Shapes of every kind that the model of a product's time chooses for: few rows of a packed weight, few rows against
/// contiguous rows, few columns, small, deep.
const SHAPES: [([usize; 3], Layout); 7] = [
    ([16, 512, 512], Layout::Packed),
    ([14, 100, 500], Layout::Rows),
    ([500, 16, 1024], Layout::Rows),
    ([300, 7, 1500], Layout::Columns),
    ([128, 128, 256], Layout::Rows),
    ([40, 300, 2000], Layout::Packed),
    ([64, 48, 256], Layout::Strided),
];

fn shape([m, n, k]: [usize; 3], layout: Layout) -> ProductShape {
    ProductShape { m, n, k, a: ElementType::F32, b: ElementType::F32, layout }
}

/// `isa`, with plans or without.
fn config(isa: IsaChoice, enabled: bool) -> KernelConfig {
    let simd = SimdConfig { isa, ..SimdConfig::default() };
    KernelConfig { simd, planning: PlanningConfig { enabled, ..Default::default() }, ..Default::default() }
}

/// The product of small numbers by `plan`.
fn run(plan: &Plan, [m, n, k]: [usize; 3], layout: Layout) -> Vec<f32> {
    let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 7 % 23) as f32 * 0.1 - 1.1).collect() };
    let (a, mut c) = (numbers(m * k), vec![0.0; m * n]);
    let a = Matrix::row_major(Floats::F32(&a), m, k).unwrap();
    let mut out = OutMatrix::row_major(FloatsMut::F32(&mut c), m, n).unwrap();
    let b = numbers(2 * n * k);
    let strides = match layout {
        Layout::Packed => {
            let b = PackedMatrix::pack(Launch::default(), Floats::F32(&b[..n * k]), [n, k]).unwrap();
            gemm_packed(plan, &a, &b, &mut out, &Epilogue::default()).unwrap();
            return c;
        }
        Layout::Columns => [1, k as isize],
        Layout::Rows => [n as isize, 1],
        Layout::Strided => [2 * n as isize, 2],
    };
    let b = Matrix::new(Floats::F32(&b), 0, [k, n], strides).unwrap();
    gemm(plan, &a, &b, &mut out, &Epilogue::default()).unwrap();
    c
}

#[test]
fn plans_change_nothing_but_rounding() {
    for isa in [IsaChoice::Portable, IsaChoice::Avx2, IsaChoice::Auto] {
        for (sizes, layout) in SHAPES {
            let [with, without] = [true, false]
                .map(|enabled| run(&plan_product(shape(sizes, layout), &config(isa, enabled)), sizes, layout));
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * (1.0 + sizes[2] as f32);
            assert!(with.iter().zip(&without).all(close), "{isa:?} {sizes:?} {layout:?}");
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    for isa in [IsaChoice::Portable, IsaChoice::Avx2, IsaChoice::Auto] {
        let config = KernelConfig { deterministic: true, ..config(isa, true) };
        for (sizes, layout) in SHAPES {
            let bits = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let run = || run(&plan_product(shape(sizes, layout), &config), sizes, layout);
                pool.install(run).into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let one = bits(1);
            assert!([2, 3, 7].into_iter().all(|threads| bits(threads) == one), "{isa:?} {sizes:?} {layout:?}");
        }
    }
}

/// On the tier that the model was measured on, the switch of planning is seen in the plan of each kind of shape.
#[test]
fn the_switch_changes_the_choice() {
    if !Tier::available().contains(&Tier::Avx2) {
        return;
    }
    let choice = |sizes, layout, enabled| {
        explain_product(shape(sizes, layout), &config(IsaChoice::Avx2, enabled)).unwrap().choice
    };
    for (sizes, layout) in &SHAPES[..2] {
        let [on, off] = [true, false].map(|enabled| choice(*sizes, *layout, enabled));
        assert_ne!(on.variant, off.variant, "{sizes:?} {layout:?}");
    }
    let [on, off] = [true, false].map(|enabled| choice([512, 2048, 2048], Layout::Packed, enabled));
    assert!(on.variant == off.variant && on.blocking.kc > off.blocking.kc, "{on}, {off}");
    // What is planned is what is explained.
    let plan = plan_product(shape(SHAPES[0].0, SHAPES[0].1), &config(IsaChoice::Avx2, true));
    assert_eq!(plan.variant, Some(choice(SHAPES[0].0, SHAPES[0].1, true).variant));
}
