//! A transformer block over plain `Vec<f32>`: normalises, multiplies and attends, without any tensor library.
//!
//! ```text
//! h   = x + Wo · attention(Wqkv · rms_norm(x))
//! out = h + Wdown · gelu(Wup · rms_norm(h))
//! ```
//!
//! Weights are packed once, then each product takes bias, activation and residual along in its store. Every step is
//! checked against naive loops in f64. `cargo run -p kiln-kernels --example transformer_block`

use kiln_kernels::attention::{AttentionOptions, attention};
use kiln_kernels::gemm::{Epilogue, GemmError, Matrix, OutMatrix, PackedMatrix, Residual, gemm_packed};
use kiln_kernels::norm::{NormRows, Normed, RmsNorm, rms_norm};
use kiln_kernels::planning::{Layout, ProductShape, plan_product};
use kiln_kernels::rope::Heads;
use kiln_kernels::{Activation, ElementType, Floats, FloatsMut, KernelConfig, Launch};

const TOKENS: usize = 48;
const HEADS: usize = 4;
const HEAD_DIM: usize = 32;
const HIDDEN: usize = HEADS * HEAD_DIM;
const INTERMEDIATE: usize = 4 * HIDDEN;
const EPSILON: f64 = 1e-6;

/// A weight `[outputs, inputs]`, as a checkpoint has it and as the kernels read it.
struct Weight {
    rows: Vec<f32>,
    packed: PackedMatrix,
}

impl Weight {
    fn random(launch: Launch, [outputs, inputs]: [usize; 2], seed: u32) -> Result<Self, GemmError> {
        let rows = random(outputs * inputs, seed);
        let packed = PackedMatrix::pack(launch, Floats::F32(&rows), [outputs, inputs])?;
        Ok(Self { rows, packed })
    }

    /// `out = epilogue(x · Wᵀ)` for `x` `[rows, inputs]`, by the plan for this shape.
    fn apply(
        &self,
        config: &KernelConfig,
        x: &[f32],
        out: &mut [f32],
        epilogue: &Epilogue<'_>,
    ) -> Result<(), GemmError> {
        let (n, k) = (self.packed.n(), self.packed.k());
        let m = x.len() / k;
        let shape = ProductShape { m, n, k, a: ElementType::F32, b: ElementType::F32, layout: Layout::Packed };
        let plan = plan_product(shape, config);
        println!("  [{m}, {k}] x [{k}, {n}]: {plan:?}");
        let a = Matrix::row_major(Floats::F32(x), m, k)?;
        let mut c = OutMatrix::row_major(FloatsMut::F32(out), m, n)?;
        gemm_packed(&plan, &a, &self.packed, &mut c, epilogue)
    }
}

/// The block's weights.
struct Block {
    gammas: [Vec<f32>; 2],
    qkv: Weight,
    output: Weight,
    up: Weight,
    down: Weight,
}

fn main() -> Result<(), GemmError> {
    let config = KernelConfig::default();
    let launch = Launch::from(&config);
    println!("{launch:?}");
    let block = Block {
        gammas: [random(HIDDEN, 1), random(HIDDEN, 2)],
        qkv: Weight::random(launch, [3 * HIDDEN, HIDDEN], 3)?,
        output: Weight::random(launch, [HIDDEN, HIDDEN], 4)?,
        up: Weight::random(launch, [INTERMEDIATE, HIDDEN], 5)?,
        down: Weight::random(launch, [HIDDEN, INTERMEDIATE], 6)?,
    };
    let x = random(TOKENS * HIDDEN, 7);
    let out = block.run(&config, &x)?;
    let want = block.run_naive(&x);
    let scale = want.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    let error = out.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs()).fold(0.0, f64::max);
    println!("{TOKENS} tokens of {HIDDEN}: first {:?}, largest {scale:.3}, largest error {error:.1e}", &out[..3]);
    assert!(error <= 1e-5 * scale, "an error of {error} where numbers reach {scale}");
    Ok(())
}

