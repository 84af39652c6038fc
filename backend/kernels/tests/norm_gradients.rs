//! Gradients of norms on every tier of this machine against f64.

mod reference;

use half::{bf16, f16};
use kiln_kernels::norm::{
    LayerNorm, LayerNormed, NormBackward, NormGradInputs, NormRows, NormWeightGrads, layer_norm, layer_norm_forward,
    norm_backward, norm_backward_in_place,
};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, FloatsMut, Launch};
use proptest::prelude::*;
use reference::{Element, assert_close, exact, launches, random};

const EPSILON: f64 = 1e-6;

/// Which norm, and what comes along.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Rms,
    /// Behind a residual addition, whose sum has another gradient.
    AddRms,
    Layer,
}

/// Rows of a norm in f64.
struct Exact {
    x: Vec<f64>,
    grad: Vec<f64>,
    residual: Vec<f64>,
    gamma: Vec<f64>,
    mean: Vec<f64>,
    rstd: Vec<f64>,
}

impl Exact {
    /// dx, dgamma and dbeta, and for each of the sums the sum of its terms' sizes.
    fn differentiate(&self, kind: Kind) -> [Vec<f64>; 4] {
        let d = self.gamma.len();
        let (mut dx, [mut dgamma, mut dbeta, mut size]) = (vec![], [0; 3].map(|_| vec![0.0; d]));
        for (row, (x, grad)) in self.x.chunks(d).zip(self.grad.chunks(d)).enumerate() {
            let n: Vec<f64> = x.iter().map(|x| (x - self.mean[row]) * self.rstd[row]).collect();
            let h: Vec<f64> = grad.iter().zip(&self.gamma).map(|(g, gamma)| g * gamma).collect();
            let along = h.iter().zip(&n).map(|(h, n)| h * n).sum::<f64>() / d as f64;
            let shift = if kind == Kind::Layer { h.iter().sum::<f64>() / d as f64 } else { 0.0 };
            for (i, (g, n)) in grad.iter().zip(&n).enumerate() {
                let added = if kind == Kind::AddRms { self.residual[row * d + i] } else { 0.0 };
                dx.push(self.rstd[row] * (h[i] - shift - n * along) + added);
                dgamma[i] += g * n;
                dbeta[i] += g;
                size[i] += (g * n).abs().max(g.abs());
            }
        }
        [dx, dgamma, dbeta, size]
    }
}

/// Rows of `d` with a gap between them.
fn packed<S: Element>(x: &[S], rows: usize, d: usize, stride: usize) -> Vec<S> {
    (0..rows * d).map(|i| x[i / d * stride + i % d]).collect()
}

