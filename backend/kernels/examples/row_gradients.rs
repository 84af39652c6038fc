//! What backward passes bound by memory, and AdamW, take of this machine's copy bandwidth:
//! `cargo run --release -p kiln-kernels --example row_gradients [THREADS]`.
//!
//! Each op runs in turn with the others and with a copy as large as its input, many times. A line has the time that
//! nine of ten runs took longer than, the bytes that the op must move at least by it, and the same as a share of the
//! copy's.

use kiln_kernels::memory::PooledFloats;
use kiln_kernels::norm::{
    LayerNorm, LayerNormed, NormBackward, NormGradInputs, NormRows, NormWeightGrads, Normed, RmsNorm,
    layer_norm_forward, norm_backward, norm_backward_in_place, rms_norm,
};
use kiln_kernels::optim::{AdamW, AdamWSlices, Gradient, adamw, sum_of_squares};
use kiln_kernels::rope::{Angles, HeadGrads, HeadOrder, Heads, norm_rope_backward, qk_norm_rope};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};
use std::hint::black_box;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

/// A name, the bytes that it moves, and the op.
type Op<'a> = (&'a str, usize, Box<dyn FnMut() + 'a>);

fn main() {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    pool.install(|| {
        let launch = Launch::default();
        println!("{threads} threads, {launch:?}");
        for rows in [512, 4096] {
            norms(launch, rows, 2048);
        }
        heads(launch, 512);
        heads(launch, 4096);
        optimiser(launch, 64 << 20);
    });
}

