//! Norms as nodes.
//!
//! A residual addition with its norm has two outputs, and a node of Burn's tape has one. It becomes two nodes, over
//! values that one fused forward gave:
//! ```text
//! x ──┐
//!     ├─ SumNode ── sum ──┬── (the residual stream goes on)
//! r ──┘                   └─ RmsNode ── normed      (reads rstd)
//! ```
//! `RmsNode` runs before `SumNode` in reverse. The gradient that has come to `sum` by then, nearly always all of it, is
//! taken off the tape and goes into the fused backward, which saves the separate addition; what comes later is added by
//! the tape.

use super::tape::{
    Node, Pass, Taped, is_any_tracked, lift, lower, name_without_holding, optional_parent, parent, record,
};
use crate::{AddNorm, AddNormForward, FusedOps, KernelConfig, LayerNormForward, TrainingOps};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::{DType, Tensor};

/// Parents: `x`, `gamma`.
#[derive(Debug, Clone)]
struct RmsNormNode<B: TrainingOps, const D: usize> {
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    rstd: Tensor<B, D>,
}

pub(super) fn rms_norm<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    x: Tensor<Autodiff<B, C>, D>,
    gamma: Tensor<Autodiff<B, C>, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, D> {
    let parents = [parent(&x), parent(&gamma)];
    let (x, gamma) = (x.inner(), gamma.inner());
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(B::rms_norm(x, gamma, epsilon, config));
    }
    let forward = B::rms_norm_forward(x.clone(), gamma.clone(), epsilon, config);
    let state = RmsNormNode { x, gamma, rstd: forward.rstd };
    record(state, parents, forward.output, config)
}

impl<B: TrainingOps, const D: usize> Node<B, 2> for RmsNormNode<B, D> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 2>) {
        let grad = lift(grad);
        let Self { x, gamma, rstd } = self;
        let [x_id, gamma_id] = pass.parents;
        let dtypes = (x.dtype(), gamma.dtype());
        let norm = B::rms_norm_backward(x, gamma, rstd, grad, pass.config);
        pass.register(x_id, norm.x, dtypes.0);
        pass.register(gamma_id, norm.gamma, dtypes.1);
    }
}

/// Parents: `x`, `gamma`, `beta`.
#[derive(Debug, Clone)]
struct LayerNormNode<B: TrainingOps, const D: usize> {
    x: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta_dtype: Option<DType>,
    forward: LayerNormForward<B, D>,
}

pub(super) fn layer_norm<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    x: Tensor<Autodiff<B, C>, D>,
    gamma: Tensor<Autodiff<B, C>, 1>,
    beta: Option<Tensor<Autodiff<B, C>, 1>>,
    epsilon: f64,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, D> {
    let x_parent = parent(&x);
    let beta_parent = optional_parent(&beta, &x_parent);
    let parents = [x_parent, parent(&gamma), beta_parent];
    let (x, gamma, beta) = (x.inner(), gamma.inner(), lower(beta));
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(FusedOps::layer_norm(x, gamma, beta, epsilon, config));
    }
    let beta_dtype = beta.as_ref().map(Tensor::dtype);
    let forward = B::layer_norm_forward(x.clone(), gamma.clone(), beta, epsilon, config);
    let output = forward.output.clone();
    let state = LayerNormNode { x, gamma, beta_dtype, forward };
    record(state, parents, output, config)
}

impl<B: TrainingOps, const D: usize> Node<B, 3> for LayerNormNode<B, D> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 3>) {
        let grad = lift(grad);
        let Self { x, gamma, beta_dtype, forward } = self;
        let [x_id, gamma_id, beta_id] = pass.parents;
        let dtypes = (x.dtype(), gamma.dtype());
        let norm = TrainingOps::layer_norm_backward(x, gamma, forward, grad, pass.config);
        pass.register(x_id, norm.x, dtypes.0);
        pass.register(gamma_id, norm.gamma, dtypes.1);
        if let Some(beta) = norm.beta {
            pass.register(beta_id, beta, beta_dtype.unwrap_or(dtypes.1));
        }
    }
}

/// Parents: `x`, `residual`. Both get the gradient as it is.
#[derive(Debug, Clone)]
struct SumNode;

impl<B: TrainingOps> Node<B, 2> for SumNode {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 2>) {
        for parent in pass.parents.into_iter().flatten() {
            pass.grads.register::<B>(parent, grad.clone());
        }
    }
}

/// Parents: `sum`, `gamma`.
#[derive(Debug, Clone)]
struct AddNormNode<B: TrainingOps, C: CheckpointStrategy, const D: usize> {
    forward: AddNormForward<B, D>,
    gamma: Tensor<B, 1>,
    /// Names `sum` to the tape; see [`name_without_holding`].
    sum: Taped<B, C>,
}

pub(super) fn add_norm<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    x: Tensor<Autodiff<B, C>, D>,
    residual: Tensor<Autodiff<B, C>, D>,
    gamma: Tensor<Autodiff<B, C>, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> AddNorm<Autodiff<B, C>, D> {
    let summands = [parent(&x), parent(&residual)];
    let gamma_parent = parent(&gamma);
    let (x, residual, gamma) = (x.inner(), residual.inner(), gamma.inner());
    if !is_any_tracked::<B, C>(&summands) && !gamma_parent.is_tracked() {
        let AddNorm { sum, normed } = B::add_norm(x, residual, gamma, epsilon, config);
        return AddNorm { sum: Tensor::from_inner(sum), normed: Tensor::from_inner(normed) };
    }
    let forward = B::add_norm_forward(x, residual, gamma.clone(), epsilon, config);
    let sum = if is_any_tracked::<B, C>(&summands) {
        record(SumNode, summands, forward.sum.clone(), config)
    } else {
        Tensor::from_inner(forward.sum.clone())
    };
    let parents = [parent(&sum), gamma_parent];
    let normed = if is_any_tracked::<B, C>(&parents) {
        let output = forward.normed.clone();
        let state = AddNormNode::<B, C, D> { forward, gamma, sum: name_without_holding::<B, C>(&parents[0]) };
        record(state, parents, output, config)
    } else {
        Tensor::from_inner(forward.normed)
    };
    AddNorm { sum, normed }
}

impl<B: TrainingOps, C: CheckpointStrategy, const D: usize> Node<B, 2> for AddNormNode<B, C, D> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 2>) {
        let grad_normed = lift(grad);
        let Self { forward, gamma, sum } = self;
        let [sum_id, gamma_id] = pass.parents;
        let dtypes = (forward.sum.dtype(), gamma.dtype());
        let grad_sum = pass.grads.remove::<B>(&sum).map(lift);
        let norm = B::add_norm_backward(forward, gamma, grad_sum, grad_normed, pass.config);
        pass.register(sum_id, norm.x, dtypes.0);
        pass.register(gamma_id, norm.gamma, dtypes.1);
    }
}
