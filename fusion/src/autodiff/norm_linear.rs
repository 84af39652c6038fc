//! A norm and the linear layer after it as one node. The norm is computed again in reverse, not kept.

use super::tape::{Inner, Node, Pass, is_any_tracked, lift, lower, lower_weight, optional_parent, parent, record};
use crate::compose::norm::norm_linear_input_gradient;
use crate::{KernelConfig, LinearWeights, Norm, NormGrads, TrainingOps, Weight, compose};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::{DType, tensor::FloatTensor};
use burn_tensor::Tensor;

/// Parents: `x`, `gamma`, `beta`, `weight`, `bias`.
#[derive(Debug, Clone)]
struct NormLinearNode<B: TrainingOps, const D: usize> {
    x: Tensor<B, D>,
    norm: Norm<B>,
    weight: Weight<B>,
    bias_dtype: Option<DType>,
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
    let norm = norm.clone().convert::<Inner<B, C>>();
    let (x, weight, bias) = (x.inner(), lower_weight(weight), lower(bias));
    let bias_dtype = bias.as_ref().map(Tensor::dtype);
    let output = B::norm_linear(x.clone(), &norm, &weight, bias, config);
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(output);
    }
    let state = NormLinearNode { x, norm, weight, bias_dtype };
    record(state, parents, output, config)
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
        return B::scope(config, || compose::norm::norm_linears(x, norm, layers, config));
    }
    let (norm, layers) = (norm.clone().convert::<Inner<B, C>>(), layers.map(LinearWeights::convert::<Inner<B, C>>));
    B::norm_linears(x.inner(), &norm, layers, config).map(Tensor::from_inner)
}

impl<B: TrainingOps, const D: usize> Node<B, 5> for NormLinearNode<B, D> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 5>) {
        let grad: Tensor<B, D> = lift(grad);
        let Self { x, norm, weight, bias_dtype } = self;
        let [x_id, gamma_id, beta_id, weight_id, bias_id] = pass.parents;
        let (dtype, gamma_dtype) = (x.dtype(), norm.gamma.dtype());
        let beta_dtype = norm.beta.as_ref().map_or(gamma_dtype, Tensor::dtype);
        let bias_dtype = bias_dtype.unwrap_or(dtype);
        let NormGrads { x, gamma, beta } = if weight_id.is_some() {
            let all = B::norm_linear_backward(x, &norm, &weight, grad, pass.config);
            pass.register(weight_id, all.weight, weight.unpack().dtype());
            pass.register(bias_id, all.bias, bias_dtype);
            all.norm
        } else {
            if bias_id.is_some() {
                pass.register(bias_id, B::bias_gradient(grad.clone(), pass.config), bias_dtype);
            }
            norm_linear_input_gradient(x, &norm, &weight, grad, pass.config)
        };
        pass.register(x_id, x, dtype);
        pass.register(gamma_id, gamma, gamma_dtype);
        if let Some(beta) = beta {
            pass.register(beta_id, beta, beta_dtype);
        }
    }
}
