//! Linear layers as nodes.

use super::tape::{Node, Pass, is_any_tracked, lift, lower, lower_weight, optional_parent, parent, record};
use crate::{Activation, ActivationGrads, Epilogue, FusedOps, KernelConfig, TrainingOps, Weight};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::{DType, tensor::FloatTensor};
use burn_tensor::Tensor;

/// Parents: `x`, `weight`, `bias`, `residual`.
#[derive(Debug, Clone)]
struct LinearNode<B: TrainingOps, const D: usize> {
    /// Kept only for a weight that trains.
    x: Option<Tensor<B, D>>,
    weight: Weight<B>,
    activation: Option<(Activation, Tensor<B, D>)>,
    bias_dtype: Option<DType>,
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
    let state = LinearNode {
        x: parents[1].is_tracked().then_some(x),
        weight,
        activation: activation.zip(forward.pre_activation),
        bias_dtype,
    };
    record(state, parents, forward.output, config)
}

impl<B: TrainingOps, const D: usize> Node<B, 4> for LinearNode<B, D> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 4>) {
        let grad: Tensor<B, D> = lift(grad);
        let Self { x, weight, activation, bias_dtype } = self;
        let [x_id, weight_id, bias_id, residual_id] = pass.parents;
        let dtype = grad.dtype();
        pass.register(residual_id, grad.clone(), dtype);
        let bias_dtype = bias_dtype.unwrap_or(dtype);
        if x_id.is_none() && weight_id.is_none() && bias_id.is_none() {
            return;
        }
        let (grad, bias) = match activation {
            Some((activation, pre)) if bias_id.is_some() => {
                let ActivationGrads { x, bias } = B::activation_bias_backward(activation, pre, grad, pass.config);
                (x, Some(bias))
            }
            Some((activation, pre)) => (B::activation_backward(activation, pre, grad, pass.config), None),
            None => {
                let bias = bias_id.is_some().then(|| B::bias_gradient(grad.clone(), pass.config));
                (grad, bias)
            }
        };
        if let Some(bias) = bias {
            pass.register(bias_id, bias, bias_dtype);
        }
        if let Some(x) = x {
            let gradient = B::linear_weight_gradient(x, grad.clone(), None, pass.config);
            pass.register(weight_id, gradient, weight.unpack().dtype());
        }
        if x_id.is_some() {
            pass.register(x_id, B::linear_input_gradient(&weight, grad, None, pass.config), dtype);
        }
    }
}
