//! Norms and softmax on every tier of this machine against f64.

mod reference;

use half::{bf16, f16};
use kiln_kernels::norm::{
    LayerNorm, NormRows, Normed, RmsNorm, add_norm, add_norm_in_place, layer_norm, layer_norm_in_place, rms_norm,
    rms_norm_in_place,
};
use kiln_kernels::simd::Tier;
use kiln_kernels::softmax::{Axis, SoftmaxKind, softmax, softmax_in_place};
use kiln_kernels::{Floats, FloatsMut, Launch};
use proptest::prelude::*;
use reference::{Element, assert_close, exact, launches, random};

const EPSILON: f64 = 1e-6;

/// `[rows][d]` of `x` with a stride, in f64.
fn rows_of(x: &[f64], rows: usize, d: usize, stride: usize) -> Vec<Vec<f64>> {
    (0..rows).map(|r| x[r * stride..r * stride + d].to_vec()).collect()
}

fn exact_rms(rows: &[Vec<f64>], gamma: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let rstd = |row: &Vec<f64>| 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64 + EPSILON).sqrt();
    let rstds: Vec<f64> = rows.iter().map(rstd).collect();
    let y = rows.iter().zip(&rstds).flat_map(|(row, r)| row.iter().zip(gamma).map(move |(x, g)| x * r * g)).collect();
    (y, rstds)
}

fn exact_layer(rows: &[Vec<f64>], gamma: &[f64], beta: Option<&[f64]>) -> Vec<f64> {
    let mut y = vec![];
    for row in rows {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / row.len() as f64;
        let rstd = 1.0 / (variance + EPSILON).sqrt();
        for (i, x) in row.iter().enumerate() {
            y.push((x - mean) * rstd * gamma[i] + beta.map_or(0.0, |b| b[i]));
        }
    }
    y
}

/// `S` rows, weights of `W`.
fn check_norms<S: Element, W: Element>(launch: Launch, rows: usize, d: usize, gap: usize) {
    let what = (launch, rows, d, gap);
    let stride = d + gap;
    let x = random::<S>(if rows == 0 { 0 } else { rows * stride - gap }, 1);
    let (gamma, beta) = (random::<W>(d, 2), random::<W>(d, 3));
    let view = NormRows { data: S::view(&x), rows, stride };
    let exact_rows = rows_of(&exact(&x), rows, d, stride);
    let blank = || vec![S::from_f32(f32::NAN); rows * d];

    let norm = RmsNorm { gamma: W::view(&gamma), epsilon: EPSILON };
    let (want, want_rstd) = exact_rms(&exact_rows, &exact(&gamma));
    let (mut out, mut rstd) = (blank(), vec![f32::NAN; rows]);
    rms_norm(launch, norm, view, Normed { out: S::view_mut(&mut out), rstd: Some(&mut rstd) });
    assert_close(&out, &want, 1e-6, 0.0, &("rms", what));
    assert_close(&rstd, &want_rstd, 1e-6, 0.0, &("rms rstd", what));
    let packed: Vec<S> = (0..rows * d).map(|i| x[i / d * stride + i % d]).collect();
    let mut in_place = packed.clone();
    rms_norm_in_place(launch, norm, Normed::only(S::view_mut(&mut in_place)));
    assert_eq!(in_place, out, "rms in place {what:?}");

    for beta in [None, Some(&beta)] {
        let norm = LayerNorm { gamma: W::view(&gamma), beta: beta.map(|b| W::view(b)), epsilon: EPSILON };
        let exact_beta = beta.map(|b| exact(b));
        let want = exact_layer(&exact_rows, &exact(&gamma), exact_beta.as_deref());
        let mut out = blank();
        layer_norm(launch, norm, view, S::view_mut(&mut out));
        // A row of one element has no variance, so what its mean lost is divided by √epsilon.
        assert_close(&out, &want, 1e-6, if d <= 2 { 1e-3 } else { 3e-6 }, &("layer", what));
        let mut in_place = packed.clone();
        layer_norm_in_place(launch, norm, S::view_mut(&mut in_place));
        assert_eq!(in_place, out, "layer norm in place {what:?}");
    }

    let residual = random::<S>(rows * d, 4);
    let want_sum: Vec<f64> = exact(&packed).iter().zip(exact(&residual)).map(|(x, r)| x + r).collect();
    let (mut sum, mut normed, mut rstd) = (blank(), blank(), vec![f32::NAN; rows]);
    let to = Normed { out: S::view_mut(&mut normed), rstd: Some(&mut rstd) };
    add_norm(launch, norm, [S::view(&packed), S::view(&residual)], S::view_mut(&mut sum), to);
    assert_close(&sum, &want_sum, 0.0, 0.0, &("sum", what));
    let (want, want_rstd) = exact_rms(&rows_of(&exact(&sum), rows, d, d), &exact(&gamma));
    assert_close(&normed, &want, 1e-6, 0.0, &("normed sum", what));
    assert_close(&rstd, &want_rstd, 1e-6, 0.0, &("rstd of the sum", what));
    let (mut in_place, mut again) = (packed, blank());
    let to = Normed::only(S::view_mut(&mut again));
    add_norm_in_place(launch, norm, S::view_mut(&mut in_place), S::view(&residual), to);
    assert_eq!((in_place, again), (sum, normed), "add and norm in place {what:?}");
}

