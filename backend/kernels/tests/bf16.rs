//! Products of two bf16 matrices by instructions for pairs of bf16, against sums in f64.
//!
//! Where the CPU has no AMX, a handler executes its instructions (amx/), so that the tile kernels run wherever AVX-512
//! BF16 does.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod amx;
mod oracle;

use half::bf16;
use kiln_kernels::gemm::{
    Batch, Blocking, Epilogue, Matrix, Offsets, OutMatrix, PackedMatrix, Plan, Product, RightMatrix, Variant, gemm,
    gemm_batched, gemm_grouped, gemm_packed,
};
use kiln_kernels::math::Activation;
use kiln_kernels::norm::{NormRows, RmsNorm, RowNorm};
use kiln_kernels::probe::{Probe, count};
use kiln_kernels::simd::{Tier, testing};
use kiln_kernels::{Floats, FloatsMut, Launch};
use oracle::{Case, Dtype, Values};
use proptest::prelude::*;

/// The tiers that multiply bf16, those of a CPU without AMX by emulation.
fn tiers() -> Vec<Tier> {
    if Tier::Avx512Bf16.is_available() && !Tier::Amx.is_available() {
        amx::install();
        testing::assume_amx();
    }
    [Tier::Avx512Bf16, Tier::Amx].into_iter().filter(|tier| tier.is_available()).collect()
}

/// Each of them on one thread and on two.
fn launches() -> Vec<Launch> {
    tiers().into_iter().flat_map(|tier| [1, 2].map(|threads| Launch { threads, ..Launch::single(tier) })).collect()
}

/// Small blocks, so that small products have edges of all of them. The depth of a block is twice `kc`.
fn small_blocks(launch: Launch) -> Plan {
    Plan { blocking: Blocking { mc: 32, kc: 16, nc: 64 }, variant: Some(Variant::Blocked), ..launch.into() }
}

/// A product of two bf16 matrices with an f32 output.
fn halves(m: usize, n: usize, k: usize) -> Case {
    Case { a: Dtype::Bf16, b: Dtype::Bf16, ..Case::new(m, n, k) }
}

/// How often the kernels of `tier` ran.
fn runs(tier: Tier) -> u64 {
    count(if tier == Tier::Amx { Probe::Bf16Tiles } else { Probe::Bf16Dots })
}

#[test]
fn sizes_around_every_edge() {
    for launch in launches() {
        let before = runs(launch.tier);
        for m in [1, 2, 13, 14, 15, 16, 17, 31, 33, 47] {
            for n in [1, 15, 16, 17, 32, 33, 65] {
                for k in [0, 1, 2, 31, 32, 33, 37, 70] {
                    halves(m, n, k).check(&small_blocks(launch));
                    halves(m, n, k).check_packed(&small_blocks(launch));
                }
            }
        }
        assert!(runs(launch.tier) >= before + 2 * 10 * 7 * 8, "{} multiplied by other instructions", launch.tier);
    }
}

/// Every height of a tile of AMX and what follows from it, with one block of the depth and with several.
#[test]
fn tiles_of_every_height() {
    for launch in launches() {
        for m in [32, 48, 49, 63, 64, 65, 80, 95, 96, 97, 112, 130] {
            for (n, k) in [(32, 64), (45, 70), (100, 33)] {
                for blocking in [Blocking { mc: 96, kc: 16, nc: 64 }, Blocking { mc: 128, kc: 64, nc: 64 }] {
                    let plan = Plan { blocking, variant: Some(Variant::Blocked), ..launch.into() };
                    for out in [Dtype::F32, Dtype::Bf16] {
                        for (bias, accumulate) in [(false, false), (true, false), (false, true)] {
                            Case { out, bias, accumulate, ..halves(m, n, k) }.check_packed(&plan);
                        }
                    }
                    halves(m, n, k).check(&plan);
                }
            }
        }
    }
}

#[test]
fn few_rows() {
    for launch in launches() {
        for m in 1..=17 {
            for (n, k) in [(1, 1), (16, 64), (17, 63), (50, 129), (33, 40), (100, 257)] {
                for b_transposed in [false, true] {
                    let case = Case { b_transposed, ..halves(m, n, k) };
                    case.check(&launch.into());
                    case.check_packed(&launch.into());
                }
            }
        }
    }
}