/// `x` of `S`, gradients of `G`, gamma of `W`.
fn check<S: Element, G: Element, W: Element>(launch: Launch, kind: Kind, rows: usize, d: usize, gap: usize) {
    let what = (launch, kind, rows, d, gap, S::TYPE, G::TYPE);
    let stride = d + gap;
    let len = if rows == 0 { 0 } else { rows * stride - gap };
    let (x, grad, residual) = (random::<S>(len, 1), random::<G>(len, 2), random::<G>(len, 3));
    let gamma = random::<W>(d, 4);
    let packed_x = packed(&x, rows, d, stride);
    // The numbers as the forward keeps them, rounded to f32.
    let stats = |row: &[f64]| {
        let mean = if kind == Kind::Layer { row.iter().sum::<f64>() / d as f64 } else { 0.0 };
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / d as f64;
        (mean as f32, (1.0 / (variance + EPSILON).sqrt()) as f32)
    };
    let exact_x = exact(&packed_x);
    let (mean, rstd): (Vec<f32>, Vec<f32>) = exact_x.chunks(d.max(1)).map(stats).unzip();
    let of = Exact {
        x: exact_x,
        grad: exact(&packed(&grad, rows, d, stride)),
        residual: exact(&packed(&residual, rows, d, stride)),
        gamma: exact(&gamma),
        mean: exact(&mean),
        rstd: exact(&rstd),
    };
    let [want, want_gamma, want_beta, size] = of.differentiate(kind);

    let norm = NormBackward { gamma: W::view(&gamma), mean: (kind == Kind::Layer).then_some(&mean[..]), rstd: &rstd };
    let rows_of = |data| NormRows { data, rows, stride };
    let added = (kind == Kind::AddRms).then(|| rows_of(G::view(&residual)));
    let inputs = NormGradInputs { x: rows_of(S::view(&x)), grad: rows_of(G::view(&grad)), residual: added };
    let (mut dx, mut dgamma, mut dbeta) = (vec![f32::NAN; rows * d], vec![f32::NAN; d], vec![f32::NAN; d]);
    let beta = (kind == Kind::Layer).then_some(&mut dbeta[..]);
    norm_backward(launch, norm, inputs, &mut dx, NormWeightGrads { gamma: &mut dgamma, beta });
    // Where dx is a difference, its error is that of its largest terms: of rstd · |h|, at most 2 · 2 · rstd.
    let largest = rstd.iter().copied().fold(0.0f32, f32::max);
    assert_close(&dx, &want, 2e-6, 2e-6 * f64::from(largest) * 8.0, &("dx", what));
    let limit = size.iter().copied().fold(0.0, f64::max) * 4e-6;
    assert_close(&dgamma, &want_gamma, 1e-6, limit, &("dgamma", what));
    if kind == Kind::Layer {
        assert_close(&dbeta, &want_beta, 1e-6, limit, &("dbeta", what));
    }

    let mut in_place: Vec<f32> = packed(&grad, rows, d, stride).iter().map(|g| g.to_f32()).collect();
    let mut again = vec![f32::NAN; d];
    let beta = (kind == Kind::Layer).then_some(&mut dbeta[..]);
    let weights = NormWeightGrads { gamma: &mut again, beta };
    norm_backward_in_place(launch, norm, inputs.x, &mut in_place, added, weights);
    assert_eq!((in_place, again), (dx, dgamma), "in place {what:?}");
}

const KINDS: [Kind; 3] = [Kind::Rms, Kind::AddRms, Kind::Layer];

#[test]
fn gradients_of_every_length_and_type() {
    for launch in launches() {
        for kind in KINDS {
            for d in (1..36).chain([64, 127, 1000, 4099]) {
                // One element has no deviation: what is checked is the difference of equal numbers.
                if !(d == 1 && kind == Kind::Layer) {
                    check::<f32, f32, f32>(launch, kind, 3, d, d % 4);
                }
            }
            for d in [5, 16, 33, 130] {
                check::<f32, f32, bf16>(launch, kind, 5, d, 0);
                check::<bf16, f32, bf16>(launch, kind, 70, d, 2);
                check::<bf16, bf16, f32>(launch, kind, 5, d, 1);
                check::<f16, f16, f16>(launch, kind, 33, d, 1);
                check::<f32, f16, f32>(launch, kind, 0, d, 0);
            }
            check::<f32, f32, f32>(launch, kind, 3000, 96, 3);
        }
    }
}

#[test]
fn gradients_of_every_block() {
    for launch in launches() {
        for block in [1, 1000, 40_000, usize::MAX] {
            let launch = Launch { block, ..launch };
            for (kind, d) in KINDS.into_iter().flat_map(|kind| [63, 65, 1000, 9001].map(|d| (kind, d))) {
                check::<f32, f32, f32>(launch, kind, 2, d, d % 3);
                check::<bf16, f32, f32>(launch, kind, 2, d, 0);
            }
        }
    }
}

/// A pool of threads of its own, so that there may be more of them than cores.
fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads").install(work)
}

