//! Linear layers.

use super::{activation, rows};
use crate::{
    Activation, ActivationGrads, Epilogue, FusedOps, KernelConfig, LinearForward, LinearGrads, TrainingOps, Weight,
};
use burn_tensor::Tensor;

/// Default of [`FusedOps::linear`].
pub fn linear<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    weight: &Weight<B>,
    epilogue: Epilogue<B, D>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    apply_epilogue(rows::multiply(x, weight.unpack().transpose()), epilogue, config)
}

/// `activation(y + bias) + residual`: an [`Epilogue`] behind the product instead of in its store.
pub fn apply_epilogue<B: FusedOps, const D: usize>(
    mut y: Tensor<B, D>,
    epilogue: Epilogue<B, D>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    if let Some(bias) = epilogue.bias {
        let bias = rows::broadcast(bias, &y);
        y = y + bias;
    }
    if let Some(activation) = epilogue.activation {
        y = activation::apply(activation, y, config);
    }
    match epilogue.residual {
        Some(residual) => y + residual,
        None => y,
    }
}

/// Default of [`TrainingOps::linear_forward`].
pub fn linear_forward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    weight: &Weight<B>,
    epilogue: Epilogue<B, D>,
    config: &KernelConfig,
) -> LinearForward<B, D> {
    let Some(activation) = epilogue.activation else {
        return LinearForward { output: FusedOps::linear(x, weight, epilogue, config), pre_activation: None };
    };
    let pre_activation = FusedOps::linear(x, weight, Epilogue::bias(epilogue.bias), config);
    let output = activation::apply(activation, pre_activation.clone(), config);
    let output = match epilogue.residual {
        Some(residual) => output + residual,
        None => output,
    };
    LinearForward { output, pre_activation: Some(pre_activation) }
}

/// Default of [`TrainingOps::linear_backward`]: with `g = grad · activation'(pre)`, `dx = g·W`, `dW = gᵀ·x`, `db = Σ
/// g`.
pub fn linear_backward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    weight: &Weight<B>,
    activation: Option<(Activation, Tensor<B, D>)>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> LinearGrads<B, D> {
    let (grad, bias) = match activation {
        Some((activation, pre)) => {
            let ActivationGrads { x, bias } = B::activation_bias_backward(activation, pre, grad, config);
            (x, bias)
        }
        None => {
            let bias = B::bias_gradient(grad.clone(), config);
            (grad, bias)
        }
    };
    let weight_gradient = B::linear_weight_gradient(x, grad.clone(), None, config);
    LinearGrads { x: B::linear_input_gradient(weight, grad, None, config), weight: weight_gradient, bias }
}

/// `grad·W`, the gradient of a linear layer's input alone: what a frozen weight needs.
///
/// It is itself a linear layer, by the transposed weight, so that a backend's kernel serves it.
///
/// # Shapes
/// `weight` `[out, in]`, `grad` `[.., out]`, output `[.., in]`.
pub fn input_gradient<B: FusedOps, const D: usize>(
    weight: &Weight<B>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    linear_input_gradient(weight, grad, None, config)
}

/// Default of [`TrainingOps::linear_input_gradient`]: a linear layer by the transposed weight.
pub fn linear_input_gradient<B: FusedOps, const D: usize>(
    weight: &Weight<B>,
    grad: Tensor<B, D>,
    sum: Option<Tensor<B, D>>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    let epilogue = Epilogue { residual: sum, ..Epilogue::default() };
    FusedOps::linear(grad, &Weight::Plain(weight.unpack().transpose()), epilogue, config)
}

/// Default of [`TrainingOps::linear_weight_gradient`].
pub fn linear_weight_gradient<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    grad: Tensor<B, D>,
    sum: Option<Tensor<B, 2>>,
) -> Tensor<B, 2> {
    let product = rows::multiply_columns(grad, x);
    match sum {
        Some(sum) => sum + product,
        None => product,
    }
}

/// Default of [`TrainingOps::bias_gradient`].
pub fn bias_gradient<B: FusedOps, const D: usize>(grad: Tensor<B, D>) -> Tensor<B, 1> {
    rows::sum(grad)
}