#[test]
fn transposes_and_strides() {
    for launch in launches() {
        for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false), (true, true)] {
            for step in [1, 2, -1] {
                for (m, n, k) in [(30, 41, 29), (3, 35, 29), (1, 20, 300), (70, 1, 33)] {
                    let case = Case { a_transposed, b_transposed, step, ..halves(m, n, k) };
                    case.check(&small_blocks(launch));
                    case.check(&launch.into());
                    case.check_packed(&launch.into());
                }
            }
        }
    }
}

#[test]
fn epilogues_and_outputs() {
    for launch in launches() {
        for (bias, residual, accumulate) in [(true, false, false), (true, true, false), (true, false, true)] {
            for out in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
                for activation in [None, Some(Activation::Silu)] {
                    for (m, n, k) in [(20, 45, 40), (4, 45, 40), (64, 64, 64)] {
                        let case = Case { bias, residual, accumulate, out, activation, ..halves(m, n, k) };
                        case.check(&small_blocks(launch));
                        case.check(&launch.into());
                        case.check_packed(&small_blocks(launch));
                        case.check_packed(&launch.into());
                    }
                }
            }
        }
    }
}

#[test]
fn large_products_split_over_threads() {
    for launch in launches() {
        for (m, n, k) in [(130, 300, 129), (8, 700, 600), (1, 1500, 900)] {
            for b_transposed in [false, true] {
                let case = Case { b_transposed, ..halves(m, n, k) };
                case.check(&launch.into());
                case.check_packed(&launch.into());
            }
        }
    }
}

#[test]
fn empty_products() {
    for launch in launches() {
        for (m, n, k) in [(0, 5, 3), (5, 0, 3), (0, 0, 0), (3, 4, 0), (40, 40, 0), (1, 1, 0)] {
            Case { bias: true, residual: true, ..halves(m, n, k) }.check(&launch.into());
            Case { bias: true, residual: true, ..halves(m, n, k) }.check_packed(&launch.into());
        }
    }
}

/// NaN and infinities reach exactly the elements that the definition says: not those of the neighbouring panel, either.
#[test]
fn special_values_propagate() {
    for launch in launches() {
        for plan in [small_blocks(launch), launch.into()] {
            for (m, n, k) in [(31, 45, 25), (3, 45, 25), (1, 30, 40), (20, 20, 20), (40, 48, 33)] {
                for b_transposed in [false, true] {
                    let mut case = Case { b_transposed, ..halves(m, n, k) }.values();
                    case.a[(m - 1) * k + k - 1] = f32::NAN;
                    case.a[k / 2] = f32::INFINITY;
                    case.b[(k - 1) * n + n - 1] = f32::NEG_INFINITY;
                    case.b[17 % n] = f32::NAN;
                    for j in 0..n / 2 {
                        case.b[k / 2 * n + j] = 0.0;
                    }
                    case.check(&plan);
                    case.check_packed(&plan);
                }
            }
        }
    }
}

/// Subnormal elements count as zero, and the smallest normal ones do not.
#[test]
fn subnormals_count_as_zero() {
    let (m, n, k) = (20, 20, 4);
    for tier in tiers() {
        for (tiny, want) in [(bf16::from_bits(1), 0.0), (bf16::MIN_POSITIVE, 4.0 * bf16::MIN_POSITIVE.to_f32())] {
            let (a, b) = (vec![tiny; m * k], vec![bf16::ONE; n * k]);
            let mut out = vec![1.0f32; m * n];
            let a = Matrix::row_major(Floats::Bf16(&a), m, k).unwrap();
            let weight = PackedMatrix::pack(Launch::single(tier), Floats::Bf16(&b), [n, k]).unwrap();
            let mut view = OutMatrix::row_major(FloatsMut::F32(&mut out), m, n).unwrap();
            gemm_packed(&Launch::single(tier).into(), &a, &weight, &mut view, &Epilogue::default()).unwrap();
            assert!(out.iter().all(|&x| x == want), "{tier}: {} for {want}", out[0]);
        }
    }
}

