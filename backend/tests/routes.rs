//! A plain Burn model on `Kiln<B>` reaches the kernels, and gives what it gives on `B`.
//!
//! One test a process would see its own counts alone; here counts only grow, so each check asks for an increase.

use burn::module::Module;
use burn::nn::attention::{MhaInput, MultiHeadAttentionConfig};
use burn::nn::{EmbeddingConfig, LayerNormConfig, LinearConfig};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Distribution, Int, Tensor, activation, backend::Backend};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::routes::{Route, count};
use burn_kiln::{Engine, Kiln};
use burn_kiln_fusion::{
    Activation, Epilogue, FusedOps, GatedMlpWeights, KernelConfig, LinearWeights, LossInputs, LossOptions, MoeOptions,
    MoeWeights, Norm, NormKind, TrainingOps, Weight,
};
use burn_ndarray::NdArray;

/// Runs `work` and fails unless `route` ran in it.
fn reaches<T>(route: Route, work: impl FnOnce() -> T) -> T {
    let before = count(route);
    let result = work();
    assert!(count(route) > before, "{route} was not reached");
    result
}

fn random<B: Backend, const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default())
}

/// The same numbers on another backend.
fn on<C: Backend, B: Backend, const D: usize>(x: &Tensor<B, D>) -> Tensor<C, D> {
    Tensor::from_data(x.to_data(), &Default::default())
}

fn assert_close<B: Backend, C: Backend, const D: usize>(a: Tensor<B, D>, b: Tensor<C, D>) {
    a.into_data().assert_approx_eq::<f32>(&b.into_data(), burn::tensor::Tolerance::rel_abs(1e-4, 1e-5));
}

fn plain_modules_reach_kernels<B: Engine>() {
    let device = Default::default();
    let x = random::<Kiln<B>, 3>([2, 7, 32]);

    let linear = LinearConfig::new(32, 48).init::<Kiln<B>>(&device);
    let y = reaches(Route::Linear, || linear.forward(x.clone()));
    let weight = on::<B, _, 2>(&linear.weight.val()).unsqueeze::<3>();
    let bias = on::<B, _, 1>(&linear.bias.as_ref().expect("a bias").val()).unsqueeze::<3>();
    assert_close(y, on::<B, _, 3>(&x).matmul(weight) + bias);

    let norm = LayerNormConfig::new(32).init::<Kiln<B>>(&device);
    let y = reaches(Route::LayerNorm, || norm.forward(x.clone()));
    let (mean, var) = (on::<B, _, 3>(&x).mean_dim(2), on::<B, _, 3>(&x).var_bias(2));
    assert_close(y, (on::<B, _, 3>(&x) - mean) / (var + 1e-5).sqrt());

    let y = reaches(Route::Softmax, || activation::softmax(x.clone(), 2));
    assert_close(y, activation::softmax(on::<B, _, 3>(&x), 2));
    let y = reaches(Route::Softmax, || activation::log_softmax(x.clone(), 1));
    assert_close(y, activation::log_softmax(on::<B, _, 3>(&x), 1));
    let y = reaches(Route::Unary, || burn::nn::Gelu::new().forward(x.clone()));
    assert_close(y, activation::gelu(on::<B, _, 3>(&x)));
    // Fewer elements are left to B.
    let large = random::<Kiln<B>, 3>([2, 32, 32]);
    let y = reaches(Route::Binary, || large.clone() + large.clone());
    assert_close(y, on::<B, _, 3>(&large) * 2.0);
    let y = reaches(Route::Matmul, || x.clone().matmul(x.clone().swap_dims(1, 2)));
    assert_close(y, on::<B, _, 3>(&x).matmul(on::<B, _, 3>(&x).swap_dims(1, 2)));

    let heads = random::<Kiln<B>, 4>([2, 4, 9, 16]);
    let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
    let run = |x: Tensor<Kiln<B>, 4>| attention(x.clone(), x.clone(), x, None, None, options);
    let y = reaches(Route::Attention, || run(heads.clone()));
    let z = on::<B, _, 4>(&heads);
    assert_close(y, attention(z.clone(), z.clone(), z, None, None, options));
}

#[test]
fn plain_modules_reach_kernels_on_flex() {
    plain_modules_reach_kernels::<Flex>();
}

#[test]
fn plain_modules_reach_kernels_on_ndarray() {
    plain_modules_reach_kernels::<NdArray>();
}

/// `nn::MultiHeadAttention` decomposes before it reaches a backend: its products and softmax have kernels all the same.
#[test]
fn multi_head_attention_reaches_products_and_softmax() {
    let device = Default::default();
    let mha = MultiHeadAttentionConfig::new(32, 4).with_dropout(0.0).init::<Kiln<Flex>>(&device);
    let x = random::<Kiln<Flex>, 3>([2, 5, 32]);
    let y = reaches(Route::Linear, || {
        reaches(Route::Matmul, || reaches(Route::Softmax, || mha.forward(MhaInput::self_attn(x.clone())).context))
    });
    assert_eq!(y.dims(), [2, 5, 32]);
    assert!(mha.num_params() > 0);
}

