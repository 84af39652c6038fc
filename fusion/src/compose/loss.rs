//! Next-token cross entropy by chunks of positions.
//!
//! A vocabulary of 151936 makes logits of 0.6 MB a position in f32; only `chunk` positions have theirs at a time.

use crate::{
    DifferentiatedLoss, Epilogue, FusedOps, KernelConfig, LossForward, LossGrads, LossInputs, LossOptions, TrainingOps,
    Weight,
};
use burn_tensor::{Bool, IndexingUpdateOp, Int, Tensor};

/// Default of [`TrainingOps::lm_head_cross_entropy`].
pub fn lm_head_cross_entropy<B: TrainingOps>(
    inputs: LossInputs<'_, B>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossForward<B> {
    let mut losses = Losses::new(&inputs, options);
    for chunk in split_chunks(&inputs, options) {
        losses.measure(&chunk, chunk.multiply(inputs.weight, config));
    }
    losses.finish()
}

/// Default of [`TrainingOps::lm_head_cross_entropy_backward`]: `dlogits = (exp(logits - lse) - onehot) · grad / count`.
pub fn lm_head_cross_entropy_backward<B: TrainingOps>(
    inputs: LossInputs<'_, B>,
    lse: Tensor<B, 2>,
    grad: Tensor<B, 1>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossGrads<B> {
    let mut sums = GradientSums::new(&inputs, true);
    differentiate_chunks(&inputs, lse, grad, options, config, &mut sums);
    let like = (&inputs.hidden.device(), inputs.hidden.dtype());
    let zeros = || Tensor::zeros(inputs.weight.unpack().dims(), like);
    LossGrads { weight: sums.total.unwrap_or_else(zeros), hidden: join(sums.rows, inputs.hidden) }
}

/// The gradient of `hidden` alone: what a frozen head needs.
pub fn lm_head_cross_entropy_input_gradient<B: TrainingOps>(
    inputs: LossInputs<'_, B>,
    lse: Tensor<B, 2>,
    grad: Tensor<B, 1>,
    options: LossOptions,
    config: &KernelConfig,
) -> Tensor<B, 2> {
    let mut sums = GradientSums::new(&inputs, false);
    differentiate_chunks(&inputs, lse, grad, options, config, &mut sums);
    join(sums.rows, inputs.hidden)
}

/// Default of [`TrainingOps::lm_head_cross_entropy_differentiated`].
pub fn lm_head_cross_entropy_differentiated<B: TrainingOps>(
    inputs: LossInputs<'_, B>,
    weight_trains: bool,
    options: LossOptions,
    config: &KernelConfig,
) -> DifferentiatedLoss<B> {
    let mut losses = Losses::new(&inputs, options);
    let mut sums = GradientSums::new(&inputs, weight_trains);
    let share = losses.count.clone().recip();
    for chunk in split_chunks(&inputs, options) {
        let logits = chunk.multiply(inputs.weight, config);
        let lse = losses.measure(&chunk, logits.clone());
        sums.add(&chunk, chunk.differentiate(logits, lse, share.clone()), config);
    }
    let like = (&inputs.hidden.device(), inputs.hidden.dtype());
    let zeros = || Tensor::zeros(inputs.weight.unpack().dims(), like);
    DifferentiatedLoss {
        forward: losses.finish(),
        weight: weight_trains.then(|| sums.total.unwrap_or_else(zeros)),
        hidden: join(sums.rows, inputs.hidden),
    }
}

/// Adds the gradients of every chunk to `sums`.
fn differentiate_chunks<B: TrainingOps>(
    inputs: &LossInputs<'_, B>,
    lse: Tensor<B, 2>,
    grad: Tensor<B, 1>,
    options: LossOptions,
    config: &KernelConfig,
    sums: &mut GradientSums<'_, B>,
) {
    let share = grad / Losses::new(inputs, options).count;
    for chunk in split_chunks(inputs, options) {
        let logits = chunk.multiply(inputs.weight, config);
        let lse = lse.clone().narrow(0, chunk.start, chunk.len());
        sums.add(&chunk, chunk.differentiate(logits, lse, share.clone()), config);
    }
}

/// The loss of the chunks so far.
struct Losses<B: FusedOps> {
    total: Tensor<B, 1>,
    lse: Vec<Tensor<B, 2>>,
    /// How many targets count, `[1]`.
    count: Tensor<B, 1>,
}

impl<B: FusedOps> Losses<B> {
    fn new(inputs: &LossInputs<'_, B>, options: LossOptions) -> Self {
        let like = (&inputs.hidden.device(), inputs.hidden.dtype());
        let count = Labels::new(inputs.targets.clone(), options).count().cast(like.1);
        Self { total: Tensor::zeros([1], like), lse: Vec::new(), count }
    }

    /// Adds the loss of a chunk; its log-sum-exps.
    fn measure(&mut self, chunk: &Chunk<B>, logits: Tensor<B, 2>) -> Tensor<B, 2> {
        let Labels { ids, ignored } = chunk.labels.clone();
        let max = logits.clone().detach().max_dim(1);
        let lse = (logits.clone() - max.clone()).exp().sum_dim(1).log() + max;
        let losses = lse.clone() - logits.gather(1, ids);
        self.total = self.total.clone() + losses.mask_fill(ignored.clone(), 0.0).sum();
        let lse = lse.mask_fill(ignored, 0.0);
        self.lse.push(lse.clone());
        lse
    }

    fn finish(self) -> LossForward<B> {
        let like = (&self.total.device(), self.total.dtype());
        let lse = if self.lse.is_empty() { Tensor::zeros([0, 1], like) } else { Tensor::cat(self.lse, 0) };
        LossForward { loss: self.total / self.count, lse }
    }
}

/// Gradients of the chunks so far.
struct GradientSums<'a, B: TrainingOps> {
    weight: &'a Weight<B>,
    weight_trains: bool,
    rows: Vec<Tensor<B, 2>>,
    total: Option<Tensor<B, 2>>,
}

