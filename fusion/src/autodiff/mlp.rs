//! Feed-forward blocks as nodes.

use super::tape::{Inner, Node, Pass, is_any_tracked, lift, lower, optional_parent, parent, record};
use crate::compose::mlp::{mlp_gated_input_gradient, mlp_plain_input_gradient};
use crate::{GatedMlpForward, GatedMlpWeights, KernelConfig, PlainMlpWeights, TrainingOps};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::Tensor;

/// Parents: `x`, `gate`, `up`, `down`, `residual`.
#[derive(Debug, Clone)]
struct GatedNode<B: TrainingOps, const D: usize> {
    /// Kept only for matrices that train.
    x: Option<Tensor<B, D>>,
    weights: GatedMlpWeights<B>,
    forward: GatedMlpForward<B, D>,
}

pub(super) fn mlp_gated<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    x: Tensor<Autodiff<B, C>, D>,
    weights: &GatedMlpWeights<Autodiff<B, C>>,
    residual: Option<Tensor<Autodiff<B, C>, D>>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, D> {
    let x_parent = parent(&x);
    let residual_parent = optional_parent(&residual, &x_parent);
    let [gate, up, down] = [&weights.gate, &weights.up, &weights.down].map(|weight| parent(&weight.unpack()));
    let parents = [x_parent, gate, up, down, residual_parent];
    let weights = weights.clone().convert::<Inner<B, C>>();
    let (x, residual) = (x.inner(), lower(residual));
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(B::mlp_gated(x, &weights, residual, config));
    }
    let forward = B::mlp_gated_forward(x.clone(), &weights, residual, config);
    let output = forward.output.clone();
    let x = is_any_tracked::<B, C>(&parents[1..4]).then_some(x);
    record(GatedNode { x, weights, forward }, parents, output, config)
}

impl<B: TrainingOps, const D: usize> Node<B, 5> for GatedNode<B, D> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 5>) {
        let grad: Tensor<B, D> = lift(grad);
        let Self { x, weights, forward } = self;
        let [x_id, gate_id, up_id, down_id, residual_id] = pass.parents;
        let dtype = grad.dtype();
        pass.register(residual_id, grad.clone(), dtype);
        if let Some(x) = x {
            let mlp = B::mlp_gated_backward(x, &weights, forward, grad, pass.config);
            pass.register(x_id, mlp.x, dtype);
            pass.register(gate_id, mlp.gate, weights.gate.unpack().dtype());
            pass.register(up_id, mlp.up, weights.up.unpack().dtype());
            pass.register(down_id, mlp.down, weights.down.unpack().dtype());
        } else if x_id.is_some() {
            pass.register(x_id, mlp_gated_input_gradient(&weights, forward, grad, pass.config), dtype);
        }
    }
}

/// Parents: `x`, `fc1`, `fc1_bias`, `fc2`, `fc2_bias`, `residual`.
#[derive(Debug, Clone)]
struct PlainNode<B: TrainingOps, const D: usize> {
    /// Kept only for matrices that train.
    x: Option<Tensor<B, D>>,
    weights: PlainMlpWeights<B>,
    pre_activation: Tensor<B, D>,
}

pub(super) fn mlp_plain<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    x: Tensor<Autodiff<B, C>, D>,
    weights: &PlainMlpWeights<Autodiff<B, C>>,
    residual: Option<Tensor<Autodiff<B, C>, D>>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, D> {
    let x_parent = parent(&x);
    let biases = [&weights.fc1_bias, &weights.fc2_bias].map(|bias| optional_parent(bias, &x_parent));
    let residual_parent = optional_parent(&residual, &x_parent);
    let [fc1, fc2] = [&weights.fc1, &weights.fc2].map(|weight| parent(&weight.unpack()));
    let [fc1_bias, fc2_bias] = biases;
    let parents = [x_parent, fc1, fc1_bias, fc2, fc2_bias, residual_parent];
    let weights = weights.clone().convert::<Inner<B, C>>();
    let (x, residual) = (x.inner(), lower(residual));
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(B::mlp_plain(x, &weights, residual, config));
    }
    let forward = B::mlp_plain_forward(x.clone(), &weights, residual, config);
    let matrices_train = parents[1].is_tracked() || parents[3].is_tracked();
    let state = PlainNode { x: matrices_train.then_some(x), weights, pre_activation: forward.pre_activation };
    record(state, parents, forward.output, config)
}

impl<B: TrainingOps, const D: usize> Node<B, 6> for PlainNode<B, D> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 6>) {
        let grad: Tensor<B, D> = lift(grad);
        let Self { x, weights, pre_activation } = self;
        let [x_id, fc1_id, fc1_bias_id, fc2_id, fc2_bias_id, residual_id] = pass.parents;
        let dtype = grad.dtype();
        let bias_dtype = |bias: &Option<Tensor<B, 1>>| bias.as_ref().map_or(dtype, Tensor::dtype);
        let (fc1_bias_dtype, fc2_bias_dtype) = (bias_dtype(&weights.fc1_bias), bias_dtype(&weights.fc2_bias));
        pass.register(residual_id, grad.clone(), dtype);
        if let Some(x) = x {
            let mlp = B::mlp_plain_backward(x, &weights, pre_activation, grad, pass.config);
            pass.register(x_id, mlp.x, dtype);
            pass.register(fc1_id, mlp.fc1, weights.fc1.unpack().dtype());
            pass.register(fc1_bias_id, mlp.fc1_bias, fc1_bias_dtype);
            pass.register(fc2_id, mlp.fc2, weights.fc2.unpack().dtype());
            pass.register(fc2_bias_id, mlp.fc2_bias, fc2_bias_dtype);
            return;
        }
        if fc2_bias_id.is_some() {
            pass.register(fc2_bias_id, B::bias_gradient(grad.clone(), pass.config), fc2_bias_dtype);
        }
        if x_id.is_some() || fc1_bias_id.is_some() {
            let (x, bias) = mlp_plain_input_gradient(&weights, pre_activation, grad, pass.config);
            pass.register(x_id, x, dtype);
            pass.register(fc1_bias_id, bias, fc1_bias_dtype);
        }
    }
}
