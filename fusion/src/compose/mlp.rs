//! Feed-forward blocks.

use super::activation;
use super::linear::input_gradient;
use crate::{
    Activation, AddNorm, Epilogue, FusedOps, GatedMlpForward, GatedMlpGrads, GatedMlpWeights, KernelConfig,
    LinearForward, PlainMlpForward, PlainMlpGrads, PlainMlpWeights, RmsWeights, TrainingOps,
};
use burn_tensor::Tensor;

/// Default of [`FusedOps::mlp_gated`].
pub fn mlp_gated<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    weights: &GatedMlpWeights<B>,
    residual: Option<Tensor<B, D>>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    let gate = FusedOps::linear(x.clone(), &weights.gate, Epilogue::default(), config);
    let up = FusedOps::linear(x, &weights.up, Epilogue::default(), config);
    let hidden = B::silu(gate, config) * up;
    FusedOps::linear(hidden, &weights.down, Epilogue { residual, ..Epilogue::default() }, config)
}

/// Default of [`FusedOps::add_norm_mlp_gated`]: [`FusedOps::add_norm`], then [`FusedOps::mlp_gated`].
pub fn add_norm_mlp_gated<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    residual: Tensor<B, D>,
    norm: &RmsWeights<B>,
    weights: &GatedMlpWeights<B>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    let AddNorm { sum, normed } = B::add_norm(x, residual, norm.gamma.clone(), norm.epsilon, config);
    B::mlp_gated(normed, weights, Some(sum), config)
}

/// Default of [`TrainingOps::mlp_gated_forward`].
pub fn mlp_gated_forward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    weights: &GatedMlpWeights<B>,
    residual: Option<Tensor<B, D>>,
    config: &KernelConfig,
) -> GatedMlpForward<B, D> {
    let gate = FusedOps::linear(x.clone(), &weights.gate, Epilogue::default(), config);
    let up = FusedOps::linear(x, &weights.up, Epilogue::default(), config);
    let hidden = B::silu(gate.clone(), config) * up.clone();
    let output = FusedOps::linear(hidden, &weights.down, Epilogue { residual, ..Epilogue::default() }, config);
    GatedMlpForward { output, gate, up }
}

/// Default of [`TrainingOps::mlp_gated_backward`]: with `h = silu(gate) ⊙ up` and `dh = grad·down`,
/// `dup = dh ⊙ silu(gate)`, `dgate = dh ⊙ up ⊙ silu'(gate)`, `dx = dgate·gateᵂ + dup·upᵂ`.
pub fn mlp_gated_backward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    weights: &GatedMlpWeights<B>,
    forward: GatedMlpForward<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> GatedMlpGrads<B, D> {
    let hidden = B::silu(forward.gate.clone(), config) * forward.up.clone();
    let down = B::linear_backward(hidden, &weights.down, None, grad, config);
    let (gate, up) = split_gated(forward, down.x, config);
    let gate = B::linear_backward(x.clone(), &weights.gate, None, gate, config);
    let up = B::linear_backward(x, &weights.up, None, up, config);
    GatedMlpGrads { x: gate.x + up.x, gate: gate.weight, up: up.weight, down: down.weight }
}

/// The gradient of a gated MLP's input alone: what frozen weights need.
pub fn mlp_gated_input_gradient<B: TrainingOps, const D: usize>(
    weights: &GatedMlpWeights<B>,
    forward: GatedMlpForward<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    let (gate, up) = split_gated(forward, input_gradient(&weights.down, grad, config), config);
    input_gradient(&weights.gate, gate, config) + input_gradient(&weights.up, up, config)
}

/// Gradients of both factors of `silu(gate) ⊙ up` from that of the product.
fn split_gated<B: TrainingOps, const D: usize>(
    forward: GatedMlpForward<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> (Tensor<B, D>, Tensor<B, D>) {
    let up = grad.clone() * B::silu(forward.gate.clone(), config);
    let gate = B::activation_backward(Activation::Silu, forward.gate, grad * forward.up, config);
    (gate, up)
}

/// Default of [`FusedOps::mlp_plain`].
pub fn mlp_plain<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    weights: &PlainMlpWeights<B>,
    residual: Option<Tensor<B, D>>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    let epilogue =
        Epilogue { bias: weights.fc1_bias.clone(), activation: Some(weights.activation), ..Epilogue::default() };
    let hidden = FusedOps::linear(x, &weights.fc1, epilogue, config);
    let epilogue = Epilogue { bias: weights.fc2_bias.clone(), activation: None, residual };
    FusedOps::linear(hidden, &weights.fc2, epilogue, config)
}

/// Default of [`TrainingOps::mlp_plain_forward`].
pub fn mlp_plain_forward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    weights: &PlainMlpWeights<B>,
    residual: Option<Tensor<B, D>>,
    config: &KernelConfig,
) -> PlainMlpForward<B, D> {
    let LinearForward { output: pre_activation, .. } =
        B::linear_forward(x, &weights.fc1, Epilogue::bias(weights.fc1_bias.clone()), config);
    let hidden = activation::apply(weights.activation, pre_activation.clone(), config);
    let epilogue = Epilogue { bias: weights.fc2_bias.clone(), activation: None, residual };
    PlainMlpForward { output: FusedOps::linear(hidden, &weights.fc2, epilogue, config), pre_activation }
}

/// Default of [`TrainingOps::mlp_plain_backward`].
pub fn mlp_plain_backward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    weights: &PlainMlpWeights<B>,
    pre_activation: Tensor<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> PlainMlpGrads<B, D> {
    let hidden = activation::apply(weights.activation, pre_activation.clone(), config);
    let fc2 = B::linear_backward(hidden, &weights.fc2, None, grad, config);
    let fc1 = B::linear_backward(x, &weights.fc1, Some((weights.activation, pre_activation)), fc2.x, config);
    PlainMlpGrads { x: fc1.x, fc1: fc1.weight, fc1_bias: fc1.bias, fc2: fc2.weight, fc2_bias: fc2.bias }
}

/// The gradients of a plain MLP's input and of its first layer's sum: what frozen matrices need.
///
/// The second one, summed over the rows, is that of the first bias.
pub fn mlp_plain_input_gradient<B: TrainingOps, const D: usize>(
    weights: &PlainMlpWeights<B>,
    pre_activation: Tensor<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> (Tensor<B, D>, Tensor<B, D>) {
    let grad = input_gradient(&weights.fc2, grad, config);
    let grad = B::activation_backward(weights.activation, pre_activation, grad, config);
    (input_gradient(&weights.fc1, grad.clone(), config), grad)
}