#[test]
fn batches() {
    let (n, k, count) = (35, 41, 5);
    let round = |x: Vec<f32>| x.into_iter().map(bf16::from_f32).collect::<Vec<_>>();
    for launch in launches() {
        for (m, plan) in [(19, small_blocks(launch)), (19, launch.into()), (2, launch.into())] {
            let (a, b) = (round(Values::random(1, count * m * k)), round(Values::random(2, n * k)));
            let mut out = vec![0.0; m * count * n];
            let offsets: Vec<_> = (0..count).map(|i| Offsets { a: i * m * k, b: 0, out: i * n }).collect();
            let batch = Batch {
                a: Matrix::row_major(Floats::Bf16(&a), m, k).unwrap(),
                b: Matrix::row_major(Floats::Bf16(&b), n, k).unwrap().transposed(),
                offsets: &offsets,
            };
            let mut view = OutMatrix::new(FloatsMut::F32(&mut out), 0, [m, n], count * n).unwrap();
            gemm_batched(&plan, &batch, &mut view, &Epilogue::default()).unwrap();
            for (at, &got) in out.iter().enumerate() {
                let (r, i, c) = (at / (count * n), at / n % count, at % n);
                let terms = (0..k).map(|p| f64::from(a[(i * m + r) * k + p]) * f64::from(b[c * k + p]));
                let (want, size) = terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                let allowed = size * (k as f64) * f64::from(f32::EPSILON);
                assert!((f64::from(got) - want).abs() <= allowed, "{got} {want}: {plan:?}");
            }
        }
    }
}

/// Every element is summed in the same order, however the output is divided.
#[test]
fn threads_change_no_bit() {
    for tier in tiers() {
        for (m, n, k) in [(150, 170, 500), (3, 900, 700)] {
            let round = |x: Vec<f32>| x.into_iter().map(bf16::from_f32).collect::<Vec<_>>();
            let (a, b) = (round(Values::random(5, m * k)), round(Values::random(6, k * n)));
            let a = Matrix::row_major(Floats::Bf16(&a), m, k).unwrap();
            let b = Matrix::row_major(Floats::Bf16(&b), n, k).unwrap().transposed();
            let product = |threads| {
                let mut out = vec![0.0; m * n];
                let mut view = OutMatrix::row_major(FloatsMut::F32(&mut out), m, n).unwrap();
                gemm(&Launch { threads, ..Launch::single(tier) }.into(), &a, &b, &mut view, &Epilogue::default())
                    .unwrap();
                out
            };
            let one = product(1);
            assert!([2, 3].into_iter().all(|threads| product(threads) == one), "{tier}");
        }
    }
}

/// Weights of bf16 leave f32 activations as they are unless the plan allows it: nothing is rounded.
#[test]
fn f32_activations_are_not_rounded() {
    for launch in launches() {
        for m in [1, 5, 20] {
            let case = Case { b: Dtype::Bf16, ..Case::new(m, 40, 70) };
            case.check_packed(&launch.into());
            case.check_packed(&small_blocks(launch));
            Case { b_transposed: true, ..case }.check(&launch.into());
        }
    }
}

/// Where a plan allows it, rows of f32 that hold bf16 give what rows of bf16 give, by the same instructions, from five
/// rows on.
#[test]
fn f32_activations_that_may_be_rounded_reach_the_instructions() {
    for launch in launches() {
        for m in [5, 16, 20, 65] {
            for (n, k) in [(40, 70), (33, 31), (16, 1)] {
                let mut case = Case { b: Dtype::Bf16, ..Case::new(m, n, k) }.values();
                case.a.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32());
                for plan in [small_blocks(launch), launch.into()] {
                    let before = count(Probe::Bf16Tiles) + count(Probe::Bf16Dots);
                    case.check_packed(&Plan { bf16_activations: true, ..plan });
                    assert!(count(Probe::Bf16Tiles) + count(Probe::Bf16Dots) > before, "{m} x {n} x {k}: {plan:?}");
                }
            }
        }
    }
}

