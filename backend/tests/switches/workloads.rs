//! What is run under a configuration: tensor ops as a user calls them in its scope, fused ops as a model calls them.

use burn::tensor::{DType, Distribution, Int, Tensor, activation};
use burn_flex::Flex;
use burn_kiln::{Kiln, OptimizationConfig};
use burn_kiln_fusion::{
    Activation, AdamWOptions, AdamWState, AddNormForward, AttentionInputs, AttentionOptions, Epilogue, FusedOps,
    GatedMlpForward, GatedMlpWeights, HeadNorms, LinearWeights, LossInputs, LossOptions, MoeOptions, MoeWeights, Norm,
    NormKind, PlainMlpWeights, QueryKey, Rotary, RotaryInputs, TrainingOps, Weight,
};
use kiln_kernels::memory::{Pool, PooledBytes};
use kiln_kernels::planning::{forget_plans, plan_file};

type B = Kiln<Flex>;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default())
}

fn ones(d: usize) -> Tensor<B, 1> {
    Tensor::ones([d], &Default::default())
}

fn packed(shape: [usize; 2], config: &OptimizationConfig) -> Weight<B> {
    Weight::Plain(random(shape)).pack(&config.kernels())
}

/// On two threads, whatever the machine has.
pub fn on_two_threads(work: impl FnOnce() + Send) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool of two threads");
    pool.install(work);
}

pub fn matmul(config: &OptimizationConfig) {
    config.scope(|| drop(random([96, 96]).matmul(random([96, 96]))));
}

/// A weight of many rows against few rows, and against many, in packed blocks.
pub fn linear(config: &OptimizationConfig) {
    let weight = packed([1024, 600], config);
    for rows in [2, 168] {
        drop(<B as FusedOps>::linear(random([rows, 600]), &weight, Epilogue::default(), &config.kernels()));
    }
}

/// A product whose plan nobody has yet; it is measured in a few milliseconds.
pub fn planned(config: &OptimizationConfig) {
    forget_plans();
    if let Some(folder) = &config.planning.folder {
        // There is none before the first measurement.
        let _ = std::fs::remove_file(plan_file(Some(folder)).expect("a folder was given"));
    }
    let weight = Weight::Plain(random([64, 200]));
    drop(<B as FusedOps>::linear(random([96, 200]), &weight, Epilogue::default(), &config.kernels()));
}

/// Activations of f32 against a weight of bf16.
pub fn bf16_weight(config: &OptimizationConfig) {
    let weight = Weight::Plain(random([96, 128]).cast(DType::BF16)).pack(&config.kernels());
    drop(<B as FusedOps>::linear(random([40, 128]), &weight, Epilogue::default(), &config.kernels()));
}

pub fn linear_with_epilogue(config: &OptimizationConfig) {
    let epilogue = Epilogue { bias: Some(ones(96)), ..Epilogue::residual(random([64, 96])) };
    drop(<B as FusedOps>::linear(random([64, 96]), &packed([96, 96], config), epilogue, &config.kernels()));
}

/// Heads against themselves.
pub fn attention(config: &OptimizationConfig) {
    attend(random([1, 4, 256, 64]), random([1, 2, 256, 64]), config);
}

/// Heads against themselves, and their gradients.
pub fn attention_backward(config: &OptimizationConfig) {
    let (q, k, kernels) = (random([1, 4, 256, 64]), random([1, 2, 256, 64]), config.kernels());
    let (inputs, options) = (AttentionInputs { q: q.clone(), v: k.clone(), k }, AttentionOptions::default());
    let forward = B::attention_forward(inputs.clone(), &options, &kernels);
    drop(B::attention_backward(inputs, &options, forward, q, &kernels));
}

/// One position against the keys of one head.
pub fn decode_attention(config: &OptimizationConfig) {
    attend(random([1, 4, 1, 64]), random([1, 1, 3000, 64]), config);
}

