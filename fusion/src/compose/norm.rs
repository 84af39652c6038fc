//! Norms over the last dimension, alone and with their neighbours.

use super::rows;
use crate::{
    AddNorm, AddNormForward, AddNormGrads, Epilogue, FusedOps, KernelConfig, LayerNormForward, LinearWeights, Norm,
    NormGrads, NormKind, NormLinearGrads, RmsNormForward, TrainingOps, Weight,
};
use burn_tensor::Tensor;

/// Default of [`FusedOps::rms_norm`].
pub fn rms_norm<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    epsilon: f64,
    _config: &KernelConfig,
) -> Tensor<B, D> {
    let rstd = measure_rms(x.clone(), epsilon);
    scale(x * rstd, gamma, None)
}

/// Default of [`TrainingOps::rms_norm_forward`].
pub fn rms_norm_forward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    epsilon: f64,
    _config: &KernelConfig,
) -> RmsNormForward<B, D> {
    let rstd = measure_rms(x.clone(), epsilon);
    RmsNormForward { output: scale(x * rstd.clone(), gamma, None), rstd }
}

/// Default of [`TrainingOps::rms_norm_backward`].
pub fn rms_norm_backward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    rstd: Tensor<B, D>,
    grad: Tensor<B, D>,
    _config: &KernelConfig,
) -> NormGrads<B, D> {
    let normed = x * rstd.clone();
    let h = scale(grad.clone(), gamma, None);
    let along = (h.clone() * normed.clone()).mean_dim(D - 1);
    NormGrads { x: (h - normed.clone() * along) * rstd, gamma: rows::sum(grad * normed), beta: None }
}

/// Default of [`FusedOps::layer_norm`].
pub fn layer_norm<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Option<Tensor<B, 1>>,
    epsilon: f64,
    _config: &KernelConfig,
) -> Tensor<B, D> {
    let centred = x.clone() - x.mean_dim(D - 1);
    let rstd = measure_rms(centred.clone(), epsilon);
    scale(centred * rstd, gamma, beta)
}

/// Default of [`TrainingOps::layer_norm_forward`].
pub fn layer_norm_forward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Option<Tensor<B, 1>>,
    epsilon: f64,
    _config: &KernelConfig,
) -> LayerNormForward<B, D> {
    let mean = x.clone().mean_dim(D - 1);
    let centred = x - mean.clone();
    let rstd = measure_rms(centred.clone(), epsilon);
    LayerNormForward { output: scale(centred * rstd.clone(), gamma, beta), mean, rstd }
}

/// Default of [`TrainingOps::layer_norm_backward`]: with `n = (x - mean) · rstd` and `h = grad · gamma`,
/// `dx = rstd · (h - mean(h) - n · mean(h · n))`, `dgamma = Σ grad · n`, `dbeta = Σ grad`.
pub fn layer_norm_backward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    forward: LayerNormForward<B, D>,
    grad: Tensor<B, D>,
    _config: &KernelConfig,
) -> NormGrads<B, D> {
    let normed = (x - forward.mean) * forward.rstd.clone();
    let h = scale(grad.clone(), gamma, None);
    let along = (h.clone() * normed.clone()).mean_dim(D - 1);
    let mean = h.clone().mean_dim(D - 1);
    NormGrads {
        x: (h - mean - normed.clone() * along) * forward.rstd,
        gamma: rows::sum(grad.clone() * normed),
        beta: Some(rows::sum(grad)),
    }
}

/// Default of [`FusedOps::norm_linear`].
pub fn norm_linear<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    norm: &Norm<B>,
    weight: &Weight<B>,
    bias: Option<Tensor<B, 1>>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    FusedOps::linear(normalize(x, norm, config), weight, Epilogue::bias(bias), config)
}

/// Default of [`FusedOps::norm_linears`].
pub fn norm_linears<B: FusedOps, const D: usize, const N: usize>(
    x: Tensor<B, D>,
    norm: &Norm<B>,
    layers: [LinearWeights<B>; N],
    config: &KernelConfig,
) -> [Tensor<B, D>; N] {
    let normed = normalize(x, norm, config);
    layers.map(|layer| FusedOps::linear(normed.clone(), &layer.weight, Epilogue::bias(layer.bias), config))
}