/// Where a plan allows it, both operands of f32 that hold bf16 give what bf16 gives, by the same instructions, from
/// whichever of rows and columns is contiguous: what a linear layer's forward and both products of its backward read.
#[test]
fn f32_operands_that_may_both_be_rounded_reach_the_instructions() {
    for launch in launches() {
        for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false), (true, true)] {
            for (m, n, k) in [(20, 40, 70), (33, 65, 31), (17, 47, 1), (70, 34, 64)] {
                for (a, b) in [(Dtype::F32, Dtype::F32), (Dtype::Bf16, Dtype::F32), (Dtype::F32, Dtype::Bf16)] {
                    for accumulate in [false, true] {
                        let case = Case { a, b, a_transposed, b_transposed, accumulate, ..Case::new(m, n, k) };
                        let mut case = case.values();
                        case.a.iter_mut().chain(&mut case.b).for_each(|x| *x = bf16::from_f32(*x).to_f32());
                        let before = runs(launch.tier);
                        case.check(&Plan { bf16_activations: true, bf16_products: true, ..small_blocks(launch) });
                        assert!(runs(launch.tier) > before, "{m} x {n} x {k}, {:?}", case.case);
                    }
                }
            }
        }
    }
}

/// f32 operands stay f32 unless the plan allows both to be rounded, and where neither rows nor columns are contiguous.
#[test]
fn f32_operands_are_not_rounded_unasked() {
    for launch in launches() {
        for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false)] {
            let case = Case { a_transposed, b_transposed, ..Case::new(20, 40, 70) };
            case.check(&Plan { bf16_activations: true, ..small_blocks(launch) });
            let strided = Case { step: 2, ..case };
            strided.check(&Plan { bf16_activations: true, bf16_products: true, ..small_blocks(launch) });
        }
    }
}

/// A gated product of normalised rows: each tier that multiplies bf16 against AVX-512 with the rows rounded before.
#[test]
fn gated_products_of_normalised_rows() {
    let (n, k) = (45, 70);
    let weights = [1, 2].map(|seed| {
        let rows: Vec<_> = Values::random(seed, n * k).into_iter().map(bf16::from_f32).collect();
        PackedMatrix::pack(Launch::default(), Floats::Bf16(&rows), [n, k]).unwrap()
    });
    let gamma = Values::random(3, k);
    let norm = RowNorm::Rms(RmsNorm { gamma: Floats::F32(&gamma), epsilon: 1e-6 });
    for launch in launches() {
        for m in [5, 16, 17, 70] {
            let a = Values::random(4, m * k);
            let run = |plan: Plan, a: &[f32], norm: Option<&RowNorm<'_>>| {
                let mut out = vec![0.0f32; m * n];
                let product = Product {
                    right: RightMatrix::Gated([&weights[0], &weights[1]]),
                    out: OutMatrix::row_major(FloatsMut::F32(&mut out), m, n).unwrap(),
                    epilogue: Epilogue::default(),
                };
                let a = Matrix::row_major(Floats::F32(a), m, k).unwrap();
                gemm_grouped(&plan, &a, norm, &mut [product]).unwrap();
                out
            };
            let mut rounded = vec![0.0; m * k];
            norm.normalize(launch, NormRows::contiguous(Floats::F32(&a), k), FloatsMut::F32(&mut rounded));
            rounded.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32());
            let want = run(Launch::single(Tier::Avx512).into(), &rounded, None);
            for plan in [small_blocks(launch), launch.into()] {
                let got = run(Plan { bf16_activations: true, ..plan }, &a, Some(&norm));
                for (got, want) in got.iter().zip(&want) {
                    assert!((got - want).abs() <= 1e-4 * want.abs().max(1.0), "{got} for {want}: {m} rows, {plan:?}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_products(
        (m, n, k) in (1usize..70, 1usize..70, 0usize..130),
        (mc, kc, nc) in (1usize..40, 1usize..40, 1usize..80),
        (a_transposed, b_transposed, bias, accumulate) in any::<(bool, bool, bool, bool)>(),
        out in 0usize..3,
        step in prop_oneof![Just(1isize), Just(2), Just(-1), Just(-3)],
        (blocked, threads, seed) in (any::<bool>(), 1usize..4, any::<u64>()),
    ) {
        let out = [Dtype::F32, Dtype::Bf16, Dtype::F16][out];
        let case = Case { a_transposed, b_transposed, bias, accumulate, step, seed, out, ..halves(m, n, k) };
        for tier in tiers() {
            let variant = blocked.then_some(Variant::Blocked);
            let launch = Launch { threads, ..Launch::single(tier) };
            let plan = Plan { blocking: Blocking { mc, kc, nc }, variant, ..launch.into() };
            case.check(&plan);
            case.check_packed(&plan);
        }
    }
}
