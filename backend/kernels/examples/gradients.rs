//! Products of a linear layer's backward against that of its forward, in one run.
//!
//! ```text
//! forward  y  = x·Wᵀ     [rows, in] · [in, out]     W as it lies, `[out, in]`
//! input    dx = g·W      [rows, out] · [out, in]
//! weight   dW = gᵀ·x     [out, rows] · [rows, in]
//! added    dW += gᵀ·x
//! ```
//!
//! and the loss of a head with its gradients (`rows` positions, `out` words), which has three such products.
//!
//! ```text
//! loss     logits, their gradient in place, dx, dW
//! passes   what is no product: the gradients of activations and sums over rows, by the bytes that they move
//! ```
//!
//! A product has `2 · rows · in · out` FLOP. Rounds take the products in turn, so that a slow moment of the machine meets
//! all of them; medians are printed, and each product's share of the forward's rate.
//!
//! ```sh
//! cargo run --release -p kiln-kernels --example gradients [threads [rounds]]
//! ```

use half::bf16;
use kiln_kernels::backward::{
    Buffer, Head, HeadGradients, activation_backward_with_sums, column_sums, head_cross_entropy, silu_mul_backward,
};
use kiln_kernels::config::{KernelConfig, SimdConfig};
use kiln_kernels::gemm::{Epilogue, GemmError, Matrix, OutMatrix, Residual, gemm};
use kiln_kernels::planning::{ProductShape, plan_product};
use kiln_kernels::{Activation, Floats, FloatsMut, Launch};
use std::time::Instant;

/// Rows, inputs and outputs of the layers of a 2B model, 512 tokens.
const SHAPES: [[usize; 3]; 3] = [[512, 2048, 2048], [512, 2048, 6144], [512, 6144, 2048]];

/// Numbers of -1 to 1 that repeat late.
fn draw(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 2_654_435_761) >> 8 & 0xffff) as f32 / 32_768.0 - 1.0).collect()
}

/// `a · b`, added to what `out` holds or in place of it; seconds.
fn multiply(
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: &mut [f32],
    residual: Residual<'_>,
    config: &KernelConfig,
) -> Result<f64, GemmError> {
    let (rows, cols) = (a.rows(), b.cols());
    let mut out = OutMatrix::row_major(FloatsMut::F32(out), rows, cols)?;
    let start = Instant::now();
    let plan = plan_product(ProductShape::of(&a, &b), config);
    gemm(&plan, &a, &b, &mut out, &Epilogue::residual(residual))?;
    Ok(start.elapsed().as_secs_f64())
}

/// The median.
fn middle(times: &mut [f64]) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The products of one layer in turn, `rounds` times.
fn measure([rows, inputs, outputs]: [usize; 3], weight: Floats<'_>, rounds: usize, config: &KernelConfig, name: &str) {
    let (x, g) = (draw(rows * inputs), draw(rows * outputs));
    let (mut y, mut dx, mut dw) = (vec![0.0; rows * outputs], vec![0.0; rows * inputs], vec![0.0; outputs * inputs]);
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..=rounds {
        let mut run = || -> Result<[f64; 4], GemmError> {
            let (x, g) =
                (Matrix::row_major(Floats::F32(&x), rows, inputs)?, Matrix::row_major(Floats::F32(&g), rows, outputs)?);
            let w = Matrix::row_major(weight, outputs, inputs)?;
            Ok([
                multiply(x, w.transposed(), &mut y, Residual::None, config)?,
                multiply(g, w, &mut dx, Residual::None, config)?,
                multiply(g.transposed(), x, &mut dw, Residual::None, config)?,
                multiply(g.transposed(), x, &mut dw, Residual::Output, config)?,
            ])
        };
        let seconds = run().expect("the operands are as long as their sizes say");
        // The first round maps memory and makes plans.
        if round > 0 {
            times.iter_mut().zip(seconds).for_each(|(times, seconds)| times.push(seconds));
        }
    }
    let flop = 2.0 * rows as f64 * inputs as f64 * outputs as f64;
    let rates = times.map(|mut times| flop / middle(&mut times) / 1e9);
    let shares: Vec<_> = rates.iter().map(|rate| format!("{rate:7.0} {:4.2}", rate / rates[0])).collect();
    println!("{rows:5} x {inputs:5} -> {outputs:5}  {name:22} {}", shares.join("  "));
}

