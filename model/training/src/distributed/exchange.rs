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

/// What is known of a step beside its gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepNews {
    /// Of this node's batches; of all nodes' when it comes back.
    pub loss: BatchLoss,
    /// Whether this node is asked to end; whether any is.
    pub ends: bool,
}

/// Replaces the gradients of this node by their sum over all nodes, and tells the loss of all, and whether one of them
/// is asked to end: all end after the same step.
///
/// Each node's are of its own batches, divided by the targets of all nodes
/// ([`differentiate`](crate::step::differentiate)'s `count`). What trains is what requires a gradient in `model`, the
/// same on all nodes; a parameter without a gradient here counts as 0.
///
/// # Errors
/// As [`Group::sum`]; the gradients are of no more use then.
pub fn sum_gradients<B: Backend, M: Module<Autodiff<B>>>(
    group: &mut Group<B>,
    model: &M,
    gradients: &mut Gradients<B>,
    news: StepNews,
) -> Result<StepNews, DistributedError> {
    let news = share_news(group, news)?;
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
    model.visit(&mut Restore { gradients, sums });
    Ok(news)
}

/// Sum of losses and number of targets, in pieces that f32 holds.
fn share_news<B: Backend>(group: &mut Group<B>, news: StepNews) -> Result<StepNews, DistributedError> {
    let StepNews { loss, ends } = news;
    let high = loss.sum as f32;
    let low = (loss.sum - f64::from(high)) as f32;
    let [thousands, ones] = [loss.targets >> 12, loss.targets & 0xfff].map(|part| part as f32);
    let all = group.gather(&[high, low, thousands, ones, f32::from(u8::from(ends))])?;
    let sum = all.iter().map(|node| f64::from(node[0]) + f64::from(node[1])).sum();
    let targets = all.iter().map(|node| ((node[2] as usize) << 12) + node[3] as usize).sum();
    Ok(StepNews { loss: BatchLoss { sum, targets }, ends: all.iter().any(|node| node[4] != 0.0) })
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
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Restore<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let value = param.val();
        if !value.is_require_grad() {
            return;
        }
        if let Some(sum) = self.sums.pop_front() {
            let grad: Tensor<B, D> = sum.reshape(value.shape());
            self.gradients.params.register(param.id, grad);
        }
    }
}
