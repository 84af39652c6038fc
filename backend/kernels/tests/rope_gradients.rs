//! Gradients of rotations and head norms on every tier of this machine against f64.

mod reference;

use half::{bf16, f16};
use kiln_kernels::norm::RmsNorm;
use kiln_kernels::rope::{Angles, HeadGrads, HeadOrder, Heads, norm_rope_backward, rope_backward};
use kiln_kernels::simd::Tier;
use kiln_kernels::{Floats, Launch};
use reference::{Element, assert_close, exact, launches, random};

const EPSILON: f64 = 1e-6;

/// Batch, heads, length, head_dim.
type Shape = [usize; 4];

/// A view of `data` with its elements at positions first, as a projection gives them, and a gap between positions.
fn projected<S: Element>(data: &[S], [batch, heads, length, d]: Shape, gap: usize) -> Heads<'_> {
    let position = heads * d + gap;
    let strides = [length * position, d, position];
    Heads { data: S::view(data), batch, heads, length, head_dim: d, strides }
}

fn projected_len([batch, heads, length, d]: Shape, gap: usize) -> usize {
    batch * length * (heads * d + gap)
}

/// The elements of a view in the order of its shape.
fn gather<S: Element>(data: &[S], x: &Heads<'_>) -> Vec<f64> {
    let mut all = vec![];
    for batch in 0..x.batch {
        for head in 0..x.heads {
            for position in 0..x.length {
                let at = batch * x.strides[0] + head * x.strides[1] + position * x.strides[2];
                all.extend(exact(&data[at..at + x.head_dim]));
            }
        }
    }
    all
}

/// `[batch, heads, length, d]` from what lies in `order`.
fn reorder(x: &[f32], order: HeadOrder, [batch, heads, length, d]: Shape) -> Vec<f32> {
    let at = |b: usize, h: usize, l: usize| match order {
        HeadOrder::HeadsFirst => ((b * heads + h) * length + l) * d,
        HeadOrder::PositionsFirst => ((b * length + l) * heads + h) * d,
    };
    let mut all = vec![];
    for b in 0..batch {
        for h in 0..heads {
            for l in 0..length {
                all.extend(&x[at(b, h, l)..at(b, h, l) + d]);
            }
        }
    }
    all
}

/// Rotated back, by definition.
fn exact_rotate_back(grad: &[f64], cos: &[f64], sin: &[f64], [batch, heads, length, d]: Shape) -> Vec<f64> {
    let (half, shared) = (d / 2, cos.len() == length * (d / 2));
    let mut all = vec![0.0; grad.len()];
    for row in 0..batch * heads * length {
        let (sequence, position) = (row / length / heads, row % length);
        for i in 0..half {
            let angle = (if shared { 0 } else { sequence * length } + position) * half + i;
            let (a, b) = (grad[row * d + i], grad[row * d + half + i]);
            all[row * d + i] = a * cos[angle] + b * sin[angle];
            all[row * d + half + i] = b * cos[angle] - a * sin[angle];
        }
    }
    all
}

fn check<S: Element, G: Element>(launch: Launch, shape: Shape, gap: usize, shared: bool) {
    let what = (launch, shape, gap, shared, S::TYPE, G::TYPE);
    let [batch, heads, length, d] = shape;
    let x = random::<S>(projected_len(shape, gap), 1);
    let x_view = projected(&x, shape, gap);
    let grad = random::<G>(batch * heads * length * d, 2);
    let grad_view = Heads::contiguous(G::view(&grad), shape);
    let gamma = random::<f32>(d, 3);
    let angles = if shared { length * (d / 2) } else { batch * length * (d / 2) };
    let (cos, sin) = (random::<f32>(angles, 4), random::<f32>(angles, 5));
    let both = Angles { cos: &cos, sin: &sin };
    let count = batch * heads * length * d;

    let rotated = exact_rotate_back(&exact(&grad), &exact(&cos), &exact(&sin), shape);
    for order in [HeadOrder::HeadsFirst, HeadOrder::PositionsFirst] {
        let mut out = vec![f32::NAN; count];
        rope_backward(launch, grad_view, both, HeadGrads { x: &mut out, order });
        assert_close(&reorder(&out, order, shape), &rotated, 1e-6, 1e-6, &("rope", order, what));
    }

    let exact_x = gather(&x, &x_view);
    let weights = exact(&gamma);
    let (mut want, mut want_gamma, mut size) = (vec![], vec![0.0; d], 0.0f64);
    let mut largest = 0.0f64;
    for (x, g) in exact_x.chunks(d.max(1)).zip(rotated.chunks(d.max(1))) {
        let rstd = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / d as f64 + EPSILON).sqrt();
        let normed: Vec<f64> = x.iter().map(|x| x * rstd).collect();
        let along = (0..d).map(|i| g[i] * weights[i] * normed[i]).sum::<f64>() / d as f64;
        for (i, (g, n)) in g.iter().zip(&normed).enumerate() {
            want.push(rstd * (g * weights[i] - n * along));
            want_gamma[i] += g * n;
            size += (g * n).abs();
        }
        largest = largest.max(rstd);
    }
    for order in [HeadOrder::HeadsFirst, HeadOrder::of(&x_view)] {
        let (mut out, mut dgamma) = (vec![f32::NAN; count], vec![f32::NAN; d]);
        let norm = RmsNorm { gamma: Floats::F32(&gamma), epsilon: EPSILON };
        let to = HeadGrads { x: &mut out, order };
        norm_rope_backward(launch, norm, [x_view, grad_view], both, to, &mut dgamma);
        assert_close(&reorder(&out, order, shape), &want, 2e-6, 4e-5 * largest, &("dx", order, what));
        assert_close(&dgamma, &want_gamma, 1e-6, 1e-6 * size, &("dgamma", order, what));
    }
}