#[test]
fn gradients_reach_the_kernels() {
    type B = burn_autodiff::Autodiff<Kiln<Flex>>;
    let device = Default::default();
    let linear = LinearConfig::new(16, 8).init::<B>(&device);
    let embedding = EmbeddingConfig::new(10, 16).init::<B>(&device);
    let ids = Tensor::<B, 2, burn::tensor::Int>::from_data([[1, 2, 3]], &device);
    let y = linear.forward(embedding.forward(ids));
    let grads = reaches(Route::Matmul, || y.sum().backward());
    assert!(linear.weight.val().grad(&grads).is_some());
}

/// The ops of a transformer that are one kernel each.
#[test]
fn fused_ops_reach_their_kernels() {
    type B = Kiln<Flex>;
    let config = KernelConfig::default();
    let weight = |shape: [usize; 2]| Weight::Plain(random::<B, 2>(shape)).pack(&config);
    let off = KernelConfig { fusion: KernelConfig::none().fusion, ..config.clone() };
    for rows in [1, 20] {
        let x = random::<B, 3>([1, rows, 32]);
        let norm = Norm { kind: NormKind::Rms, gamma: random([32]), beta: None, epsilon: 1e-6 };
        let layers = [48, 16, 16].map(|out| LinearWeights { weight: weight([out, 32]), bias: None });
        let fused = reaches(Route::NormLinears, || B::norm_linears(x.clone(), &norm, layers.clone(), &config));
        let before = count(Route::NormLinears);
        let composed = B::norm_linears(x.clone(), &norm, layers, &off);
        assert_eq!(count(Route::NormLinears), before);
        fused.into_iter().zip(composed).for_each(|(fused, composed)| assert_close(fused, composed));
        let plain = Weight::Plain(random::<B, 2>([24, 32]));
        let fused = reaches(Route::NormLinears, || B::norm_linear(x.clone(), &norm, &plain, None, &config));
        assert_close(fused, B::norm_linear(x.clone(), &norm, &plain, None, &off));

        let mlp = GatedMlpWeights { gate: weight([80, 32]), up: weight([80, 32]), down: weight([32, 80]) };
        let run = || B::mlp_gated(x.clone(), &mlp, Some(x.clone()), &config);
        // Narrow registers take few rows only.
        let fused = if rows == 1 { reaches(Route::GatedMlp, run) } else { run() };
        assert_close(fused, B::mlp_gated(x.clone(), &mlp, Some(x), &off));
    }
}

/// What training puts on a tape reaches the kernels of backward passes.
#[test]
fn backward_passes_reach_kernels() {
    type Inner = Kiln<Flex>;
    type Tape = Autodiff<Inner>;
    let (config, device) = (KernelConfig::default(), Default::default());
    let leaf = |shape: [usize; 2]| Tensor::<Tape, 2>::from_inner(random::<Inner, 2>(shape)).require_grad();
    let frozen = |shape: [usize; 2]| Weight::Plain(Tensor::<Tape, 2>::from_inner(random::<Inner, 2>(shape)));
    let x = leaf([40, 96]);
    let bias = Some(Tensor::<Tape, 1>::ones([64], &device).require_grad());
    let linear = |weight: &Weight<Tape>, activation| {
        let epilogue = Epilogue { bias: bias.clone(), activation, ..Epilogue::default() };
        FusedOps::linear(x.clone(), weight, epilogue, &config).sum()
    };
    let trained = Weight::Plain(leaf([64, 96]));
    let gelu = Some(Activation::GeluTanh);
    reaches(Route::ActivationGradient, || linear(&trained, gelu).backward());
    reaches(Route::WeightGradient, || linear(&trained, None).backward());
    reaches(Route::BiasGradient, || linear(&trained, None).backward());
    let weights = GatedMlpWeights { gate: frozen([80, 96]), up: frozen([80, 96]), down: frozen([96, 80]) };
    reaches(Route::GatedGradient, || Tape::mlp_gated(x.clone(), &weights, None, &config).sum().backward());
    let stack = |shape: [usize; 3]| Tensor::<Tape, 3>::from_inner(random::<Inner, 3>(shape));
    let experts = MoeWeights { router: frozen([4, 96]), gate_up: stack([4, 96, 64]), down: stack([4, 32, 96]) };
    let options = MoeOptions { top_k: 2, norm_topk_prob: true };
    reaches(Route::MoeGradient, || Tape::moe(x.clone(), &experts, options, &config).sum().backward());
    let head = frozen([70, 96]);
    let targets = Tensor::<Tape, 1, Int>::from_data([3; 40], &device);
    let inputs = LossInputs { hidden: x.clone(), weight: &head, targets };
    reaches(Route::HeadLoss, || Tape::lm_head_cross_entropy(inputs, LossOptions::default(), &config).loss.backward());
    // A plain module of Burn.
    reaches(Route::ActivationGradient, || burn::nn::Gelu::new().forward(x.clone()).sum().backward());
}
