//! Gradients of attention: by the kernel where it is on, those of the decorated backend's composition either way, and
//! packed sequences of training as one call.
//!
//! Routes are counted for the process, so the tests of this file run one after the other.

use burn::tensor::{Distribution, Tensor, TensorData, Tolerance};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::routes::{Route, count};
use burn_kiln::{Engine, Kiln};
use burn_kiln_fusion::{
    AttentionGrads, AttentionInputs, AttentionOptions, FusedOps, HeadNorms, KernelConfig, Rotary, RotaryInputs,
    TrainingOps,
};
use burn_ndarray::NdArray;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Tape = Autodiff<Kiln<Flex>>;

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sizes and rules of one attention; what is read are views of `[batch, length, heads, head_dim]`.
#[derive(Debug, Clone, Default)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    head_dim: usize,
    causal: bool,
    softcap: Option<f64>,
    segments: Option<Vec<usize>>,
}

fn shapes() -> Vec<Shape> {
    let text = Shape { heads: 4, kv_heads: 2, queries: 150, keys: 150, head_dim: 64, causal: true, ..Shape::default() };
    vec![
        text.clone(),
        Shape { segments: Some(vec![40, 41, 150]), ..text.clone() },
        Shape { keys: 170, softcap: Some(2.0), ..text.clone() },
        Shape { heads: 3, kv_heads: 3, head_dim: 72, causal: false, segments: Some(vec![70, 150]), ..text.clone() },
        Shape { kv_heads: 4, queries: 1, head_dim: 16, ..text },
    ]
}

/// Numbers of a seed as a view of `[2, length, heads, head_dim]`.
fn draw<B: TrainingOps>(seed: u32, [heads, length, head_dim]: [usize; 3]) -> Tensor<B, 4> {
    let mut state = seed;
    let values = (0..2 * heads * length * head_dim).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    });
    let data = TensorData::new(values.collect::<Vec<_>>(), [2, length, heads, head_dim]);
    Tensor::<B, 4>::from_data(data, &Default::default()).swap_dims(1, 2)
}

fn differentiate<B: TrainingOps>(shape: &Shape, config: &KernelConfig) -> [TensorData; 3] {
    let &Shape { heads, kv_heads, queries, keys, head_dim, causal, softcap, .. } = shape;
    let inputs = AttentionInputs {
        q: draw::<B>(1, [heads, queries, head_dim]),
        k: draw::<B>(2, [kv_heads, keys, head_dim]),
        v: draw::<B>(3, [kv_heads, keys, head_dim]),
    };
    let segments = shape.segments.as_deref().map(Arc::from);
    let options = AttentionOptions { causal, softcap, segments, ..AttentionOptions::default() };
    let forward = B::attention_forward(inputs.clone(), &options, config);
    let grad = draw::<B>(4, [heads, queries, head_dim]);
    let AttentionGrads { q, k, v } = B::attention_backward(inputs, &options, forward, grad, config);
    [q, k, v].map(Tensor::into_data)
}

fn check<B: Engine + TrainingOps>() {
    for shape in shapes() {
        let want = differentiate::<B>(&shape, &KernelConfig::default());
        let (all, none) = (KernelConfig::default(), KernelConfig::none());
        for (config, runs) in [
            (all.clone(), 1),
            (KernelConfig { fusion: none.fusion.clone(), ..all.clone() }, 0),
            (KernelConfig { tiling: none.tiling.clone(), ..all }, 0),
            (none, 0),
        ] {
            let before = count(Route::AttentionBackward);
            let got = differentiate::<Kiln<B>>(&shape, &config);
            assert_eq!(count(Route::AttentionBackward) - before, runs, "{shape:?}, {config:?}");
            for (got, want) in got.iter().zip(&want) {
                got.assert_approx_eq::<f32>(want, Tolerance::rel_abs(1e-4, 2e-5));
            }
        }
    }
}

#[test]
fn gradients_are_those_of_the_composition() {
    let _turn = alone();
    check::<Flex>();
    check::<NdArray>();
}

/// Projections of some positions, `[1, length, width]`.
fn project(length: usize) -> [Tensor<Tape, 3>; 3] {
    [128, 64, 64].map(|width| {
        let x = Tensor::<Tape, 3>::random([1, length, width], Distribution::Uniform(-1.0, 1.0), &Default::default());
        x.require_grad()
    })
}

/// Gradients of projections by the sum of squares of what attention gives.
fn train(rows: &[Tensor<Tape, 3>; 3], lengths: &[usize], rotary: &Rotary<Tape>) -> [Tensor<Kiln<Flex>, 3>; 3] {
    let config = KernelConfig::default();
    let gamma = Tensor::<Tape, 1>::ones([32], &Default::default());
    let norms = HeadNorms { q_gamma: gamma.clone(), k_gamma: gamma, epsilon: 1e-6 };
    let [q, k, v] = rows.clone();
    let inputs = RotaryInputs { q, k, v, head_dim: 32, norms: Some(norms), rotary, lengths };
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let y = Tape::attention_rotary(inputs, &options, Vec::new(), &config);
    let grads = (y.clone() * y).sum().backward();
    rows.each_ref().map(|x| x.grad(&grads).expect("a gradient"))
}

/// Several sequences behind each other train in one call, and each as it does alone.
#[test]
fn packed_sequences_are_one_call() {
    let _turn = alone();
    let lengths = [70, 1, 45];
    let length = lengths.iter().sum();
    let angles = Tensor::<Tape, 3>::random([1, length, 16], Distribution::Uniform(0.0, 6.0), &Default::default());
    let (cos, sin) = (angles.clone().cos(), angles.sin());
    let rows = project(length);
    let before = count(Route::AttentionBackward);
    let packed = train(&rows, &lengths, &Rotary { cos: cos.clone(), sin: sin.clone() });
    assert_eq!(count(Route::AttentionBackward) - before, 1);
    let mut start = 0;
    for length in lengths {
        let part = |x: &Tensor<Tape, 3>| Tensor::<Tape, 3>::from_inner(x.clone().inner().narrow(1, start, length));
        let rotary = Rotary { cos: part(&cos), sin: part(&sin) };
        let single = train(&rows.each_ref().map(|x| part(x).require_grad()), &[length], &rotary);
        for (packed, single) in packed.iter().zip(single) {
            let packed = packed.clone().narrow(1, start, length).into_data();
            packed.assert_approx_eq::<f32>(&single.into_data(), Tolerance::rel_abs(1e-4, 1e-5));
        }
        start += length;
    }
}
