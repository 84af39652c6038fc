//! Frozen weights have no gradients: nodes ask for the gradients of their inputs alone. A file, and so a process, of
//! its own: routes are counted for the process.

use burn::tensor::{Distribution, Int, Tensor};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln::routes::{Route, count};
use burn_kiln_fusion::{
    Activation, Epilogue, FusedOps, GatedMlpWeights, KernelConfig, LossInputs, LossOptions, Norm, NormKind,
    PlainMlpWeights, TrainingOps, Weight,
};

type Inner = Kiln<Flex>;
type Tape = Autodiff<Inner>;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<Tape, D> {
    Tensor::from_inner(Tensor::<Inner, D>::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default()))
}

fn frozen(shape: [usize; 2]) -> Weight<Tape> {
    Weight::Plain(random(shape))
}

#[test]
fn frozen_weights_have_no_gradients() {
    let config = KernelConfig::default();
    let x = random([40, 96]).require_grad();
    let (weight, bias) = (frozen([96, 96]), Some(random([96])));
    let linear = |x: Tensor<Tape, 2>, activation| {
        let epilogue = Epilogue { bias: bias.clone(), activation, ..Epilogue::default() };
        FusedOps::linear(x, &weight, epilogue, &config)
    };
    let gated = GatedMlpWeights { gate: frozen([80, 96]), up: frozen([80, 96]), down: frozen([96, 80]) };
    let plain = PlainMlpWeights {
        fc1: frozen([80, 96]),
        fc1_bias: Some(random([80])),
        fc2: frozen([96, 80]),
        fc2_bias: Some(random([96])),
        activation: Activation::GeluErf,
    };
    let norm = Norm { kind: NormKind::Rms, gamma: random([96]), beta: None, epsilon: 1e-6 };
    let targets = Tensor::<Tape, 1, Int>::from_data([3; 40], &Default::default());
    let gradients = [Route::WeightGradient, Route::BiasGradient];
    let before = gradients.map(count);

    let y = linear(linear(x.clone(), Some(Activation::Silu)), None);
    let y = Tape::mlp_gated(y, &gated, None, &config);
    let y = Tape::mlp_plain(y, &plain, None, &config);
    let y = Tape::norm_linear(y, &norm, &weight, bias.clone(), &config);
    let inputs = LossInputs { hidden: y, weight: &frozen([70, 96]), targets };
    let grads = Tape::lm_head_cross_entropy(inputs, LossOptions::default(), &config).loss.backward();
    assert!(x.grad(&grads).is_some());
    assert_eq!(gradients.map(count), before, "products or sums for frozen weights");
    assert!(count(Route::HeadLoss) > 0 && count(Route::GatedGradient) > 0 && count(Route::ActivationGradient) > 0);
}