/// Runs the ops in turn and prints a line each.
fn measure(what: &str, rounds: usize, mut ops: Vec<Op<'_>>) {
    let mut times = vec![Vec::new(); ops.len()];
    for round in 0..=rounds {
        for (times, (_, _, op)) in times.iter_mut().zip(&mut ops) {
            let start = Instant::now();
            op();
            // The first round warms up.
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let mut copied = 0.0;
    for (i, (times, (name, bytes, _))) in times.iter_mut().zip(&ops).enumerate() {
        times.sort_by(f64::total_cmp);
        let best = times[times.len() / 10];
        let rate = *bytes as f64 / best / 1e9;
        if i == 0 {
            copied = rate;
        }
        println!("{what:14} {name:30} {:9.3} ms {rate:7.1} GB/s {:5.2} of a copy", best * 1e3, rate / copied);
    }
}

/// Copies by the threads of `launch`.
fn copy(launch: Launch, from: &[f32], to: &mut [f32]) {
    let each = from.len().div_ceil(launch.threads);
    rayon::scope(|scope| {
        for (from, to) in from.chunks(each).zip(to.chunks_mut(each)) {
            scope.spawn(|_| to.copy_from_slice(from));
        }
    });
}

/// Floats in a block of the pool, as the results of kernels are: aligned to a cache line.
struct Buffer(PooledFloats);

impl Buffer {
    fn new(len: usize, number: impl Fn(usize) -> f32) -> Self {
        let mut buffer = Self(PooledFloats::take(ElementType::F32, len).expect("a buffer that fits"));
        buffer.iter_mut().enumerate().for_each(|(i, x)| *x = number(i));
        buffer
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self.0.as_floats() {
            Floats::F32(x) => x,
            _ => &[],
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        match self.0.as_floats_mut() {
            FloatsMut::F32(x) => x,
            _ => &mut [],
        }
    }
}

fn numbers(len: usize) -> Buffer {
    Buffer::new(len, |i| ((i * 37) % 101) as f32 / 51.0 - 1.0)
}

fn zeros(len: usize) -> Buffer {
    Buffer::new(len, |_| 0.0)
}

fn norms(launch: Launch, rows: usize, d: usize) {
    let (x, grad, added) = (numbers(rows * d), numbers(rows * d), numbers(rows * d));
    let gamma = numbers(d);
    let (mean, rstd) = (vec![0.1f32; rows], vec![1.5f32; rows]);
    let [mut b0, mut b1, mut b2, mut b3, mut b4, mut b5, mut b6, mut b7, mut b8] =
        core::array::from_fn(|_| zeros(rows * d));
    let bytes = 4 * rows * d;
    let view = |x| NormRows::contiguous(Floats::F32(x), d);
    let (x, grad, gamma, mean, rstd, added) = (&x[..], &grad[..], &gamma[..], &mean[..], &rstd[..], &added[..]);
    let of = |mean| NormBackward { gamma: Floats::F32(gamma), mean, rstd };
    let inputs = move |residual| NormGradInputs { x: view(x), grad: view(grad), residual };
    let mut sums: [Vec<f32>; 8] = core::array::from_fn(|_| vec![0.0; d]);
    let [s0, s1, s2, s3, s4, s5, s6, s7] = &mut sums;
    let mut kept = [vec![0.0; rows], vec![0.0; rows]];
    let [k0, k1] = &mut kept;
    let rms = RmsNorm { gamma: Floats::F32(gamma), epsilon: 1e-6 };
    let layer = LayerNorm { gamma: Floats::F32(gamma), beta: Some(Floats::F32(gamma)), epsilon: 1e-6 };
    b5.copy_from_slice(grad);
    let ops: Vec<Op<'_>> = vec![
        ("copy", 2 * bytes, Box::new(|| copy(launch, x, &mut b0))),
        ("rms forward", 2 * bytes, Box::new(|| rms_norm(launch, rms, view(x), Normed::only(FloatsMut::F32(&mut b1))))),
        (
            "layer forward, kept",
            2 * bytes,
            Box::new(|| {
                let to = LayerNormed { out: FloatsMut::F32(&mut b2), mean: k0, rstd: k1 };
                layer_norm_forward(launch, layer, view(x), to);
            }),
        ),
        (
            "rms backward",
            3 * bytes,
            Box::new(|| {
                let weights = NormWeightGrads { gamma: s0, beta: None };
                norm_backward(launch, of(None), inputs(None), &mut b3, weights);
            }),
        ),
        (
            "rms backward in place",
            3 * bytes,
            Box::new(|| {
                let weights = NormWeightGrads { gamma: s1, beta: None };
                norm_backward_in_place(launch, of(None), view(x), &mut b5, None, weights);
            }),
        ),
        (
            "layer backward",
            3 * bytes,
            Box::new(|| {
                let weights = NormWeightGrads { gamma: s2, beta: Some(s3) };
                norm_backward(launch, of(Some(mean)), inputs(None), &mut b4, weights);
            }),
        ),
        (
            "layer backward in place",
            3 * bytes,
            Box::new(|| {
                let weights = NormWeightGrads { gamma: s6, beta: Some(s7) };
                norm_backward_in_place(launch, of(Some(mean)), view(x), &mut b8, None, weights);
            }),
        ),
        (
            "add and rms backward in place",
            4 * bytes,
            Box::new(|| {
                let weights = NormWeightGrads { gamma: s5, beta: None };
                norm_backward_in_place(launch, of(None), view(x), &mut b7, Some(view(added)), weights);
            }),
        ),
        (
            "add and rms backward",
            4 * bytes,
            Box::new(|| {
                let weights = NormWeightGrads { gamma: s4, beta: None };
                norm_backward(launch, of(None), inputs(Some(view(added))), &mut b6, weights);
            }),
        ),
    ];
    measure(&format!("{rows} x {d}"), if rows > 1000 { 31 } else { 151 }, ops);
    black_box(b0[0]);
}

/// 16 heads of 128, as a projection gives them.
fn heads(launch: Launch, length: usize) {
    let (heads, d) = (16, 128);
    let len = heads * length * d;
    let (x, grad, gamma) = (numbers(len), numbers(len), numbers(d));
    let (cos, sin) = (numbers(length * d / 2), numbers(length * d / 2));
    let (mut b0, mut b1, mut b2, mut sums) = (zeros(len), zeros(len), zeros(len), zeros(d));
    let projected = Heads { strides: [len, d, heads * d], ..Heads::contiguous(Floats::F32(&x), [1, heads, length, d]) };
    let behind = Heads::contiguous(Floats::F32(&grad), [1, heads, length, d]);
    let (norm, angles) = (RmsNorm { gamma: Floats::F32(&gamma), epsilon: 1e-6 }, Angles { cos: &cos, sin: &sin });
    let ops: Vec<Op<'_>> = vec![
        ("copy", 8 * len, Box::new(|| copy(launch, &x, &mut b0))),
        (
            "head norm and rope forward",
            8 * len,
            Box::new(|| qk_norm_rope(launch, norm, projected, angles, Normed::only(FloatsMut::F32(&mut b1)))),
        ),
        (
            "head norm and rope backward",
            12 * len,
            Box::new(|| {
                let to = HeadGrads { x: &mut b2, order: HeadOrder::of(&projected) };
                norm_rope_backward(launch, norm, [projected, behind], angles, to, &mut sums);
            }),
        ),
    ];
    measure(&format!("16 x {length} x 128"), if length > 1000 { 31 } else { 151 }, ops);
}

fn optimiser(launch: Launch, len: usize) {
    let (x, grad) = (numbers(len), numbers(len));
    let (mut to, mut p, mut m, mut v) = (zeros(len), numbers(len), zeros(len), zeros(len));
    let mut total = 0.0;
    let ops: Vec<Op<'_>> = vec![
        ("copy", 8 * len, Box::new(|| copy(launch, &x, &mut to))),
        (
            "adamw",
            28 * len,
            Box::new(|| {
                let options = AdamW {
                    learning_rate: 1e-4,
                    beta_1: 0.9,
                    beta_2: 0.999,
                    epsilon: 1e-8,
                    weight_decay: 0.01,
                    step: 3,
                    grad_scale: 0.5,
                };
                let slices =
                    AdamWSlices { parameter: FloatsMut::F32(&mut p), master: None, moment_1: &mut m, moment_2: &mut v };
                adamw(launch, options, slices, Gradient::Dense(Floats::F32(&grad)));
            }),
        ),
        ("sum of squares", 4 * len, Box::new(|| total += sum_of_squares(launch, Floats::F32(&grad)))),
    ];
    measure("64 M elements", 9, ops);
    black_box(total);
}