fn attend(q: Tensor<B, 4>, k: Tensor<B, 4>, config: &OptimizationConfig) {
    let inputs = AttentionInputs { q, v: k.clone(), k };
    drop(<B as FusedOps>::attention(inputs, &AttentionOptions::default(), None, &config.kernels()));
}

fn angles(length: usize) -> Rotary<B> {
    Rotary { cos: random([1, length, 16]), sin: random([1, length, 16]) }
}

fn head_norms() -> HeadNorms<B> {
    HeadNorms { q_gamma: ones(32), k_gamma: ones(32), epsilon: 1e-6 }
}

/// From projections to the rows of the output projection.
pub fn attention_rotary(config: &OptimizationConfig) {
    let rotary = angles(40);
    let [q, k, v] = [128, 64, 64].map(|width| random([1, 40, width]));
    let inputs = RotaryInputs { q, k, v, head_dim: 32, norms: Some(head_norms()), rotary: &rotary, lengths: &[40] };
    drop(B::attention_rotary(inputs, &AttentionOptions::default(), Vec::new(), &config.kernels()));
}

pub fn heads(config: &OptimizationConfig) {
    let heads = QueryKey { q: random([1, 4, 40, 32]), k: random([1, 2, 40, 32]) };
    drop(B::qk_norm_rope(heads, head_norms(), &angles(40), &config.kernels()));
}

/// One row, which narrow registers take too.
pub fn mlp(config: &OptimizationConfig) {
    let [gate, up, down] = [[80, 32], [80, 32], [32, 80]].map(|shape| packed(shape, config));
    drop(B::mlp_gated(random([1, 1, 32]), &GatedMlpWeights { gate, up, down }, None, &config.kernels()));
}

pub fn norm_linears(config: &OptimizationConfig) {
    let norm = Norm { kind: NormKind::Rms, gamma: ones(32), beta: None, epsilon: 1e-6 };
    let layers = [48, 16, 16].map(|out| LinearWeights { weight: packed([out, 32], config), bias: None });
    drop(B::norm_linears(random([1, 20, 32]), &norm, layers, &config.kernels()));
}

pub fn moe(config: &OptimizationConfig) {
    let weights =
        MoeWeights { router: Weight::Plain(random([4, 32])), gate_up: random([4, 32, 96]), down: random([4, 48, 32]) };
    drop(B::moe(random([6, 32]), &weights, MoeOptions { top_k: 2, norm_topk_prob: true }, &config.kernels()));
}

pub fn add_norm(config: &OptimizationConfig) {
    drop(B::add_norm(random([8, 4096]), random([8, 4096]), ones(4096), 1e-6, &config.kernels()));
}

/// Rows that a first-level cache does not hold twice.
pub fn norms(config: &OptimizationConfig) {
    let kernels = config.kernels();
    drop(<B as FusedOps>::layer_norm(random([8, 16_384]), ones(16_384), Some(ones(16_384)), 1e-6, &kernels));
    drop(B::rms_norm(random([8, 16_384]), ones(16_384), 1e-6, &kernels));
}

pub fn softmax(config: &OptimizationConfig) {
    config.scope(|| drop(activation::softmax(random([64, 512]), 0)));
}

/// Rows whose results no cache holds: kernels that write them past the caches prefetch what they read.
fn large(dtype: DType) -> Tensor<B, 2> {
    let bytes = 40 << 20;
    Tensor::<B, 2>::ones([bytes / dtype.size() / 4096, 4096], &Default::default()).cast(dtype)
}

pub fn streamed_norms(config: &OptimizationConfig) {
    let (x, kernels) = (large(DType::F32), config.kernels());
    drop(<B as FusedOps>::layer_norm(x.clone(), ones(4096), None, 1e-6, &kernels));
    drop(B::rms_norm(x.clone(), ones(4096), 1e-6, &kernels));
}

pub fn streamed_softmax(config: &OptimizationConfig) {
    let x = large(DType::F32);
    config.scope(|| drop(activation::softmax(x.clone(), 1)));
}