/// Either norm.
fn normalize<B: FusedOps, const D: usize>(x: Tensor<B, D>, norm: &Norm<B>, config: &KernelConfig) -> Tensor<B, D> {
    let gamma = norm.gamma.clone();
    match norm.kind {
        NormKind::Rms => B::rms_norm(x, gamma, norm.epsilon, config),
        NormKind::Layer => FusedOps::layer_norm(x, gamma, norm.beta.clone(), norm.epsilon, config),
    }
}

/// Default of [`TrainingOps::norm_linear_backward`].
pub fn norm_linear_backward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    norm: &Norm<B>,
    weight: &Weight<B>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> NormLinearGrads<B, D> {
    let gamma = norm.gamma.clone();
    let (norm, weight, bias) = match norm.kind {
        NormKind::Rms => {
            let forward = B::rms_norm_forward(x.clone(), gamma.clone(), norm.epsilon, config);
            let linear = B::linear_backward(forward.output, weight, None, grad, config);
            let norm = B::rms_norm_backward(x, gamma, forward.rstd, linear.x, config);
            (norm, linear.weight, linear.bias)
        }
        NormKind::Layer => {
            let forward = B::layer_norm_forward(x.clone(), gamma.clone(), norm.beta.clone(), norm.epsilon, config);
            let linear = B::linear_backward(forward.output.clone(), weight, None, grad, config);
            let norm = TrainingOps::layer_norm_backward(x, gamma, forward, linear.x, config);
            (norm, linear.weight, linear.bias)
        }
    };
    NormLinearGrads { norm, weight, bias }
}

/// Gradients of [`FusedOps::norm_linear`] for its norm alone: what a frozen weight needs.
pub fn norm_linear_input_gradient<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    norm: &Norm<B>,
    weight: &Weight<B>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> NormGrads<B, D> {
    let grad = super::linear::input_gradient(weight, grad, config);
    let gamma = norm.gamma.clone();
    match norm.kind {
        NormKind::Rms => {
            let forward = B::rms_norm_forward(x.clone(), gamma.clone(), norm.epsilon, config);
            B::rms_norm_backward(x, gamma, forward.rstd, grad, config)
        }
        NormKind::Layer => {
            let forward = B::layer_norm_forward(x.clone(), gamma.clone(), norm.beta.clone(), norm.epsilon, config);
            TrainingOps::layer_norm_backward(x, gamma, forward, grad, config)
        }
    }
}

/// Default of [`FusedOps::add_norm`].
pub fn add_norm<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    residual: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> AddNorm<B, D> {
    let sum = x + residual;
    AddNorm { normed: B::rms_norm(sum.clone(), gamma, epsilon, config), sum }
}

/// Default of [`TrainingOps::add_norm_forward`].
pub fn add_norm_forward<B: TrainingOps, const D: usize>(
    x: Tensor<B, D>,
    residual: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> AddNormForward<B, D> {
    let sum = x + residual;
    let RmsNormForward { output, rstd } = B::rms_norm_forward(sum.clone(), gamma, epsilon, config);
    AddNormForward { sum, normed: output, rstd }
}

/// Default of [`TrainingOps::add_norm_backward`].
pub fn add_norm_backward<B: TrainingOps, const D: usize>(
    forward: AddNormForward<B, D>,
    gamma: Tensor<B, 1>,
    grad_sum: Option<Tensor<B, D>>,
    grad_normed: Tensor<B, D>,
    config: &KernelConfig,
) -> AddNormGrads<B, D> {
    let NormGrads { x, gamma, .. } = B::rms_norm_backward(forward.sum, gamma, forward.rstd, grad_normed, config);
    let x = match grad_sum {
        Some(grad) => x + grad,
        None => x,
    };
    AddNormGrads { x, gamma }
}

/// `1/√(mean(x²) + epsilon)`, `[.., 1]`.
///
/// A division: `recip` is the CPU's 12-bit (AVX-512: 14-bit) approximation on NdArray.
fn measure_rms<B: FusedOps, const D: usize>(x: Tensor<B, D>, epsilon: f64) -> Tensor<B, D> {
    let deviation = ((x.clone() * x).mean_dim(D - 1) + epsilon).sqrt();
    deviation.ones_like() / deviation
}

/// `x · gamma + beta`.
fn scale<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Option<Tensor<B, 1>>,
) -> Tensor<B, D> {
    let gamma = rows::broadcast(gamma, &x);
    let y = x * gamma;
    match beta {
        Some(beta) => {
            let beta = rows::broadcast(beta, &y);
            y + beta
        }
        None => y,
    }
}