#[test]
fn norms_of_every_length_and_type() {
    for launch in launches() {
        for d in (1..36).chain([64, 127, 1000, 4099]) {
            check_norms::<f32, f32>(launch, 3, d, d % 4);
        }
        for d in [1, 5, 16, 33, 130] {
            check_norms::<f32, bf16>(launch, 5, d, 0);
            check_norms::<bf16, bf16>(launch, 5, d, 2);
            check_norms::<bf16, f32>(launch, 5, d, 0);
            check_norms::<f16, f16>(launch, 5, d, 1);
            check_norms::<f16, f32>(launch, 0, d, 0);
        }
        check_norms::<f32, f32>(launch, 1500, 96, 3);
    }
}

/// Bytes from less than one step of the walk to more than any row.
const BLOCKS: [usize; 6] = [1, 256, 1000, 4096, 40_000, usize::MAX];

#[test]
fn norms_and_softmax_of_every_block() {
    for launch in launches() {
        for block in BLOCKS {
            let launch = Launch { block, ..launch };
            for d in [1, 63, 64, 65, 127, 1000, 4099, 9001] {
                check_norms::<f32, f32>(launch, 2, d, d % 3);
                check_norms::<bf16, bf16>(launch, 2, d, 0);
                let axis = Axis { outer: 2, n: d, inner: 1 };
                check_softmax::<f32>(launch, axis, &random(axis.len(), 6));
                check_softmax::<f16>(launch, axis, &random(axis.len(), 6));
            }
            for inner in [2, 63, 65, 511, 513, 1100] {
                let axis = Axis { outer: 2, n: 37, inner };
                check_softmax::<f32>(launch, axis, &random(axis.len(), 7));
            }
        }
    }
}

/// Sums are in one order whatever the blocks of columns.
#[test]
fn norms_are_the_same_bits_for_every_block() {
    let d = 5003;
    let (x, gamma) = (random::<f32>(3 * d, 1), random::<f32>(d, 2));
    for launch in launches() {
        let results = BLOCKS.map(|block| {
            let launch = Launch { block, ..launch };
            let (mut rms, mut layer) = (x.clone(), x.clone());
            let norm = RmsNorm { gamma: Floats::F32(&gamma), epsilon: EPSILON };
            rms_norm_in_place(launch, norm, Normed::only(FloatsMut::F32(&mut rms)));
            let norm = LayerNorm { gamma: Floats::F32(&gamma), beta: Some(Floats::F32(&gamma)), epsilon: EPSILON };
            layer_norm_in_place(launch, norm, FloatsMut::F32(&mut layer));
            (rms, layer)
        });
        assert!(results.iter().all(|result| *result == results[0]), "{launch:?}");
    }
}

#[test]
fn a_large_mean_costs_layer_norm_no_digits() {
    let d = 1000;
    // Exact in f32: multiples of 2^-9 beside 4096.
    let x: Vec<f32> = (0..d).map(|i| 4096.0 + ((i * 37) % 101) as f32 / 512.0).collect();
    let ones = vec![1.0f32; d];
    let want = exact_layer(&[exact(&x)], &exact(&ones), None);
    for launch in launches() {
        let norm = LayerNorm { gamma: Floats::F32(&ones), beta: None, epsilon: EPSILON };
        let mut out = x.clone();
        layer_norm_in_place(launch, norm, FloatsMut::F32(&mut out));
        assert_close(&out, &want, 2e-6, 1e-6, &launch);
    }
}

