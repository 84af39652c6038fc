//! Feed-forward blocks.

use super::activation;
use crate::{
    Activation, ActivationGrads, AddNorm, Epilogue, FusedOps, GatedMlpForward, GatedMlpGrads, GatedMlpWeights,
    KernelConfig, LinearForward, PlainMlpForward, PlainMlpGrads, PlainMlpWeights, RmsWeights, SiluMulGrads,
    TrainingOps,
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
    let GatedMlpForward { gate, up, .. } = forward;
    let dh = B::linear_input_gradient(&weights.down, grad.clone(), None, config);
    let SiluMulGrads { gate, up, product } = B::silu_mul_backward(gate, up, dh, config);
    let down = B::linear_weight_gradient(product, grad, None, config);
    let of_gate = B::linear_weight_gradient(x.clone(), gate.clone(), None, config);
    let of_up = B::linear_weight_gradient(x, up.clone(), None, config);
    GatedMlpGrads { x: join_gated(weights, gate, up, config), gate: of_gate, up: of_up, down }
}

/// The gradient of a gated MLP's input alone: what frozen weights need.
pub fn mlp_gated_input_gradient<B: TrainingOps, const D: usize>(
    weights: &GatedMlpWeights<B>,
    forward: GatedMlpForward<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    let GatedMlpForward { gate, up, .. } = forward;
    let dh = B::linear_input_gradient(&weights.down, grad, None, config);
    let SiluMulGrads { gate, up, .. } = B::silu_mul_backward(gate, up, dh, config);
    join_gated(weights, gate, up, config)
}

/// The gradient of the input of both products from theirs.
fn join_gated<B: TrainingOps, const D: usize>(
    weights: &GatedMlpWeights<B>,
    gate: Tensor<B, D>,
    up: Tensor<B, D>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    let sum = B::linear_input_gradient(&weights.gate, gate, None, config);
    B::linear_input_gradient(&weights.up, up, Some(sum), config)
}

/// Default of [`TrainingOps::silu_mul_backward`].
pub fn silu_mul_backward<B: TrainingOps, const D: usize>(
    gate: Tensor<B, D>,
    up: Tensor<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> SiluMulGrads<B, D> {
    let open = B::silu(gate.clone(), config);
    SiluMulGrads {
        gate: B::activation_backward(Activation::Silu, gate, grad.clone() * up.clone(), config),
        up: grad * open.clone(),
        product: open * up,
    }
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
    let fc2 = B::linear_weight_gradient(hidden, grad.clone(), None, config);
    let dh = B::linear_input_gradient(&weights.fc2, grad.clone(), None, config);
    let fc2_bias = B::bias_gradient(grad, config);
    let first = B::activation_bias_backward(weights.activation, pre_activation, dh, config);
    PlainMlpGrads {
        fc1: B::linear_weight_gradient(x, first.x.clone(), None, config),
        fc1_bias: first.bias,
        x: B::linear_input_gradient(&weights.fc1, first.x, None, config),
        fc2,
        fc2_bias,
    }
}

/// The gradients of a plain MLP's input and of its first bias: what frozen matrices need.
pub fn mlp_plain_input_gradient<B: TrainingOps, const D: usize>(
    weights: &PlainMlpWeights<B>,
    pre_activation: Tensor<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> (Tensor<B, D>, Tensor<B, 1>) {
    let grad = B::linear_input_gradient(&weights.fc2, grad, None, config);
    let ActivationGrads { x, bias } = B::activation_bias_backward(weights.activation, pre_activation, grad, config);
    (B::linear_input_gradient(&weights.fc1, x, None, config), bias)
}
