//! Next-token cross entropy by chunks of positions.
//!
//! A vocabulary of 151936 makes logits of 0.6 MB a position in f32; only `chunk` positions have theirs at a time.

use super::linear::input_gradient;
use crate::{Epilogue, FusedOps, KernelConfig, LossForward, LossGrads, LossInputs, LossOptions, TrainingOps};
use burn_tensor::{Bool, IndexingUpdateOp, Int, Tensor};

/// Default of [`TrainingOps::lm_head_cross_entropy`].
pub fn lm_head_cross_entropy<B: TrainingOps>(
    LossInputs { hidden, weight, targets }: LossInputs<'_, B>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossForward<B> {
    let like = (&hidden.device(), hidden.dtype());
    let targets = Labels::new(targets, options);
    let mut total = Tensor::zeros([1], like);
    let mut sums = Vec::new();
    for (start, length) in split_chunks(hidden.dims()[0], options) {
        let targets = targets.narrow(start, length);
        let logits = FusedOps::linear(hidden.clone().narrow(0, start, length), weight, Epilogue::default(), config);
        let max = logits.clone().detach().max_dim(1);
        let lse = (logits.clone() - max.clone()).exp().sum_dim(1).log() + max;
        let losses = lse.clone() - logits.gather(1, targets.ids);
        total = total + losses.mask_fill(targets.ignored, 0.0).sum();
        sums.push(lse);
    }
    let lse = if sums.is_empty() { Tensor::zeros([0, 1], like) } else { Tensor::cat(sums, 0) };
    let count = targets.count().cast(like.1);
    LossForward { loss: total / count, lse }
}

/// Default of [`TrainingOps::lm_head_cross_entropy_backward`]: `dlogits = (exp(logits - lse) - onehot) · grad / count`.
pub fn lm_head_cross_entropy_backward<B: TrainingOps>(
    inputs: LossInputs<'_, B>,
    lse: Tensor<B, 2>,
    grad: Tensor<B, 1>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossGrads<B> {
    let (hidden, weight) = (inputs.hidden.clone(), inputs.weight);
    let mut rows = Vec::new();
    let mut total: Option<Tensor<B, 2>> = None;
    differentiate_chunks(inputs, lse, grad, options, config, |hidden, dlogits| {
        let grads = B::linear_backward(hidden, weight, None, dlogits, config);
        rows.push(grads.x);
        total = Some(match total.take() {
            Some(total) => total + grads.weight,
            None => grads.weight,
        });
    });
    let zeros = || Tensor::zeros(weight.unpack().dims(), (&hidden.device(), hidden.dtype()));
    LossGrads { weight: total.unwrap_or_else(zeros), hidden: join(rows, hidden) }
}

/// The gradient of `hidden` alone: what a frozen head needs.
pub fn lm_head_cross_entropy_input_gradient<B: TrainingOps>(
    inputs: LossInputs<'_, B>,
    lse: Tensor<B, 2>,
    grad: Tensor<B, 1>,
    options: LossOptions,
    config: &KernelConfig,
) -> Tensor<B, 2> {
    let (hidden, weight) = (inputs.hidden.clone(), inputs.weight);
    let mut rows = Vec::new();
    differentiate_chunks(inputs, lse, grad, options, config, |_, dlogits| {
        rows.push(input_gradient(weight, dlogits, config));
    });
    join(rows, hidden)
}

/// Calls `sink` with the hidden states of each chunk and the gradient of its logits.
fn differentiate_chunks<B: TrainingOps>(
    inputs: LossInputs<'_, B>,
    lse: Tensor<B, 2>,
    grad: Tensor<B, 1>,
    options: LossOptions,
    config: &KernelConfig,
    mut sink: impl FnMut(Tensor<B, 2>, Tensor<B, 2>),
) {
    let LossInputs { hidden, weight, targets } = inputs;
    let targets = Labels::new(targets, options);
    let share = grad / targets.count().cast(hidden.dtype());
    for (start, length) in split_chunks(hidden.dims()[0], options) {
        let targets = targets.narrow(start, length);
        let hidden = hidden.clone().narrow(0, start, length);
        let logits = FusedOps::linear(hidden.clone(), weight, Epilogue::default(), config);
        let vocab = logits.dims()[1];
        let probabilities = (logits - lse.clone().narrow(0, start, length)).exp();
        let minus = Tensor::full([length, 1], -1.0, (&hidden.device(), hidden.dtype()));
        let dlogits = probabilities.scatter(1, targets.ids, minus, IndexingUpdateOp::Add);
        let dlogits = dlogits * share.clone().unsqueeze::<2>();
        // After the product: with nothing counted the share is infinite, and an ignored row is 0 all the same.
        let ignored = targets.ignored.expand([length, vocab]);
        sink(hidden, dlogits.mask_fill(ignored, 0.0));
    }
}

/// Targets with a valid id in every row.
struct Labels<B: FusedOps> {
    /// `[tokens, 1]`; 0 where ignored.
    ids: Tensor<B, 2, Int>,
    /// `[tokens, 1]`.
    ignored: Tensor<B, 2, Bool>,
}

impl<B: FusedOps> Labels<B> {
    fn new(targets: Tensor<B, 1, Int>, options: LossOptions) -> Self {
        let [tokens] = targets.dims();
        let targets = targets.reshape([tokens, 1]);
        let ignored = targets.clone().equal_elem(options.ignore_index);
        Self { ids: targets.mask_fill(ignored.clone(), 0), ignored }
    }

    fn narrow(&self, start: usize, length: usize) -> Self {
        Self { ids: self.ids.clone().narrow(0, start, length), ignored: self.ignored.clone().narrow(0, start, length) }
    }

    /// How many targets count, `[1]`.
    fn count(&self) -> Tensor<B, 1> {
        self.ignored.clone().bool_not().float().sum()
    }
}

/// Starts and lengths of the chunks.
fn split_chunks(tokens: usize, options: LossOptions) -> impl Iterator<Item = (usize, usize)> {
    let chunk = options.chunk.max(1);
    (0..tokens).step_by(chunk).map(move |start| (start, chunk.min(tokens - start)))
}

/// Chunks behind each other; `empty` when there are none.
fn join<B: FusedOps>(chunks: Vec<Tensor<B, 2>>, empty: Tensor<B, 2>) -> Tensor<B, 2> {
    if chunks.is_empty() { empty } else { Tensor::cat(chunks, 0) }
}