#[test]
fn norms_pass_nan_and_infinity_on() {
    for launch in launches() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut x = vec![1.0f32; 2 * 40];
            x[7] = bad;
            let ones = vec![1.0f32; 40];
            let mut y = x.clone();
            let norm = LayerNorm { gamma: Floats::F32(&ones), beta: None, epsilon: EPSILON };
            layer_norm_in_place(launch, norm, FloatsMut::F32(&mut y));
            assert!(y[..40].iter().all(|y| y.is_nan()) && y[40..].iter().all(|y| *y == 0.0), "{launch:?} {bad}");
            let norm = RmsNorm { gamma: Floats::F32(&ones), epsilon: EPSILON };
            rms_norm_in_place(launch, norm, Normed::only(FloatsMut::F32(&mut x)));
            // ∞/∞ is NaN, 1/∞ is 0.
            assert!(x[7].is_nan() && x[40..].iter().all(|y| (y - 1.0).abs() < 1e-5), "{launch:?} {bad}");
            assert!(x[..40].iter().all(|y| y.is_nan() || (bad.is_infinite() && *y == 0.0)), "{launch:?} {bad}");
        }
    }
}

/// The definition, with its NaN of rows without a finite maximum.
fn exact_softmax(kind: SoftmaxKind, axis: Axis, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for outer in 0..axis.outer {
        for inner in 0..axis.inner {
            let at = |i: usize| (outer * axis.n + i) * axis.inner + inner;
            let row = (0..axis.n).map(|i| x[at(i)]);
            let max = row.clone().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.map(|x| (x - max).exp()).sum();
            for i in 0..axis.n {
                y[at(i)] = match kind {
                    SoftmaxKind::Plain => (x[at(i)] - max).exp() / sum,
                    SoftmaxKind::Log => x[at(i)] - max - sum.ln(),
                };
            }
        }
    }
    y
}

fn check_softmax<S: Element>(launch: Launch, axis: Axis, x: &[S]) {
    for kind in [SoftmaxKind::Plain, SoftmaxKind::Log] {
        let want = exact_softmax(kind, axis, &exact(x));
        let mut y = vec![S::from_f32(9.0); axis.len()];
        softmax(launch, kind, axis, S::view(x), S::view_mut(&mut y));
        // The shift rounds by half a unit of its size, which the exponential makes relative.
        assert_close(&y, &want, 4e-6, 2e-6 * f64::from(u8::from(kind == SoftmaxKind::Log)), &(launch, kind, axis));
        let mut in_place = x.to_vec();
        softmax_in_place(launch, kind, axis, S::view_mut(&mut in_place));
        let same = in_place.iter().zip(&y).all(|(a, b)| a == b || a.to_f32().is_nan() && b.to_f32().is_nan());
        assert!(same, "{kind:?} {axis:?} in place");
    }
}

#[test]
fn softmax_of_every_axis_and_type() {
    for launch in launches() {
        let axes = (1..36).map(|n| [3, n, 1]).chain([
            [2, 4095, 1],
            [2, 4097, 1],
            [1, 20_001, 1],
            [3000, 100, 1],
            [0, 5, 1],
            [2, 0, 3],
            [1, 1, 7],
            [3, 5, 2],
            [2, 7, 16],
            [2, 3, 33],
            [5, 40, 65],
            [2, 300, 1029],
        ]);
        for [outer, n, inner] in axes {
            let axis = Axis { outer, n, inner };
            check_softmax::<f32>(launch, axis, &random(axis.len(), 1));
            check_softmax::<bf16>(launch, axis, &random(axis.len(), 1));
            check_softmax::<f16>(launch, axis, &random(axis.len(), 1));
        }
    }
}

#[test]
fn softmax_of_special_rows() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for launch in launches() {
        for n in [5, 40, 9000] {
            for special in
                [vec![nan], vec![inf], vec![-inf], vec![-inf; n], vec![1e30], vec![-1e30; n], vec![f32::MIN, 200.0]]
            {
                for at in [0, n / 2, n - special.len().min(n)] {
                    let mut x = random::<f32>(n, 3);
                    let end = (at + special.len()).min(n);
                    x[at..end].copy_from_slice(&special[..end - at]);
                    check_softmax(launch, Axis { outer: 1, n, inner: 1 }, &x);
                    let spread: Vec<f32> = x.iter().flat_map(|x| [*x, 0.5, 0.25]).collect();
                    check_softmax(launch, Axis { outer: 1, n, inner: 3 }, &spread);
                }
            }
            // Whole blocks of -∞ before and after a finite one.
            let mut x = vec![-inf; n];
            x[n / 2] = 1.5;
            check_softmax(launch, Axis { outer: 1, n, inner: 1 }, &x);
        }
    }
}