#[test]
fn sums_are_the_same_bits_for_every_number_of_threads() {
    let (rows, d) = (1037, 300);
    let (x, grad, gamma) = (random::<f32>(rows * d, 1), random::<f32>(rows * d, 2), random::<f32>(d, 3));
    let rstd = random::<f32>(rows, 4);
    for tier in Tier::available() {
        let run = |threads| {
            on_threads(threads, || {
                let norm = NormBackward { gamma: Floats::F32(&gamma), mean: Some(&rstd), rstd: &rstd };
                let view = |x| NormRows::contiguous(Floats::F32(x), d);
                let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; rows * d], vec![0.0; d], vec![0.0; d]);
                let inputs = NormGradInputs { x: view(&x), grad: view(&grad), residual: None };
                let weights = NormWeightGrads { gamma: &mut dgamma, beta: Some(&mut dbeta) };
                norm_backward(Launch { threads, ..Launch::single(tier) }, norm, inputs, &mut dx, weights);
                (dx, dgamma, dbeta)
            })
        };
        let one = run(1);
        assert!([2, 3, 7].into_iter().all(|threads| run(threads) == one), "{tier:?}");
    }
}

#[test]
fn results_beyond_the_caches_are_what_some_rows_alone_are() {
    let (d, each) = (1056, 500);
    let rows = (34 << 20) / 4 / d + 1;
    let period = random::<f32>(10 * d + 7, 3);
    let x: Vec<f32> = (0..rows * d).map(|i| period[i % period.len()]).collect();
    let (gamma, rstd) = (random::<f32>(d, 1), vec![0.7f32; rows]);
    let mut buffer = vec![0.0f32; rows * d + 16];
    let skip = buffer.as_ptr().addr().wrapping_neg() % 64 / 4;
    let dx = &mut buffer[skip..][..rows * d];
    for launch in launches() {
        for launch in [launch, Launch { prefetch: 0, ..launch }] {
            let view = |x| NormRows::contiguous(Floats::F32(x), d);
            let run = |rows: core::ops::Range<usize>, dx: &mut [f32]| {
                let x = &x[rows.start * d..rows.end * d];
                let norm = NormBackward { gamma: Floats::F32(&gamma), mean: None, rstd: &rstd[rows] };
                let inputs = NormGradInputs { x: view(x), grad: view(x), residual: Some(view(x)) };
                norm_backward(launch, norm, inputs, dx, NormWeightGrads { gamma: &mut vec![0.0; d], beta: None });
            };
            run(0..rows, dx);
            let mut part = vec![0.0; each * d];
            for at in (0..rows).step_by(each) {
                let end = (at + each).min(rows);
                let part = &mut part[..(end - at) * d];
                run(at..end, part);
                assert!(part == &dx[at * d..end * d], "{launch:?} rows from {at}");
            }
        }
    }
}

#[test]
fn nan_and_infinity_stay_in_their_row_and_reach_the_sums() {
    let d = 40;
    for launch in launches() {
        for bad in [f32::NAN, f32::INFINITY] {
            for in_x in [true, false] {
                let (mut x, mut grad) = (random::<f32>(3 * d, 1), random::<f32>(3 * d, 2));
                (if in_x { &mut x } else { &mut grad })[d + 7] = bad;
                let gamma = vec![1.0f32; d];
                // What a forward keeps of a row with an infinite element.
                let rstd = [1.0, if in_x { 1.0 / bad } else { 1.0 }, 1.0];
                let norm = NormBackward { gamma: Floats::F32(&gamma), mean: None, rstd: &rstd };
                let view = |x| NormRows::contiguous(Floats::F32(x), d);
                let (mut dx, mut dgamma) = (vec![0.0; 3 * d], vec![0.0; d]);
                let inputs = NormGradInputs { x: view(&x), grad: view(&grad), residual: None };
                norm_backward(launch, norm, inputs, &mut dx, NormWeightGrads { gamma: &mut dgamma, beta: None });
                let what = (launch, bad, in_x);
                assert!(!dx[d + 7].is_finite() && !dgamma[7].is_finite(), "{what:?}");
                assert!(dx[..d].iter().chain(&dx[2 * d..]).all(|dx| dx.is_finite()), "{what:?}");
                assert!(
                    dgamma.iter().enumerate().all(|(i, sum)| i == 7 || bad.is_nan() && in_x || sum.is_finite()),
                    "{what:?}"
                );
            }
        }
    }
}