#[test]
fn gradients_of_every_shape_and_type() {
    for launch in launches() {
        for d in (2..40).step_by(2).chain([64, 126, 128]) {
            check::<f32, f32>(launch, [2, 3, 5, d], d % 6, d % 4 == 0);
        }
        for d in [2, 34, 128] {
            check::<bf16, f32>(launch, [1, 2, 7, d], 1, true);
            check::<bf16, bf16>(launch, [2, 2, 7, d], 0, false);
            check::<f16, f16>(launch, [2, 2, 7, d], 3, false);
            check::<f32, bf16>(launch, [2, 1, 7, d], 3, false);
            check::<f32, f32>(launch, [0, 2, 7, d], 0, true);
            check::<f32, f32>(launch, [2, 2, 0, d], 0, true);
            check::<f32, f32>(launch, [1, 4, 1, d], 0, true);
        }
        check::<f32, f32>(launch, [1, 1, 3, 0], 0, true);
        check::<f32, f32>(launch, [2, 16, 300, 64], 0, false);
    }
}

#[test]
fn the_order_of_a_view() {
    let x = [0.0f32; 24];
    let heads = Heads::contiguous(Floats::F32(&x), [1, 2, 3, 4]);
    assert_eq!(HeadOrder::of(&heads), HeadOrder::HeadsFirst);
    assert_eq!(HeadOrder::of(&projected(&x, [1, 2, 3, 4], 0)), HeadOrder::PositionsFirst);
    // One head at all positions lies as its shape says.
    assert_eq!(HeadOrder::of(&projected(&x, [1, 1, 3, 4], 0)), HeadOrder::HeadsFirst);
}

#[test]
fn sums_are_the_same_bits_for_every_number_of_threads() {
    let shape = [2, 8, 70, 32];
    let len = shape.iter().product();
    let (x, grad, gamma) = (random::<f32>(len, 1), random::<f32>(len, 2), random::<f32>(32, 3));
    let (cos, sin) = (random::<f32>(70 * 16, 4), random::<f32>(70 * 16, 5));
    for tier in Tier::available() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
            pool.install(|| {
                let [x, grad] = [&x, &grad].map(|data| Heads::contiguous(Floats::F32(data), shape));
                let norm = RmsNorm { gamma: Floats::F32(&gamma), epsilon: EPSILON };
                let (mut out, mut dgamma) = (vec![0.0; len], vec![0.0; 32]);
                let to = HeadGrads { x: &mut out, order: HeadOrder::HeadsFirst };
                let launch = Launch { threads, ..Launch::single(tier) };
                norm_rope_backward(launch, norm, [x, grad], Angles { cos: &cos, sin: &sin }, to, &mut dgamma);
                (out, dgamma)
            })
        };
        let one = run(1);
        assert!([2, 5].into_iter().all(|threads| run(threads) == one), "{tier:?}");
    }
}

#[test]
fn nan_stays_in_its_head() {
    for launch in launches() {
        let (mut x, grad) = (random::<f32>(3 * 34, 1), random::<f32>(3 * 34, 2));
        x[34 + 20] = f32::NAN;
        let [x, grad] = [&x, &grad].map(|data| Heads::contiguous(Floats::F32(data), [1, 3, 1, 34]));
        let (ones, zeros) = ([1.0f32; 34], [0.0f32; 17]);
        let norm = RmsNorm { gamma: Floats::F32(&ones), epsilon: EPSILON };
        let (mut out, mut dgamma) = (vec![0.0; 3 * 34], vec![0.0; 34]);
        let to = HeadGrads { x: &mut out, order: HeadOrder::HeadsFirst };
        norm_rope_backward(launch, norm, [x, grad], Angles { cos: &ones[..17], sin: &zeros }, to, &mut dgamma);
        assert!(out[34..68].iter().all(|x| x.is_nan()), "{launch:?}");
        assert!(out[..34].iter().chain(&out[68..]).all(|x| x.is_finite()), "{launch:?}");
        assert!(dgamma.iter().all(|x| x.is_nan()), "{launch:?}");
    }
}

#[test]
#[should_panic(expected = "elements of gamma")]
fn gammas_must_fit() {
    let x = Heads::contiguous(Floats::F32(&[0.0; 8]), [1, 1, 2, 4]);
    let norm = RmsNorm { gamma: Floats::F32(&[1.0; 3]), epsilon: EPSILON };
    let angles = Angles { cos: &[1.0; 4], sin: &[0.0; 4] };
    let to = HeadGrads { x: &mut [0.0; 8], order: HeadOrder::HeadsFirst };
    norm_rope_backward(Launch::single(Tier::Portable), norm, [x, x], angles, to, &mut [0.0; 4]);
}