/// The loss of a head by chunks, against the product of its logits.
fn measure_head([rows, width, vocab]: [usize; 3], chunk: usize, rounds: usize, config: &KernelConfig, name: &str) {
    let (x, weight) = (draw(rows * width), draw(vocab * width));
    let targets: Vec<_> = (0..rows).map(|row| Some(row * 7919 % vocab)).collect();
    let (mut dx, mut dw, mut lse) = (vec![0.0; rows * width], vec![0.0; vocab * width], vec![0.0; rows]);
    let mut logits = vec![0.0; chunk * vocab];
    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..=rounds {
        let mut run = || -> Result<[f64; 3], GemmError> {
            let w = Matrix::row_major(Floats::F32(&weight), vocab, width)?;
            let a = Matrix::row_major(Floats::F32(&x), chunk, width)?;
            let product = multiply(a, w.transposed(), &mut logits, Residual::None, config)?;
            let head = Head { hidden: &x, weight: w, targets: &targets };
            let start = Instant::now();
            head_cross_entropy(config, head, chunk, &mut lse, None)?;
            let alone = start.elapsed().as_secs_f64();
            let start = Instant::now();
            let to = HeadGradients { share: 1.0 / rows as f32, hidden: &mut dx, weight: Some(&mut dw), adds: false };
            head_cross_entropy(config, head, chunk, &mut lse, Some(to))?;
            Ok([product, alone, start.elapsed().as_secs_f64()])
        };
        let seconds = run().expect("the operands are as long as their sizes say");
        if round > 0 {
            times.iter_mut().zip(seconds).for_each(|(times, seconds)| times.push(seconds));
        }
    }
    let flop = 2.0 * (width * vocab) as f64 / 1e9;
    let [product, alone, all] = times.map(|mut times| middle(&mut times));
    let rates = [chunk as f64 * flop / product, rows as f64 * flop / alone, 3.0 * rows as f64 * flop / all];
    let shares: Vec<_> = rates.iter().map(|rate| format!("{rate:7.0} {:4.2}", rate / rates[0])).collect();
    println!("{rows:5} x {width:5} -> {vocab:5}  head, {name:16} {}", shares.join("  "));
}

/// Passes over rows of `width`, GB/s.
fn measure_passes(rows: usize, width: usize, rounds: usize, launch: Launch) {
    let x = draw(rows * width);
    let (mut a, mut b, mut c) = (x.clone(), x.clone(), x.clone());
    let mut sums = vec![0.0; width];
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..=rounds {
        let mut seconds = [0.0; 4];
        let mut time = |index: usize, pass: &mut dyn FnMut()| {
            let start = Instant::now();
            pass();
            seconds[index] = start.elapsed().as_secs_f64();
        };
        time(0, &mut || a.copy_from_slice(&b));
        time(1, &mut || column_sums(launch, &x, &mut sums));
        time(2, &mut || {
            activation_backward_with_sums(launch, Activation::GeluTanh, &x, Buffer::InPlace(&mut a), &mut sums);
        });
        time(3, &mut || {
            let [gate, up, dh] = [&mut a, &mut b, &mut c].map(|x| Buffer::InPlace(x));
            silu_mul_backward(launch, gate, up, dh);
        });
        [&mut a, &mut b, &mut c].into_iter().for_each(|to| to.copy_from_slice(&x));
        if round > 0 {
            times.iter_mut().zip(seconds).for_each(|(times, seconds)| times.push(seconds));
        }
    }
    let bytes = (rows * width * size_of::<f32>()) as f64 / 1e9;
    let moved = [2.0, 1.0, 3.0, 6.0];
    let rates: Vec<_> = times
        .into_iter()
        .zip(moved)
        .map(|(mut times, moved)| format!("{:6.1}", moved * bytes / middle(&mut times)))
        .collect();
    println!("{rows:5} x {width:5}  GB/s: copy (one thread), sums, gelu' with sums, silu' and up: {}", rates.join(" "));
}

fn main() {
    let mut numbers =
        std::env::args().skip(1).map(|text| text.parse::<usize>().expect("threads and rounds are numbers"));
    let (threads, rounds) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(9));
    println!("GFLOP/s and share of the forward's, {threads} threads: forward, dx, dW, dW added");
    for shape in SHAPES {
        let master = draw(shape[1] * shape[2]);
        let rounded: Vec<bf16> = master.iter().map(|&x| bf16::from_f32(x)).collect();
        let mut config = KernelConfig::default();
        config.threads.max = Some(threads);
        measure(shape, Floats::F32(&master), rounds, &config, "f32");
        measure(shape, Floats::Bf16(&rounded), rounds, &config, "f32 x bf16");
        config.simd = SimdConfig { bf16_activations: false, ..config.simd };
        measure(shape, Floats::Bf16(&rounded), rounds, &config, "f32 x bf16, unrounded");
        config.simd = SimdConfig { bf16_activations: true, bf16_products: true, ..config.simd };
        measure(shape, Floats::F32(&master), rounds, &config, "f32, rounded");
        measure(shape, Floats::Bf16(&rounded), rounds, &config, "f32 x bf16, rounded");
    }
    println!("logits of one chunk, loss alone, loss with gradients");
    for chunk in [256, 512] {
        let mut config = KernelConfig::default();
        config.threads.max = Some(threads);
        measure_head([512, 2048, 65_536], chunk, rounds.min(3), &config, &format!("f32, {chunk}"));
        config.simd.bf16_products = true;
        measure_head([512, 2048, 65_536], chunk, rounds.min(3), &config, &format!("rounded, {chunk}"));
    }
    for width in [2048, 6144] {
        measure_passes(512, width, rounds, Launch { threads, ..Launch::default() });
    }
}
