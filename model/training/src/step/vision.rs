//! The vision tower in both directions.

use super::forward::FeatureGrads;
use super::inputs::{Pictures, upload};
use super::layer::{Saved, Task, advance, retreat};
use super::tape::{Collect, backward};
use super::trains::{Wanted, trains};
use super::{Gradients, Keep, LayerPlan};
use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_kiln_fusion::{AttentionOptions, KernelConfig, Rotary, TrainingOps};
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_burn::processor::Grid;
use qwen3_vl_burn::vision::VisionContext;

/// What the decoder gets from the tower: a row for each visual row of the batch.
pub(super) struct Features<B: Backend> {
    pub features: Tensor<B, 2>,
    pub deepstack: Vec<Tensor<B, 2>>,
}

/// The tower over the pictures of one batch.
pub(super) struct Tower<'a, B: TrainingOps> {
    model: &'a Qwen3Vl<Autodiff<B>>,
    wanted: &'a Wanted,
    plan: &'a LayerPlan,
    patches: Tensor<B, 2>,
    grids: Vec<Grid>,
    order: Option<Vec<i64>>,
    plain: VisionContext<B>,
    taped: VisionContext<Autodiff<B>>,
    blocks: Vec<Saved<B, 3, 3>>,
    taps: Vec<Saved<B, 3, 2>>,
    merger: Saved<B, 3, 2>,
}

impl<'a, B: TrainingOps> Tower<'a, B> {
    pub fn new(model: &'a Qwen3Vl<Autodiff<B>>, pictures: Pictures, wanted: &'a Wanted, plan: &'a LayerPlan) -> Self {
        let Pictures { pixels, grids, order } = pictures;
        let device = model.device();
        let width = model.config().vision.patch_dim();
        let shape = [pixels.len() / width, width];
        let plain = model.visual.valid().context(&grids, &device);
        let Rotary { cos, sin } = plain.rotary.clone();
        let taped = VisionContext {
            rotary: Rotary { cos: Tensor::from_inner(cos), sin: Tensor::from_inner(sin) },
            attention: AttentionOptions {
                segments: plain.attention.segments.clone(),
                kv_dtype: plain.attention.kv_dtype,
                ..Default::default()
            },
        };
        let patches = Tensor::from_data(TensorData::new(pixels, shape), &device);
        let (blocks, taps, merger) = (Vec::new(), Vec::new(), Saved::Nothing);
        Self { model, wanted, plan, patches, grids, order, plain, taped, blocks, taps, merger }
    }

    fn config(&self) -> &'a KernelConfig {
        self.model.kernel_config()
    }

    fn block_task(&self, index: usize) -> Task {
        let input_wanted = self.wanted.blocks[index];
        let recorded = input_wanted || trains::<B, _>(&self.model.visual.blocks[index]);
        Task { recorded, input_wanted, keep: self.plan.vision[index] }
    }

    /// A merger keeps what the block before it keeps.
    fn merger_task(&self, recorded: bool, block: Option<usize>) -> Task {
        let input_wanted = self.wanted.blocks[block.map_or(0, |block| block + 1)];
        Task { recorded, input_wanted, keep: block.map_or(Keep::Input, |block| self.plan.vision[block]) }
    }

    fn record_block(&self, index: usize, x: Tensor<Autodiff<B>, 3>) -> Tensor<Autodiff<B>, 3> {
        let VisionContext { rotary, attention } = &self.taped;
        self.model.visual.blocks[index].forward(x, rotary, attention, self.config())
    }

    /// Features of all pictures, in the order of the batch's rows.
    pub fn forward(&mut self) -> Features<B> {
        let (tower, config) = (&self.model.visual, self.config());
        let mut x = tower.valid().embed(self.patches.clone(), &self.grids, config);
        let mut deepstack = Vec::new();
        for (index, block) in tower.blocks.iter().enumerate() {
            let VisionContext { rotary, attention } = &self.plain;
            let plain = |x| block.valid().forward(x, rotary, attention, config);
            let (output, saved) = advance(x, self.block_task(index), plain, |x| self.record_block(index, x));
            self.blocks.push(saved);
            x = output;
            if let Some(tap) = tower.config.tap_after(index) {
                let merger = &tower.deepstack_merger_list[tap];
                let task = self.merger_task(self.wanted.taps[tap], Some(index));
                let plain = |x| merger.valid().forward(x, config);
                let (feature, saved) = advance(x.clone(), task, plain, |x| merger.forward(x, config));
                self.taps.push(saved);
                deepstack.push(self.arrange(feature));
            }
        }
        let merger = &tower.merger;
        let task = self.merger_task(self.wanted.features, tower.blocks.len().checked_sub(1));
        let (features, saved) = advance(x, task, |x| merger.valid().forward(x, config), |x| merger.forward(x, config));
        self.merger = saved;
        Features { features: self.arrange(features), deepstack }
    }

    fn arrange(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.order {
            Some(order) => {
                let order = upload(order.clone(), &features.device());
                features.select(0, order)
            }
            None => features,
        }
    }

    /// The gradient of features from that of rows.
    fn arrange_back(&self, grad: Tensor<B, 2>) -> Tensor<B, 2> {
        let Some(order) = &self.order else { return grad };
        let mut places = vec![0; order.len()];
        (0..).zip(order).for_each(|(row, &feature)| places[feature as usize] = row);
        let places = upload(places, &grad.device());
        grad.select(0, places)
    }

    /// Back to the patches.
    pub fn reverse(mut self, grads: FeatureGrads<B>, gradients: &mut Gradients<B>) {
        let (tower, config) = (&self.model.visual, self.config());
        let FeatureGrads { features, mut deepstack } = grads;
        let mut grad = features.and_then(|grad| {
            let (merger, grad) = (&tower.merger, self.arrange_back(grad));
            let task = self.merger_task(true, tower.blocks.len().checked_sub(1));
            let saved = std::mem::replace(&mut self.merger, Saved::Nothing);
            retreat(saved, grad, task, |x| merger.forward(x, config), (merger, &mut *gradients))
        });
        while let Some(saved) = self.blocks.pop() {
            let index = self.blocks.len();
            if let Some(tap) = tower.config.tap_after(index)
                && let Some(tap_grad) = deepstack[tap].take()
            {
                let (merger, tap_grad) = (&tower.deepstack_merger_list[tap], self.arrange_back(tap_grad));
                let task = self.merger_task(true, Some(index));
                let saved = std::mem::replace(&mut self.taps[tap], Saved::Nothing);
                let back = retreat(saved, tap_grad, task, |x| merger.forward(x, config), (merger, &mut *gradients));
                grad = match (grad, back) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                };
            }
            let Some(output) = grad else { continue };
            let record = |x| self.record_block(index, x);
            grad = retreat(saved, output, self.block_task(index), record, (&tower.blocks[index], &mut *gradients));
        }
        if let Some(grad) = grad.filter(|_| self.wanted.blocks[0]) {
            let output = tower.embed(Tensor::from_inner(self.patches), &self.grids, config);
            if let Some(mut tape) = backward(output, grad) {
                Collect { tape: &mut tape, gradients: &mut *gradients }.from(&tower.patch_embed);
                Collect { tape: &mut tape, gradients }.from(&tower.pos_embed);
            }
        }
    }
}
