//! Linear layers as nodes.

use super::tape::{is_any_tracked, lift, lower, lower_weight, optional_parent, parent, record, register};
use crate::compose::linear::{bias_gradient, input_gradient};
use crate::{Activation, Epilogue, FusedOps, KernelConfig, TrainingOps, Weight};
use burn_autodiff::ops::{Backward, Ops};
use burn_autodiff::{
    Autodiff, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_backend::DType;
use burn_tensor::Tensor;

/// Parents: `x`, `weight`, `bias`, `residual`.
#[derive(Debug)]
struct LinearNode<const D: usize>;

#[derive(Debug, Clone)]
struct LinearState<B: TrainingOps, const D: usize> {
    /// Kept only for a weight that trains.
    x: Option<Tensor<B, D>>,
    weight: Weight<B>,
    activation: Option<(Activation, Tensor<B, D>)>,
    bias_dtype: Option<DType>,
    config: KernelConfig,
}

pub(super) fn linear<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    x: Tensor<Autodiff<B, C>, D>,
    weight: &Weight<Autodiff<B, C>>,
    epilogue: Epilogue<Autodiff<B, C>, D>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, D> {
    let x_parent = parent(&x);
    let bias_parent = optional_parent(&epilogue.bias, &x_parent);
    let residual_parent = optional_parent(&epilogue.residual, &x_parent);
    let parents = [x_parent, parent(&weight.unpack()), bias_parent, residual_parent];
    let (x, weight, activation) = (x.inner(), lower_weight(weight), epilogue.activation);
    let epilogue = Epilogue { bias: lower(epilogue.bias), activation, residual: lower(epilogue.residual) };
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(FusedOps::linear(x, &weight, epilogue, config));
    }
    let bias_dtype = epilogue.bias.as_ref().map(Tensor::dtype);
    let forward = B::linear_forward(x.clone(), &weight, epilogue, config);
    let state = LinearState {
        x: parents[1].is_tracked().then_some(x),
        weight,
        activation: activation.zip(forward.pre_activation),
        bias_dtype,
        config: config.clone(),
    };
    record(LinearNode::<D>, parents, state, forward.output)
}

impl<B: TrainingOps, const D: usize> Backward<B, 4> for LinearNode<D> {
    type State = LinearState<B, D>;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad: Tensor<B, D> = lift(grads.consume::<B>(&ops.node));
        let LinearState { x, weight, activation, bias_dtype, config } = ops.state;
        let [x_id, weight_id, bias_id, residual_id] = ops.parents.map(|node| node.map(|node| node.id));
        let dtype = grad.dtype();
        register(grads, residual_id, grad.clone(), dtype);
        let bias_dtype = bias_dtype.unwrap_or(dtype);
        if let Some(x) = x {
            let linear = B::linear_backward(x, &weight, activation, grad, &config);
            register(grads, x_id, linear.x, dtype);
            register(grads, weight_id, linear.weight, weight.unpack().dtype());
            register(grads, bias_id, linear.bias, bias_dtype);
            return;
        }
        if x_id.is_none() && bias_id.is_none() {
            return;
        }
        let grad = match activation {
            Some((activation, pre)) => B::activation_backward(activation, pre, grad, &config),
            None => grad,
        };
        if bias_id.is_some() {
            register(grads, bias_id, bias_gradient(grad.clone()), bias_dtype);
        }
        if x_id.is_some() {
            register(grads, x_id, input_gradient(&weight, grad, &config), dtype);
        }
    }
}