impl<'a, B: TrainingOps> GradientSums<'a, B> {
    fn new(inputs: &LossInputs<'a, B>, weight_trains: bool) -> Self {
        Self { weight: inputs.weight, weight_trains, rows: Vec::new(), total: None }
    }

    /// Those of a chunk from its logits' gradients.
    fn add(&mut self, chunk: &Chunk<B>, dlogits: Tensor<B, 2>, config: &KernelConfig) {
        if self.weight_trains {
            let (hidden, total) = (chunk.hidden.clone(), self.total.take());
            self.total = Some(B::linear_weight_gradient(hidden, dlogits.clone(), total, config));
        }
        self.rows.push(B::linear_input_gradient(self.weight, dlogits, None, config));
    }
}

/// Positions whose logits exist at one time.
struct Chunk<B: FusedOps> {
    start: usize,
    hidden: Tensor<B, 2>,
    labels: Labels<B>,
}

impl<B: FusedOps> Chunk<B> {
    fn len(&self) -> usize {
        self.hidden.dims()[0]
    }

    /// The logits.
    fn multiply(&self, weight: &Weight<B>, config: &KernelConfig) -> Tensor<B, 2> {
        FusedOps::linear(self.hidden.clone(), weight, Epilogue::default(), config)
    }

    /// The gradient of the logits: `(exp(logits - lse) - onehot) · share`.
    fn differentiate(&self, logits: Tensor<B, 2>, lse: Tensor<B, 2>, share: Tensor<B, 1>) -> Tensor<B, 2> {
        let [length, vocab] = logits.dims();
        let like = (&logits.device(), logits.dtype());
        let minus = Tensor::full([length, 1], -1.0, like);
        let probabilities = (logits - lse).exp();
        let dlogits = probabilities.scatter(1, self.labels.ids.clone(), minus, IndexingUpdateOp::Add);
        let dlogits = dlogits * share.unsqueeze::<2>();
        // After the product: with nothing counted the share is infinite, and an ignored row is 0 all the same.
        dlogits.mask_fill(self.labels.ignored.clone().expand([length, vocab]), 0.0)
    }
}

/// Targets with a valid id in every row.
#[derive(Clone)]
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

/// The chunks.
fn split_chunks<'a, B: FusedOps>(
    inputs: &'a LossInputs<'_, B>,
    options: LossOptions,
) -> impl Iterator<Item = Chunk<B>> + use<'a, B> {
    let chunk = options.chunk.max(1);
    let labels = Labels::new(inputs.targets.clone(), options);
    let tokens = inputs.hidden.dims()[0];
    (0..tokens).step_by(chunk).map(move |start| {
        let length = chunk.min(tokens - start);
        let hidden = inputs.hidden.clone().narrow(0, start, length);
        Chunk { start, hidden, labels: labels.narrow(start, length) }
    })
}

/// Chunks behind each other; `empty` when there are none.
fn join<B: FusedOps>(chunks: Vec<Tensor<B, 2>>, empty: Tensor<B, 2>) -> Tensor<B, 2> {
    if chunks.is_empty() { empty } else { Tensor::cat(chunks, 0) }
}