/// Of 16 bits: those of f32 are the hardware's to prefetch.
pub fn streamed_activation(config: &OptimizationConfig) {
    let x = large(DType::BF16);
    config.scope(|| drop(activation::gelu(x.clone())));
}

pub fn elementwise(config: &OptimizationConfig) {
    config.scope(|| {
        let x = random([512, 512]);
        drop((x.clone() + x.clone(), x.clone() * 2.0, activation::gelu(x)));
    });
}

pub fn silu_mul(config: &OptimizationConfig) {
    // Rows that have no gated product of plain weights.
    let [gate, up, down] = [[80, 32], [80, 32], [32, 80]].map(|shape| Weight::Plain(random(shape)));
    drop(B::mlp_gated(random([1, 20, 32]), &GatedMlpWeights { gate, up, down }, None, &config.kernels()));
}

pub fn embedding(config: &OptimizationConfig) {
    let ids = Tensor::<B, 2, Int>::from_data([[1, 3, 5]], &Default::default());
    drop(B::embedding(&Weight::Plain(random([8, 32])), ids, &config.kernels()));
}

/// Forwards that keep what their backward needs, and backward passes.
pub fn norm_gradients(config: &OptimizationConfig) {
    let (x, grad, kernels) = (random([8, 16_384]), random([8, 16_384]), config.kernels());
    let gamma = ones(16_384);
    let forward = B::rms_norm_forward(x.clone(), gamma.clone(), 1e-6, &kernels);
    drop(B::rms_norm_backward(x.clone(), gamma.clone(), forward.rstd, grad.clone(), &kernels));
    let forward = B::layer_norm_forward(x.clone(), gamma.clone(), None, 1e-6, &kernels);
    drop(<B as TrainingOps>::layer_norm_backward(x, gamma, forward, grad, &kernels));
}

pub fn add_norm_gradients(config: &OptimizationConfig) {
    let [sum, normed, grad] = [0; 3].map(|_| random([8, 4096]));
    let forward = AddNormForward { sum, normed, rstd: random([8, 1]) };
    drop(B::add_norm_backward(forward, ones(4096), Some(grad.clone()), grad, &config.kernels()));
}

/// Whose gradients no cache holds.
pub fn streamed_norm_gradients(config: &OptimizationConfig) {
    let x = large(DType::F32);
    let rstd = Tensor::ones([x.dims()[0], 1], &Default::default());
    let forward = AddNormForward { sum: x.clone(), normed: x.clone(), rstd };
    drop(B::add_norm_backward(forward, ones(4096), Some(x.clone()), x, &config.kernels()));
}

pub fn rope_gradients(config: &OptimizationConfig) {
    drop(B::rope_backward(random([1, 4, 40, 32]), &angles(40), &config.kernels()));
}

pub fn head_gradients(config: &OptimizationConfig) {
    let heads = QueryKey { q: random([1, 4, 40, 32]), k: random([1, 2, 40, 32]) };
    let grads = QueryKey { q: random([1, 4, 40, 32]), k: random([1, 2, 40, 32]) };
    drop(B::qk_norm_rope_backward(heads, head_norms(), &angles(40), grads, &config.kernels()));
}

pub fn embedding_gradients(config: &OptimizationConfig) {
    let ids = || Tensor::<B, 2, Int>::from_data([[1, 3, 3]], &Default::default());
    let (grad, kernels) = (random([1, 3, 32]), config.kernels());
    let table = B::embedding_backward(&Weight::Plain(random([8, 32])), ids(), grad.clone(), &kernels);
    drop(B::add_embedding_backward(table, ids(), grad.clone(), &kernels));
    drop(B::embedding_backward_rows(ids(), grad, &kernels));
}