/// An empty lane is no element: its distance from the mean does not count.
#[test]
fn a_mean_that_leaves_f32_when_it_is_scaled() {
    let (x, ones) = (vec![1e38f32; 37], vec![1.0f32; 37]);
    for launch in launches() {
        let norm = NormBackward { gamma: Floats::F32(&ones), mean: Some(&[1e38]), rstd: &[1e3] };
        let view = |x| NormRows::contiguous(Floats::F32(x), 37);
        let (mut dx, mut dgamma, mut dbeta) = (vec![9.0; 37], vec![9.0; 37], vec![9.0; 37]);
        let inputs = NormGradInputs { x: view(&x), grad: view(&ones), residual: None };
        let weights = NormWeightGrads { gamma: &mut dgamma, beta: Some(&mut dbeta) };
        norm_backward(launch, norm, inputs, &mut dx, weights);
        assert_eq!((dx, dgamma, dbeta), (vec![0.0; 37], vec![0.0; 37], ones.clone()), "{launch:?}");
    }
}

#[test]
fn layer_norm_keeps_its_numbers() {
    for launch in launches() {
        for (rows, d) in [(3, 5), (7, 64), (2, 1000), (0, 9), (400, 257)] {
            let (x, gamma) = (random::<f32>(rows * d, 1), random::<f32>(d, 2));
            let norm = LayerNorm { gamma: Floats::F32(&gamma), beta: None, epsilon: EPSILON };
            let view = NormRows::contiguous(Floats::F32(&x), d);
            let (mut plain, mut out) = (vec![f32::NAN; rows * d], vec![f32::NAN; rows * d]);
            let (mut mean, mut rstd) = (vec![f32::NAN; rows], vec![f32::NAN; rows]);
            layer_norm(launch, norm, view, FloatsMut::F32(&mut plain));
            let to = LayerNormed { out: FloatsMut::F32(&mut out), mean: &mut mean, rstd: &mut rstd };
            layer_norm_forward(launch, norm, view, to);
            assert_eq!(plain, out, "{launch:?} {rows} x {d}");
            let means: Vec<f64> = exact(&x).chunks(d).map(|row| row.iter().sum::<f64>() / d as f64).collect();
            let deviation = |(row, mean): (&[f64], &f64)| {
                let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / d as f64;
                1.0 / (variance + EPSILON).sqrt()
            };
            let rstds: Vec<f64> = exact(&x).chunks(d).zip(&means).map(deviation).collect();
            assert_close(&mean, &means, 1e-6, 1e-6, &("mean", launch, rows, d));
            assert_close(&rstd, &rstds, 2e-6, 0.0, &("rstd", launch, rows, d));
        }
    }
}

#[test]
#[should_panic(expected = "rows of x, of both gradients and of rstd")]
fn rows_must_fit() {
    let (gamma, x) = ([1.0f32; 4], [0.0f32; 8]);
    let norm = NormBackward { gamma: Floats::F32(&gamma), mean: None, rstd: &[1.0] };
    let view = NormRows::contiguous(Floats::F32(&x), 4);
    let inputs = NormGradInputs { x: view, grad: view, residual: None };
    let weights = NormWeightGrads { gamma: &mut [0.0; 4], beta: None };
    norm_backward(Launch::single(Tier::Portable), norm, inputs, &mut [0.0; 8], weights);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(rows in 1usize..200, d in 2usize..300, gap in 0usize..9, kind in 0usize..3) {
        for launch in launches() {
            check::<f32, f32, f32>(launch, KINDS[kind], rows, d, gap);
        }
    }
}
