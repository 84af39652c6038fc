//! [`TrainingOps`] on `Kiln<B>`: forwards that reach a kernel, and the backward pass of attention. The other backward
//! passes are compositions, whose products and activations reach kernels of their own.

use super::{attention, layers};
use crate::{Engine, Kiln};
use burn_kiln_fusion::{
    AddNormForward, AttentionForward, AttentionGrads, AttentionInputs, AttentionOptions, KernelConfig, RmsNormForward,
    TrainingOps,
};
use burn_tensor::Tensor;

impl<B: Engine> TrainingOps for Kiln<B> {
    fn rms_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> RmsNormForward<Self, D> {
        layers::rms_norm_forward(x, gamma, epsilon, config)
    }

    fn add_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNormForward<Self, D> {
        layers::add_norm_forward(x, residual, gamma, epsilon, config)
    }

    fn attention_forward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        config: &KernelConfig,
    ) -> AttentionForward<Self> {
        attention::attention_forward(inputs, options, config)
    }
    fn attention_backward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        forward: AttentionForward<Self>,
        grad: Tensor<Self, 4>,
        config: &KernelConfig,
    ) -> AttentionGrads<Self> {
        attention::attention_backward(inputs, options, forward, grad, config)
    }
}