#[test]
fn axes_of_a_shape() {
    assert_eq!(Axis::of(&[2, 3, 4, 5], 1), Axis { outer: 2, n: 3, inner: 20 });
    assert_eq!(Axis::of(&[2, 3, 4, 5], 3), Axis { outer: 24, n: 5, inner: 1 });
    assert_eq!(Axis::of(&[7], 0), Axis { outer: 1, n: 7, inner: 1 });
}

#[test]
#[should_panic(expected = "one rstd a row")]
fn lengths_must_fit() {
    let norm = RmsNorm { gamma: Floats::F32(&[1.0; 4]), epsilon: EPSILON };
    let to = Normed { out: FloatsMut::F32(&mut [0.0; 8]), rstd: Some(&mut [0.0]) };
    rms_norm_in_place(Launch::single(Tier::Portable), norm, to);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(rows in 1usize..70, d in 1usize..300, gap in 0usize..9, inner in 1usize..50) {
        for launch in launches() {
            check_norms::<f32, f32>(launch, rows, d, gap);
            let axis = Axis { outer: rows.min(4), n: d, inner };
            check_softmax::<f32>(launch, axis, &random(axis.len(), 5));
        }
    }
}

/// Rows that begin on a cache line, from `buffer`.
fn aligned<S>(buffer: &mut [S], len: usize) -> &mut [S] {
    let skip = buffer.as_ptr().addr().wrapping_neg() % 64 / size_of::<S>();
    &mut buffer[skip..][..len]
}

/// A kernel from rows to results and sums.
type Run<'a, S> = &'a dyn Fn(&[S], &mut [S], &mut [S]);

/// Results too large for the caches are stored non-temporally: they are what some of the rows alone are.
fn check_streamed<S: Element>(launch: Launch) {
    let (d, each) = (1056, 500);
    let rows = (34 << 20) / size_of::<S>() / d + 1;
    let period = random::<S>(10 * d + 7, 3);
    let x: Vec<S> = (0..rows * d).map(|i| period[i % period.len()]).collect();
    let (gamma, beta) = (random::<S>(d, 1), random::<S>(d, 2));
    let mut buffers = [0; 4].map(|_| vec![S::from_f32(9.0); rows * d + 64]);
    let [whole, parts, whole_sum, parts_sum] = buffers.each_mut().map(|buffer| aligned(buffer, rows * d));
    let mut both = |what: &str, run: Run<'_, S>| {
        run(&x, whole, whole_sum);
        for at in (0..rows * d).step_by(each * d) {
            let end = (at + each * d).min(rows * d);
            run(&x[at..end], &mut parts[at..end], &mut parts_sum[at..end]);
        }
        assert!(whole == parts && whole_sum == parts_sum, "{launch:?} {what}");
    };
    let rms = RmsNorm { gamma: S::view(&gamma), epsilon: EPSILON };
    let layer = LayerNorm { gamma: S::view(&gamma), beta: Some(S::view(&beta)), epsilon: EPSILON };
    both("rms", &|x, y, _| rms_norm(launch, rms, NormRows::contiguous(S::view(x), d), Normed::only(S::view_mut(y))));
    both("layer", &|x, y, _| layer_norm(launch, layer, NormRows::contiguous(S::view(x), d), S::view_mut(y)));
    both("add", &|x, y, sum| {
        add_norm(launch, rms, [S::view(x), S::view(x)], S::view_mut(sum), Normed::only(S::view_mut(y)));
    });
    for kind in [SoftmaxKind::Plain, SoftmaxKind::Log] {
        both("softmax", &|x, y, _| {
            let axis = Axis { outer: x.len() / d, n: d, inner: 1 };
            softmax(launch, kind, axis, S::view(x), S::view_mut(y));
        });
    }
}

#[test]
fn large_results_are_stored_non_temporally() {
    for launch in launches() {
        check_streamed::<f32>(launch);
        check_streamed::<bf16>(Launch { block: 4096, ..launch });
        check_streamed::<bf16>(Launch { prefetch: 0, ..launch });
    }
}

#[test]
fn any_nan_of_a_weight_stays_nan() {
    let gamma = vec![f32::from_bits(0x7fff_ffff); 300];
    for launch in launches() {
        let mut x = random::<bf16>(600, 1);
        let norm = RmsNorm { gamma: Floats::F32(&gamma), epsilon: EPSILON };
        rms_norm_in_place(launch, norm, Normed::only(FloatsMut::Bf16(&mut x)));
        assert!(x.iter().all(|x| x.is_nan()), "{launch:?}");
    }
}
