//! How fast the backward pass of attention is beside its forward: GFLOP/s of both, in turn, and the share that the
//! backward reaches of the forward's. `cargo run --release -p kiln-kernels --example attention_backward [threads]`.

use kiln_kernels::attention::{AttentionOptions, AttentionResult, GradHeads, Tiles, attention, attention_backward};
use kiln_kernels::rope::Heads;
use kiln_kernels::{Floats, FloatsMut, Launch};
use std::time::Instant;

/// Sizes of one attention over one sequence.
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    heads: usize,
    kv_heads: usize,
    length: usize,
    d: usize,
    causal: bool,
}

impl Shape {
    fn view<'a>(&self, data: &'a [f32], heads: usize) -> Heads<'a> {
        Heads::contiguous(Floats::F32(data), [1, heads, self.length, self.d])
    }
}

const SHAPES: [Shape; 3] = [
    Shape { name: "text 512", heads: 16, kv_heads: 8, length: 512, d: 128, causal: true },
    Shape { name: "text 2048", heads: 16, kv_heads: 8, length: 2048, d: 128, causal: true },
    Shape { name: "vision 1024", heads: 16, kv_heads: 16, length: 1024, d: 64, causal: false },
];

/// Runs of each; the median counts.
const RUNS: usize = 9;

fn main() {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let threads = args.next().unwrap_or(1);
    let tiles = args.next().zip(args.next()).map(|(rows, keys)| Tiles { rows, keys });
    let launch = Launch::default().limit(threads);
    for shape in SHAPES {
        measure(launch, shape, tiles);
    }
}

fn measure(launch: Launch, shape: Shape, tiles: Option<Tiles>) {
    let Shape { name, heads, kv_heads, length, d, causal } = shape;
    let draw = |heads: usize, seed: u32| {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..heads * length * d).map(|_| next()).collect::<Vec<f32>>()
    };
    let (q, k, v, grad) = (draw(heads, 1), draw(kv_heads, 2), draw(kv_heads, 3), draw(heads, 4));
    let operands = [shape.view(&q, heads), shape.view(&k, kv_heads), shape.view(&v, kv_heads)];
    let options = AttentionOptions { causal, ..AttentionOptions::new(1.0 / (d as f32).sqrt()) };
    let (mut out, mut lse) = (vec![0.0f32; q.len()], vec![0.0f32; heads * length]);
    let (mut dq, mut dk, mut dv) = (vec![0.0f32; q.len()], vec![0.0f32; k.len()], vec![0.0f32; v.len()]);
    let mut times = [vec![], vec![]];
    for _ in 0..RUNS {
        let start = Instant::now();
        attention(launch, operands, &options, FloatsMut::F32(&mut out), Some(&mut lse));
        times[0].push(start.elapsed().as_secs_f64());
        let result = AttentionResult { out: shape.view(&out, heads), lse: &lse, grad: shape.view(&grad, heads) };
        let grads = [&mut dq, &mut dk, &mut dv].map(|grad| GradHeads::by_head(grad));
        let start = Instant::now();
        attention_backward(launch, operands, &AttentionOptions { tiles, ..options }, result, grads);
        times[1].push(start.elapsed().as_secs_f64());
    }
    let pairs = if causal { length * (length + 1) / 2 } else { length * length };
    let product = (2 * heads * pairs * d) as f64 / 1e9;
    let [forward, backward] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[RUNS / 2]
    });
    let rates = [2.0 * product / forward, 5.0 * product / backward];
    println!(
        "{name}, {} thread(s): forward {:.2} ms, {:.1} GFLOP/s; backward {:.2} ms, {:.1} GFLOP/s, {:.0} % of it",
        launch.threads,
        forward * 1e3,
        rates[0],
        backward * 1e3,
        rates[1],
        100.0 * rates[1] / rates[0]
    );
}