/// A clipped step, of all elements and of some rows.
pub fn optimiser(config: &OptimizationConfig) {
    let (parameter, grad, kernels) = (random([8, 32]), random([8, 32]), config.kernels());
    let squares = B::sum_of_squares(grad.clone(), &kernels).into_scalar();
    let options = AdamWOptions { grad_scale: 1.0 / f64::from(squares.sqrt()), ..AdamWOptions::default() };
    let state = AdamWState::new(&parameter);
    let (parameter, state) = B::adamw_step(parameter, grad, state, options, &kernels);
    let ids = Tensor::<B, 2, Int>::from_data([[1, 3, 3]], &Default::default());
    let rows = B::embedding_backward_rows(ids, random([1, 3, 32]), &kernels);
    drop(B::adamw_step_rows(parameter, rows, state, AdamWOptions { step: 2, ..options }, &kernels));
}

/// Everything that kernels share out to threads.
pub fn shared_out(config: &OptimizationConfig) {
    let config = config.clone();
    on_two_threads(move || {
        for work in [linear, attention, decode_attention, norms, norm_gradients, elementwise] {
            work(&config);
        }
        config.scope(|| drop(activation::softmax(random([256, 4096]), 1)));
    });
}

/// Attention whose keys two threads may share.
pub fn split_keys(config: &OptimizationConfig) {
    let config = config.clone();
    on_two_threads(move || decode_attention(&config));
}

/// Results of 1 MiB, one after the other, in a pool that begins empty.
pub fn buffers(config: &OptimizationConfig) {
    config.apply_to_process();
    Pool::global().trim();
    // Threads of other rows let go of what they have at hand when they next take a buffer.
    rayon::broadcast(|_| drop(PooledBytes::take(1)));
    for _ in 0..4 {
        config.scope(|| drop(random([512, 512]).matmul(random([512, 512]))));
    }
    let stats = Pool::global().stats();
    assert!(stats.held <= stats.cap, "{stats:?}");
    OptimizationConfig::default().apply_to_process();
}

/// Both products, with an activation and a bias before them.
pub fn linear_backward(config: &OptimizationConfig) {
    let (x, weight, grad) = (random([40, 96]), Weight::Plain(random([64, 96])), random([40, 64]));
    let activation = Some((Activation::GeluTanh, random([40, 64])));
    drop(B::linear_backward(x, &weight, activation, grad, &config.kernels()));
}

pub fn mlp_plain_backward(config: &OptimizationConfig) {
    let weights = PlainMlpWeights {
        fc1: Weight::Plain(random([80, 32])),
        fc1_bias: Some(ones(80)),
        fc2: Weight::Plain(random([32, 80])),
        fc2_bias: Some(ones(32)),
        activation: Activation::GeluErf,
    };
    let kernels = config.kernels();
    drop(B::mlp_plain_backward(random([20, 32]), &weights, random([20, 80]), random([20, 32]), &kernels));
}

pub fn mlp_gated_backward(config: &OptimizationConfig) {
    let [gate, up, down] = [[80, 32], [80, 32], [32, 80]].map(|shape| Weight::Plain(random(shape)));
    let forward = GatedMlpForward { output: random([20, 32]), gate: random([20, 80]), up: random([20, 80]) };
    let weights = GatedMlpWeights { gate, up, down };
    drop(B::mlp_gated_backward(random([20, 32]), &weights, forward, random([20, 32]), &config.kernels()));
}

pub fn moe_backward(config: &OptimizationConfig) {
    let weights =
        MoeWeights { router: Weight::Plain(random([4, 32])), gate_up: random([4, 32, 96]), down: random([4, 48, 32]) };
    let options = MoeOptions { top_k: 2, norm_topk_prob: true };
    drop(B::moe_backward(random([6, 32]), &weights, options, random([6, 32]), &config.kernels()));
}

pub fn head_loss(config: &OptimizationConfig) {
    let weight = Weight::Plain(random([70, 32]));
    let targets = Tensor::<B, 1, Int>::from_data([3, -100, 69], &Default::default());
    let inputs = LossInputs { hidden: random([3, 32]), weight: &weight, targets };
    drop(B::lm_head_cross_entropy_differentiated(inputs, true, LossOptions::default(), &config.kernels()));
}
