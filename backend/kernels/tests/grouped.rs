//! Grouped products of one A, gated products, norms that are applied while A is packed, and A that is rounded then:
//! against sums in f64 and against the separate kernels, on every instruction set that this CPU has.

use half::{bf16, f16};
use kiln_kernels::gemm::{
    Blocking, Epilogue, GemmError, Matrix, OutMatrix, PackedMatrix, Plan, Product, Residual, RightMatrix, Variant,
    gemm_grouped, gemm_packed,
};
use kiln_kernels::norm::{LayerNorm, NormRows, RmsNorm, RowNorm};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut, Launch};
use rand::{Rng, SeedableRng, rngs::StdRng};

fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..len).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Every tier on one thread and on two, with blocks for this machine and with small ones.
fn plans() -> Vec<Plan> {
    let launches =
        Tier::available().into_iter().flat_map(|tier| [1, 2].map(|threads| Launch { threads, ..Launch::single(tier) }));
    launches
        .flat_map(|launch| {
            let small = Blocking { mc: 16, kc: 12, nc: 40 };
            [Plan::from(launch), Plan { blocking: small, variant: Some(Variant::Blocked), ..launch.into() }]
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Dtype {
    F32,
    Bf16,
    F16,
}

/// A weight `[n, k]` with its numbers after rounding.
struct Weight {
    numbers: Vec<f32>,
    packed: PackedMatrix,
}

impl Weight {
    fn new(seed: u64, dtype: Dtype, [n, k]: [usize; 2]) -> Self {
        let numbers = random(seed, n * k);
        let launch = Launch::default();
        match dtype {
            Dtype::F32 => Self { packed: PackedMatrix::pack(launch, Floats::F32(&numbers), [n, k]).unwrap(), numbers },
            Dtype::Bf16 => {
                let halves: Vec<bf16> = numbers.iter().map(|&x| bf16::from_f32(x)).collect();
                let packed = PackedMatrix::pack(launch, Floats::Bf16(&halves), [n, k]).unwrap();
                Self { packed, numbers: halves.iter().map(|x| x.to_f32()).collect() }
            }
            Dtype::F16 => {
                let halves: Vec<f16> = numbers.iter().map(|&x| f16::from_f32(x)).collect();
                let packed = PackedMatrix::pack(launch, Floats::F16(&halves), [n, k]).unwrap();
                Self { packed, numbers: halves.iter().map(|x| x.to_f32()).collect() }
            }
        }
    }

    /// `Σ a·w` for an output and `Σ |a·w|`.
    fn sum(&self, a: &[f32], j: usize) -> (f64, f64) {
        let row = &self.numbers[j * a.len()..][..a.len()];
        let terms = a.iter().zip(row).map(|(&a, &w)| f64::from(a) * f64::from(w));
        terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()))
    }
}

/// Half a unit in the last place of 1.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// `got` against a sum of `k` products, with `rounding` a term besides.
fn assert_sum(got: f32, (want, size): (f64, f64), k: usize, rounding: f64, what: &str) {
    let allowed = size * (UNIT * (2 * k + 4) as f64 + rounding);
    let same = (want.is_nan() && got.is_nan()) || f64::from(got) == want;
    assert!(same || (f64::from(got) - want).abs() <= allowed, "{what}: {got} for {want}, {allowed:e} is allowed");
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `got` against `silu(gate)·up`: the slope of silu is at most 1.1, its own error some units.
fn assert_gated(got: f32, gate: (f64, f64), up: (f64, f64), k: usize, rounding: f64, what: &str) {
    let error = UNIT * (2 * k + 4) as f64 + rounding;
    let silu = gate.0 * sigmoid(gate.0);
    let want = silu * up.0;
    let (gate_error, up_error) = (1.1 * gate.1 * error + 8.0 * UNIT * silu.abs(), up.1 * error);
    let allowed = gate_error * up.0.abs() + up_error * silu.abs() + gate_error * up_error + 4.0 * UNIT * want.abs();
    let same = want.is_nan() && got.is_nan();
    assert!(same || (f64::from(got) - want).abs() <= allowed, "{what}: {got} for {want}, {allowed:e} is allowed");
}

/// The norms, by name.
fn norms<'a>(gamma: &'a [f32], beta: &'a [f32]) -> [Option<RowNorm<'a>>; 4] {
    let (gamma, beta) = (Floats::F32(gamma), Floats::F32(beta));
    [
        None,
        Some(RowNorm::Rms(RmsNorm { gamma, epsilon: 1e-6 })),
        Some(RowNorm::Layer(LayerNorm { gamma, beta: Some(beta), epsilon: 1e-6 })),
        Some(RowNorm::Layer(LayerNorm { gamma, beta: None, epsilon: 1e-6 })),
    ]
}

/// The rows `[m, k]` (pitch `k + 3`) after the separate norm.
fn normalize(norm: Option<&RowNorm<'_>>, a: &[f32], [m, k]: [usize; 2], launch: Launch) -> Vec<f32> {
    let pitch = k + 3;
    let mut out: Vec<f32> = (0..m).flat_map(|i| a[i * pitch..][..k].iter().copied()).collect();
    if let Some(norm) = norm {
        let rows = NormRows { data: Floats::F32(a), rows: m, stride: pitch };
        norm.normalize(launch, rows, FloatsMut::F32(&mut out));
    }
    out
}

const ROWS: [usize; 7] = [0, 1, 2, 5, 16, 17, 100];

/// Queries, keys and values: three weights of any widths, with and without a bias.
#[test]
fn grouped_products_are_the_single_ones() {
    for plan in plans() {
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            for k in [1, 37, 130] {
                let widths = [33, 16, 7];
                let weights = [1, 2, 3].map(|i| Weight::new(i, dtype, [widths[i as usize - 1], k]));
                let bias = random(9, 33);
                let (gamma, beta) = (random(11, k), random(12, k));
                for m in ROWS {
                    let a = random(4, m * (k + 3) + 3);
                    let view = Matrix::new(Floats::F32(&a), 0, [m, k], [k as isize + 3, 1]).unwrap();
                    for norm in norms(&gamma, &beta) {
                        let mut outs = widths.map(|n| vec![f32::NAN; m * n]);
                        let mut products: Vec<_> = outs
                            .iter_mut()
                            .zip(&weights)
                            .enumerate()
                            .map(|(i, (out, weight))| Product {
                                right: RightMatrix::Packed(&weight.packed),
                                out: OutMatrix::row_major(FloatsMut::F32(out), m, widths[i]).unwrap(),
                                epilogue: Epilogue::bias((i == 0).then_some(Floats::F32(&bias))),
                            })
                            .collect();
                        gemm_grouped(&plan, &view, norm.as_ref(), &mut products).unwrap();

                        let normed = normalize(norm.as_ref(), &a, [m, k], plan.launch);
                        let normed_view = Matrix::row_major(Floats::F32(&normed), m, k).unwrap();
                        for (i, (out, weight)) in outs.iter().zip(&weights).enumerate() {
                            let n = widths[i];
                            let mut single = vec![0.0; m * n];
                            let mut to = OutMatrix::row_major(FloatsMut::F32(&mut single), m, n).unwrap();
                            let epilogue = Epilogue::bias((i == 0).then_some(Floats::F32(&bias)));
                            gemm_packed(&plan, &normed_view, &weight.packed, &mut to, &epilogue).unwrap();
                            assert_eq!(out, &single, "{m} x {n} x {k}, {dtype:?}, {norm:?}, {plan:?}");
                            for (at, &got) in out.iter().enumerate().step_by(5) {
                                let (r, c) = (at / n, at % n);
                                let (mut want, mut size) = weight.sum(&normed[r * k..][..k], c);
                                if i == 0 {
                                    (want, size) = (want + f64::from(bias[c]), size + f64::from(bias[c].abs()));
                                }
                                assert_sum(
                                    got,
                                    (want, size),
                                    k,
                                    0.0,
                                    &format!("({r}, {c}) of {m} x {n} x {k}, {plan:?}"),
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn gated_products() {
    for plan in plans() {
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
            for (n, k) in [(1, 1), (16, 12), (33, 37), (70, 130), (20, 0)] {
                let (gate, up) = (Weight::new(1, dtype, [n, k]), Weight::new(2, dtype, [n, k]));
                let (gamma, beta) = (random(11, k), random(12, k));
                for m in ROWS {
                    let a = random(4, m * (k + 3) + 3);
                    let view = Matrix::new(Floats::F32(&a), 0, [m, k], [k as isize + 3, 1]).unwrap();
                    let residual = random(6, m * n);
                    for norm in norms(&gamma, &beta).into_iter().take(if k == 0 { 1 } else { 3 }) {
                        let mut out = vec![f32::NAN; m * n];
                        let product = Product {
                            right: RightMatrix::Gated([&gate.packed, &up.packed]),
                            out: OutMatrix::row_major(FloatsMut::F32(&mut out), m, n).unwrap(),
                            epilogue: Epilogue::default(),
                        };
                        gemm_grouped(&plan, &view, norm.as_ref(), &mut [product]).unwrap();
                        let normed = normalize(norm.as_ref(), &a, [m, k], plan.launch);
                        let what = format!("{m} x {n} x {k}, {dtype:?}, {norm:?}, {plan:?}");
                        for (at, &got) in out.iter().enumerate() {
                            let row = &normed[at / n * k..][..k];
                            assert_gated(got, gate.sum(row, at % n), up.sum(row, at % n), k, 0.0, &what);
                        }
                        // The epilogue comes after the gate.
                        let plain = out.clone();
                        let rows = Matrix::row_major(Floats::F32(&residual), m, n).unwrap();
                        let product = Product {
                            right: RightMatrix::Gated([&gate.packed, &up.packed]),
                            out: OutMatrix::row_major(FloatsMut::F32(&mut out), m, n).unwrap(),
                            epilogue: Epilogue::residual(Residual::Add(rows)),
                        };
                        gemm_grouped(&plan, &view, norm.as_ref(), &mut [product]).unwrap();
                        let sums = plain.iter().zip(&residual).map(|(x, r)| x + r);
                        assert!(out.iter().copied().eq(sums), "residual of {what}");
                    }
                }
            }
        }
    }
}

/// An f32 A that is rounded while it is packed: off by 2⁻⁸ a term, and only where the plan allows it, on tiers that
/// multiply bf16.
#[test]
fn rounded_activations_stay_within_their_bound() {
    for plan in plans() {
        let rounds = Plan { bf16_activations: true, ..plan };
        let multiplies_bf16 = matches!(plan.launch.tier, Tier::Avx512Bf16 | Tier::Amx);
        let shapes = [
            (17, 33, 64),
            (100, 40, 37),
            (30, 16, 1),
            (55, 70, 130),
            (20, 20, 0),
            (5, 33, 64),
            (16, 70, 130),
            (7, 9, 37),
        ];
        for (m, n, k) in shapes {
            let (gate, up) = (Weight::new(1, Dtype::Bf16, [n, k]), Weight::new(2, Dtype::Bf16, [n, k]));
            let (gamma, beta) = (random(11, k), random(12, k));
            let a = random(4, m * (k + 3) + 3);
            let view = Matrix::new(Floats::F32(&a), 0, [m, k], [k as isize + 3, 1]).unwrap();
            for norm in norms(&gamma, &beta).into_iter().take(if k == 0 { 1 } else { 4 }) {
                let (mut out, mut gated) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
                let mut products = [
                    Product {
                        right: RightMatrix::Packed(&gate.packed),
                        out: OutMatrix::row_major(FloatsMut::F32(&mut out), m, n).unwrap(),
                        epilogue: Epilogue::default(),
                    },
                    Product {
                        right: RightMatrix::Gated([&gate.packed, &up.packed]),
                        out: OutMatrix::row_major(FloatsMut::F32(&mut gated), m, n).unwrap(),
                        epilogue: Epilogue::default(),
                    },
                ];
                gemm_grouped(&rounds, &view, norm.as_ref(), &mut products).unwrap();
                let normed = normalize(norm.as_ref(), &a, [m, k], plan.launch);
                let rounding = if multiplies_bf16 { 1.0 / 256.0 } else { 0.0 };
                let what = format!("{m} x {n} x {k}, {norm:?}, {rounds:?}");
                let mut differs = false;
                for at in 0..m * n {
                    let row = &normed[at / n * k..][..k];
                    let sums = [gate.sum(row, at % n), up.sum(row, at % n)];
                    assert_sum(out[at], sums[0], k, rounding, &what);
                    assert_gated(gated[at], sums[0], sums[1], k, rounding, &what);
                    differs |= (f64::from(out[at]) - sums[0].0).abs() > sums[0].1 * UNIT * (2 * k + 4) as f64;
                }
                assert!(differs == (multiplies_bf16 && k > 1) || k == 1, "{what}");
            }
        }
    }
}

/// NaN and infinities reach the row that has them, and no other.
#[test]
fn special_values_stay_in_their_row() {
    for plan in plans() {
        for bf16_activations in [false, true] {
            let plan = Plan { bf16_activations, ..plan };
            for m in [3, 16, 31] {
                let (n, k) = (21, 45);
                let (gate, up) = (Weight::new(1, Dtype::Bf16, [n, k]), Weight::new(2, Dtype::Bf16, [n, k]));
                let (gamma, beta) = (random(11, k), random(12, k));
                let mut a = random(4, m * (k + 3) + 3);
                a[(m - 1) * (k + 3) + k - 1] = f32::NAN;
                a[k + 3] = f32::INFINITY;
                let view = Matrix::new(Floats::F32(&a), 0, [m, k], [k as isize + 3, 1]).unwrap();
                for norm in norms(&gamma, &beta) {
                    let (mut out, mut gated) = (vec![0.0f32; m * n], vec![0.0f32; m * n]);
                    let mut products = [
                        Product {
                            right: RightMatrix::Packed(&gate.packed),
                            out: OutMatrix::row_major(FloatsMut::F32(&mut out), m, n).unwrap(),
                            epilogue: Epilogue::default(),
                        },
                        Product {
                            right: RightMatrix::Gated([&gate.packed, &up.packed]),
                            out: OutMatrix::row_major(FloatsMut::F32(&mut gated), m, n).unwrap(),
                            epilogue: Epilogue::default(),
                        },
                    ];
                    gemm_grouped(&plan, &view, norm.as_ref(), &mut products).unwrap();
                    for (i, (row, gated)) in out.chunks(n).zip(gated.chunks(n)).enumerate() {
                        if i == m - 1 {
                            assert!(row.iter().chain(gated).all(|x| x.is_nan()), "{norm:?} {plan:?}");
                        } else if i == 1 {
                            assert!(row.iter().all(|x| !x.is_finite()), "{norm:?} {plan:?}");
                        } else {
                            assert!(row.iter().chain(gated).all(|x| x.is_finite()), "row {i}: {norm:?} {plan:?}");
                        }
                    }
                }
            }
        }
    }
}

/// However the outputs are divided, every element is summed in the same order.
#[test]
fn threads_change_no_bit() {
    for tier in Tier::available() {
        for (m, n, k) in [(150, 170, 500), (3, 900, 700)] {
            let weights = [1, 2, 3].map(|seed| Weight::new(seed, Dtype::Bf16, [n, k]));
            let (a, gamma) = (random(4, m * k), random(5, k));
            let view = Matrix::row_major(Floats::F32(&a), m, k).unwrap();
            let norm = RowNorm::Rms(RmsNorm { gamma: Floats::F32(&gamma), epsilon: 1e-6 });
            let run = |threads| {
                let plan = Plan { bf16_activations: true, ..Launch { threads, ..Launch::single(tier) }.into() };
                let mut outs = [vec![0.0; m * n], vec![0.0; m * n]];
                let [first, second] = &mut outs;
                let mut products = [
                    Product {
                        right: RightMatrix::Packed(&weights[0].packed),
                        out: OutMatrix::row_major(FloatsMut::F32(first), m, n).unwrap(),
                        epilogue: Epilogue::default(),
                    },
                    Product {
                        right: RightMatrix::Gated([&weights[1].packed, &weights[2].packed]),
                        out: OutMatrix::row_major(FloatsMut::F32(second), m, n).unwrap(),
                        epilogue: Epilogue::default(),
                    },
                ];
                gemm_grouped(&plan, &view, Some(&norm), &mut products).unwrap();
                outs
            };
            let one = run(1);
            assert!([2, 3, 8].into_iter().all(|threads| run(threads) == one), "{tier}");
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_declined() {
    let (w, other) = (Weight::new(1, Dtype::F32, [4, 3]), Weight::new(1, Dtype::Bf16, [4, 3]));
    let (a, gamma) = ([1.0f32; 6], [1.0f32; 4]);
    let mut out = [7.0f32; 8];
    let view = Matrix::row_major(Floats::F32(&a), 2, 3).unwrap();
    let mut run = |a: Matrix<'_>, right, norm: Option<RowNorm<'_>>| {
        let out = OutMatrix::row_major(FloatsMut::F32(&mut out), 2, 4).unwrap();
        let product = Product { right, out, epilogue: Epilogue::default() };
        gemm_grouped(&Plan::default(), &a, norm.as_ref(), &mut [product])
    };
    let rms = |len| Some(RowNorm::Rms(RmsNorm { gamma: Floats::F32(&gamma[..len]), epsilon: 1e-6 }));
    let packed = RightMatrix::Packed(&w.packed);
    assert!(matches!(run(view, packed, rms(4)), Err(GemmError::Shape { what: "elements of the norm", .. })));
    assert!(matches!(run(view, RightMatrix::Gated([&w.packed, &other.packed]), None), Err(GemmError::Type { .. })));
    let columns = Matrix::new(Floats::F32(&a), 0, [2, 3], [1, 2]).unwrap();
    assert!(matches!(run(columns, packed, rms(3)), Err(GemmError::Shape { expected: 1, found: 2, .. })));
    let halves = [bf16::ONE; 6];
    let halves = Matrix::row_major(Floats::Bf16(&halves), 2, 3).unwrap();
    assert!(matches!(run(halves, packed, rms(3)), Err(GemmError::Type { .. })));
    assert!(run(view, RightMatrix::View(view), None).is_err());
    assert_eq!(out, [7.0; 8]);
}
