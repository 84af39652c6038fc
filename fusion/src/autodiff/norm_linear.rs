//! A norm and the linear layer after it as one node. The norm is computed again in reverse, not kept.

use super::tape::{is_any_tracked, lift, lower, lower_weight, optional_parent, parent, record, register};
use crate::compose::linear::bias_gradient;
use crate::compose::norm::norm_linear_input_gradient;
use crate::{KernelConfig, LinearWeights, Norm, NormGrads, TrainingOps, Weight, compose};
use burn_autodiff::ops::{Backward, Ops};
use burn_autodiff::{
    Autodiff, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_backend::DType;
use burn_tensor::Tensor;

/// Parents: `x`, `gamma`, `beta`, `weight`, `bias`.
#[derive(Debug)]
struct NormLinearNode<const D: usize>;

#[derive(Debug, Clone)]
struct NormLinearState<B: TrainingOps, const D: usize> {
    x: Tensor<B, D>,
    norm: Norm<B>,
    weight: Weight<B>,
    bias_dtype: Option<DType>,
    config: KernelConfig,
}

pub(super) fn norm_linear<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    x: Tensor<Autodiff<B, C>, D>,
    norm: &Norm<Autodiff<B, C>>,
    weight: &Weight<Autodiff<B, C>>,
    bias: Option<Tensor<Autodiff<B, C>, 1>>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, D> {
    let x_parent = parent(&x);
    let beta_parent = optional_parent(&norm.beta, &x_parent);
    let bias_parent = optional_parent(&bias, &x_parent);
    let parents = [x_parent, parent(&norm.gamma), beta_parent, parent(&weight.unpack()), bias_parent];
    let norm = lower_norm(norm);
    let (x, weight, bias) = (x.inner(), lower_weight(weight), lower(bias));
    let bias_dtype = bias.as_ref().map(Tensor::dtype);
    let output = B::norm_linear(x.clone(), &norm, &weight, bias, config);
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(output);
    }
    let state = NormLinearState { x, norm, weight, bias_dtype, config: config.clone() };
    record(NormLinearNode::<D>, parents, state, output)
}

/// The op of `B` where nothing is tracked; else the norm and each layer as nodes of their own.
pub(super) fn norm_linears<B: TrainingOps, C: CheckpointStrategy, const D: usize, const N: usize>(
    x: Tensor<Autodiff<B, C>, D>,
    norm: &Norm<Autodiff<B, C>>,
    layers: [LinearWeights<Autodiff<B, C>>; N],
    config: &KernelConfig,
) -> [Tensor<Autodiff<B, C>, D>; N] {
    let x_parent = parent(&x);
    let mut parents = vec![parent(&norm.gamma), optional_parent(&norm.beta, &x_parent)];
    for layer in &layers {
        parents.extend([parent(&layer.weight.unpack()), optional_parent(&layer.bias, &x_parent)]);
    }
    parents.push(x_parent);
    if is_any_tracked::<B, C>(&parents) {
        return compose::norm::norm_linears(x, norm, layers, config);
    }
    let layers = layers.map(|layer| LinearWeights { weight: lower_weight(&layer.weight), bias: lower(layer.bias) });
    B::norm_linears(x.inner(), &lower_norm(norm), layers, config).map(Tensor::from_inner)
}

/// The norm of `B`.
fn lower_norm<B: TrainingOps, C: CheckpointStrategy>(norm: &Norm<Autodiff<B, C>>) -> Norm<B> {
    Norm { kind: norm.kind, gamma: norm.gamma.clone().inner(), beta: lower(norm.beta.clone()), epsilon: norm.epsilon }
}

impl<B: TrainingOps, const D: usize> Backward<B, 5> for NormLinearNode<D> {
    type State = NormLinearState<B, D>;

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad: Tensor<B, D> = lift(grads.consume::<B>(&ops.node));
        let NormLinearState { x, norm, weight, bias_dtype, config } = ops.state;
        let [x_id, gamma_id, beta_id, weight_id, bias_id] = ops.parents.map(|node| node.map(|node| node.id));
        let (dtype, gamma_dtype) = (x.dtype(), norm.gamma.dtype());
        let beta_dtype = norm.beta.as_ref().map_or(gamma_dtype, Tensor::dtype);
        let bias_dtype = bias_dtype.unwrap_or(dtype);
        let NormGrads { x, gamma, beta } = if weight_id.is_some() {
            let all = B::norm_linear_backward(x, &norm, &weight, grad, &config);
            register(grads, weight_id, all.weight, weight.unpack().dtype());
            register(grads, bias_id, all.bias, bias_dtype);
            all.norm
        } else {
            if bias_id.is_some() {
                register(grads, bias_id, bias_gradient(grad.clone()), bias_dtype);
            }
            norm_linear_input_gradient(x, &norm, &weight, grad, &config)
        };
        register(grads, x_id, x, dtype);
        register(grads, gamma_id, gamma, gamma_dtype);
        if let Some(beta) = beta {
            register(grads, beta_id, beta, beta_dtype);
        }
    }
}
