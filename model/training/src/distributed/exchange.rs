//! One gradient out of those of all nodes.

use super::{DistributedError, Group};
use crate::step::{BatchLoss, Gradients};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_autodiff::Autodiff;
use std::collections::VecDeque;

/// Elements that travel together: many small parameters in one round, a large one in few.
const BUCKET: usize = 1 << 24;

/// Replaces the gradients of this node by those of the mean over the targets of all nodes, and tells the loss of all.
///
/// They must be of a sum, not of a mean: [`differentiate`](crate::step::differentiate) with a `count` of 1. What trains
/// is what requires a gradient in `model`, the same on all nodes; a parameter without a gradient here counts as 0.
/// A step for which no node has a target gives zeros.
///
/// # Errors
/// As [`Group::sum`]; the gradients are of no more use then.
pub fn sum_gradients<B: Backend, M: Module<Autodiff<B>>>(
    group: &mut Group<B>,
    model: &M,
    gradients: &mut Gradients<B>,
    loss: BatchLoss,
) -> Result<BatchLoss, DistributedError> {
    let loss = sum_loss(group, loss)?;
    let mut flat = Flatten { gradients, all: VecDeque::new() };
    model.visit(&mut flat);
    let mut all = flat.all;
    let mut sums = VecDeque::with_capacity(all.len());
    while let Some(first) = all.pop_front() {
        let mut bucket = vec![first];
        let mut length = bucket[0].dims()[0];
        while let Some(next) = all.pop_front_if(|next| length + next.dims()[0] <= BUCKET) {
            length += next.dims()[0];
            bucket.push(next);
        }
        let lengths: Vec<usize> = bucket.iter().map(|part| part.dims()[0]).collect();
        let sum = group.sum(Tensor::cat(bucket, 0))?;
        sums.extend(sum.split_with_sizes(lengths, 0));
    }
    let factor = 1.0 / loss.targets.max(1) as f64;
    model.visit(&mut Restore { gradients, sums, factor });
    Ok(loss)
}

/// Sum of losses and number of targets, in pieces that f32 holds.
fn sum_loss<B: Backend>(group: &mut Group<B>, loss: BatchLoss) -> Result<BatchLoss, DistributedError> {
    let high = loss.sum as f32;
    let low = (loss.sum - f64::from(high)) as f32;
    let [thousands, ones] = [loss.targets >> 12, loss.targets & 0xfff].map(|part| part as f32);
    let all = group.gather(&[high, low, thousands, ones])?;
    let sum = all.iter().map(|node| f64::from(node[0]) + f64::from(node[1])).sum();
    let targets = all.iter().map(|node| ((node[2] as usize) << 12) + node[3] as usize).sum();
    Ok(BatchLoss { sum, targets })
}

/// The gradients of what trains, one after the other.
struct Flatten<'a, B: Backend> {
    gradients: &'a mut Gradients<B>,
    all: VecDeque<Tensor<B, 1>>,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Flatten<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let value = param.val();
        if !value.is_require_grad() {
            return;
        }
        let length = value.shape().num_elements();
        self.all.push_back(match self.gradients.params.remove::<B, D>(param.id) {
            Some(grad) => grad.cast(DType::F32).reshape([length]),
            None => Tensor::zeros([length], (&value.device(), DType::F32)),
        });
    }
}

/// Puts them back.
struct Restore<'a, B: Backend> {
    gradients: &'a mut Gradients<B>,
    sums: VecDeque<Tensor<B, 1>>,
    factor: f64,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Restore<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let value = param.val();
        if !value.is_require_grad() {
            return;
        }
        if let Some(sum) = self.sums.pop_front() {
            let grad: Tensor<B, D> = sum.reshape(value.shape());
            self.gradients.params.register(param.id, grad * self.factor);
        }
    }
}
