//! Which configuration the plain Burn ops inside of a fused op obey: that of the op, in its forward and in its
//! backward, wherever `.backward()` is called.
//!
//! Routes are counted for the process, so the tests of this file run one after the other.

use burn::tensor::{Distribution, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln::routes::{Route, count};
use burn_kiln_fusion::{
    Activation, AttentionInputs, AttentionOptions, Epilogue, FusedOps, GatedMlpWeights, KernelConfig, LossInputs,
    LossOptions, MoeOptions, MoeWeights, TrainingOps, Weight,
};
use std::sync::{Mutex, MutexGuard, PoisonError};

type Inner = Kiln<Flex>;
type Tape = Autodiff<Inner>;

/// Wide enough that arithmetic on a row block pays its kernel.
const HIDDEN: usize = 96;
const TOKENS: usize = 48;

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The routes of a section's kernels.
fn section(name: &str) -> Vec<Route> {
    match name {
        "tiling" => vec![
            Route::Matmul,
            Route::Linear,
            Route::WeightGradient,
            Route::Attention,
            Route::AttentionBackward,
            Route::HeadLoss,
            Route::MoeGradient,
        ],
        "blocking" => vec![
            Route::Softmax,
            Route::LayerNorm,
            Route::LayerNormBackward,
            Route::RmsNorm,
            Route::RmsNormBackward,
            Route::AddNorm,
            Route::AddNormBackward,
            Route::HeadLoss,
            Route::MoeGradient,
        ],
        "simd" => vec![
            Route::Unary,
            Route::ActivationGradient,
            Route::BiasGradient,
            Route::Binary,
            Route::Gated,
            Route::GatedGradient,
            Route::Rope,
            Route::RopeBackward,
            Route::Embedding,
            Route::EmbeddingBackward,
            Route::MoeGradient,
            Route::AdamW,
            Route::SumOfSquares,
        ],
        _ => unreachable!("a section of kernels"),
    }
}

/// The default without one section.
fn without(name: &str) -> KernelConfig {
    let (mut config, none) = (KernelConfig::default(), KernelConfig::none());
    match name {
        "tiling" => config.tiling = none.tiling,
        "blocking" => config.blocking = none.blocking,
        "simd" => config.simd = none.simd,
        _ => unreachable!("a section of kernels"),
    }
    config
}

fn runs(routes: &[Route]) -> u64 {
    routes.iter().map(|&route| count(route)).sum()
}

/// Draws of fixed seeds: the same numbers in every call.
struct Draw(u32);

impl Draw {
    fn tensor<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<Tape, D> {
        let values = (0..shape.iter().product::<usize>()).map(|_| {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        let data = TensorData::new(values.collect::<Vec<_>>(), shape);
        Tensor::<Tape, D>::from_data(data, &Default::default()).require_grad()
    }
}

/// A loss over most of the ops that have a node, built under `config`, and the leaf that it is differentiated by.
fn build_loss(config: &KernelConfig) -> (Tensor<Tape, 2>, Tensor<Tape, 1>) {
    let mut draw = Draw(1);
    let leaf = draw.tensor([TOKENS, HIDDEN]);
    let mut weight = |shape| Weight::Plain(draw.tensor(shape));
    let fc = weight([HIDDEN, HIDDEN]);
    let mlp = GatedMlpWeights {
        gate: weight([2 * HIDDEN, HIDDEN]),
        up: weight([2 * HIDDEN, HIDDEN]),
        down: weight([HIDDEN, 2 * HIDDEN]),
    };
    let head = weight([64, HIDDEN]);
    let router = weight([4, HIDDEN]);
    let moe =
        MoeWeights { router, gate_up: draw.tensor([4, HIDDEN, 2 * HIDDEN]), down: draw.tensor([4, HIDDEN, HIDDEN]) };
    let gamma = draw.tensor([HIDDEN]);
    let both = Tape::add_norm(leaf.clone(), leaf.clone(), gamma.clone(), 1e-6, config);
    let epilogue = Epilogue { activation: Some(Activation::GeluTanh), ..Epilogue::default() };
    let x = <Tape as FusedOps>::linear(both.normed, &fc, epilogue, config);
    let x = Tape::mlp_gated(x, &mlp, Some(both.sum), config);
    let heads = x.clone().reshape([1, TOKENS, 4, HIDDEN / 4]).swap_dims(1, 2);
    let inputs = AttentionInputs { q: heads.clone(), k: heads.clone(), v: heads };
    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let x = <Tape as FusedOps>::attention(inputs, &options, None, config).swap_dims(1, 2).reshape([TOKENS, HIDDEN]);
    let x = Tape::moe(x, &moe, MoeOptions { top_k: 2, norm_topk_prob: true }, config);
    let x = <Tape as FusedOps>::layer_norm(x, gamma, None, 1e-6, config);
    let targets = Tensor::arange(0..TOKENS as i64, &Default::default());
    let inputs = LossInputs { hidden: x, weight: &head, targets };
    let loss = Tape::lm_head_cross_entropy(inputs, LossOptions { chunk: 16, ..LossOptions::default() }, config).loss;
    (leaf, loss)
}

/// Burn's own nodes between the fused ones take the scope of whoever calls `.backward()`: here they are reshapes, which
/// have no kernel.
#[test]
fn a_backward_runs_under_the_configuration_of_its_forward() {
    let _turn = alone();
    for name in ["tiling", "blocking", "simd"] {
        let routes = section(name);
        let before = runs(&routes);
        let (leaf, loss) = build_loss(&without(name));
        assert_eq!(runs(&routes), before, "a forward without {name} reached its kernels");
        let grads = loss.backward();
        assert_eq!(runs(&routes), before, "a backward without {name} reached its kernels");
        assert!(leaf.grad(&grads).is_some());

        let (_, loss) = build_loss(&KernelConfig::default());
        let before = runs(&routes);
        assert!(before > 0, "no forward reached the kernels of {name}");
        loss.backward();
        assert!(runs(&routes) > before, "no backward reached the kernels of {name}");
    }
}

/// The whole pass on a pool of so many threads, outside of any scope.
fn differentiate(threads: usize) -> Vec<u32> {
    let config = KernelConfig { deterministic: true, ..KernelConfig::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    pool.install(|| {
        let (leaf, loss) = build_loss(&config);
        let grads = loss.backward();
        let data = leaf.grad(&grads).expect("a gradient").into_data();
        data.iter::<f32>().map(f32::to_bits).collect()
    })
}

#[test]
fn a_deterministic_backward_gives_the_same_bits_on_any_number_of_threads() {
    let _turn = alone();
    assert_eq!(differentiate(1), differentiate(2));
}

/// Ops of the default compositions, called with a configuration outside of any scope.
#[test]
fn a_composition_runs_under_the_configuration_of_its_op() {
    let _turn = alone();
    let device = Default::default();
    let x = Tensor::<Inner, 2>::random([TOKENS, HIDDEN], Distribution::Default, &device);
    let gamma = Tensor::<Inner, 1>::ones([HIDDEN], &device);
    let weight = Weight::Plain(Tensor::random([HIDDEN, HIDDEN], Distribution::Default, &device));
    let counted = |config: &KernelConfig| {
        let before = runs(&[Route::Binary, Route::Matmul, Route::Unary]);
        // Without blocked norms these are arithmetic; without a fused epilogue so is the sum behind the product.
        Inner::rms_norm(x.clone(), gamma.clone(), 1e-6, config);
        <Inner as FusedOps>::linear(x.clone(), &weight, Epilogue::residual(x.clone()), config);
        Inner::linear_backward(x.clone(), &weight, None, x.clone(), config);
        runs(&[Route::Binary, Route::Matmul, Route::Unary]) - before
    };
    let composed = KernelConfig { fusion: KernelConfig::none().fusion, ..without("blocking") };
    assert!(counted(&composed) > 0);
    assert_eq!(counted(&KernelConfig::none()), 0);
}