impl Block {
    fn run(&self, config: &KernelConfig, x: &[f32]) -> Result<Vec<f32>, GemmError> {
        let launch = Launch::from(config);
        let mut normed = vec![0.0; TOKENS * HIDDEN];
        let mut qkv = vec![0.0; TOKENS * 3 * HIDDEN];
        self.normalize(launch, 0, x, &mut normed);
        self.qkv.apply(config, &normed, &mut qkv, &Epilogue::default())?;
        // Heads are read from the projection in its own layout: [tokens, 3, heads, head_dim].
        let heads = |part: usize| Heads {
            data: Floats::F32(&qkv[part * HIDDEN..]),
            batch: 1,
            heads: HEADS,
            length: TOKENS,
            head_dim: HEAD_DIM,
            strides: [0, HEAD_DIM, 3 * HIDDEN],
        };
        let scale = 1.0 / (HEAD_DIM as f32).sqrt();
        let options = AttentionOptions { causal: true, by_position: true, ..AttentionOptions::new(scale) };
        let mut attended = vec![0.0; TOKENS * HIDDEN];
        attention(launch, [heads(0), heads(1), heads(2)], &options, FloatsMut::F32(&mut attended), None);
        // h begins as x, and the product adds to it.
        let mut h = x.to_vec();
        self.output.apply(config, &attended, &mut h, &Epilogue::residual(Residual::Output))?;
        self.normalize(launch, 1, &h, &mut normed);
        let mut middle = vec![0.0; TOKENS * INTERMEDIATE];
        let gelu = Epilogue { activation: Some(Activation::GeluTanh), ..Epilogue::default() };
        self.up.apply(config, &normed, &mut middle, &gelu)?;
        self.down.apply(config, &middle, &mut h, &Epilogue::residual(Residual::Output))?;
        Ok(h)
    }

    fn normalize(&self, launch: Launch, which: usize, x: &[f32], out: &mut [f32]) {
        let norm = RmsNorm { gamma: Floats::F32(&self.gammas[which]), epsilon: EPSILON };
        rms_norm(launch, norm, NormRows::contiguous(Floats::F32(x), HIDDEN), Normed::only(FloatsMut::F32(out)));
    }

    /// The same by definition, in f64.
    fn run_naive(&self, x: &[f32]) -> Vec<f64> {
        let x: Vec<f64> = x.iter().map(|&x| x.into()).collect();
        let qkv = multiply(&normalize(&x, &self.gammas[0]), &self.qkv.rows, HIDDEN);
        let mut attended = vec![0.0; TOKENS * HIDDEN];
        for head in 0..HEADS {
            let at = |token: usize, part: usize| &qkv[(token * 3 + part) * HIDDEN + head * HEAD_DIM..][..HEAD_DIM];
            for query in 0..TOKENS {
                let score = |key| dot(at(query, 0), at(key, 1)) / (HEAD_DIM as f64).sqrt();
                let weights: Vec<f64> = (0..=query).map(|key| score(key).exp()).collect();
                let total: f64 = weights.iter().sum();
                for e in 0..HEAD_DIM {
                    let sum: f64 = weights.iter().enumerate().map(|(key, weight)| weight * at(key, 2)[e]).sum();
                    attended[query * HIDDEN + head * HEAD_DIM + e] = sum / total;
                }
            }
        }
        let h: Vec<f64> = add(&x, &multiply(&attended, &self.output.rows, HIDDEN));
        let mut middle = multiply(&normalize(&h, &self.gammas[1]), &self.up.rows, HIDDEN);
        for x in &mut middle {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (*x + 0.044715 * x.powi(3));
            *x = *x / 2.0 * (1.0 + inner.tanh());
        }
        add(&h, &multiply(&middle, &self.down.rows, INTERMEDIATE))
    }
}

/// `[rows, k] · [n, k]ᵀ`.
fn multiply(x: &[f64], weight: &[f32], k: usize) -> Vec<f64> {
    let row = |x: &[f64]| -> Vec<f64> {
        weight.chunks_exact(k).map(|w| x.iter().zip(w).map(|(x, &w)| x * f64::from(w)).sum()).collect()
    };
    x.chunks_exact(k).flat_map(row).collect()
}

fn normalize(x: &[f64], gamma: &[f32]) -> Vec<f64> {
    let row = |row: &[f64]| -> Vec<f64> {
        let rstd = 1.0 / (dot(row, row) / row.len() as f64 + EPSILON).sqrt();
        row.iter().zip(gamma).map(|(x, &gamma)| x * rstd * f64::from(gamma)).collect()
    };
    x.chunks_exact(gamma.len()).flat_map(row).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// `len` numbers of -1/4 to 1/4 without a pattern.
fn random(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761);
    let draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 / 2.0 - 0.25
    };
    std::iter::repeat_with(draw).take(len).collect()
}
