//! The decoder in both directions.

use super::features::{FeatureGrads, Features};
use super::inputs::{Inputs, upload};
use super::layer::{Saved, Task, advance, retreat};
use super::trains::{Wanted, trains};
use super::{Gradients, LayerPlan};
use burn::module::AutodiffModule;
use burn::tensor::{DType, Tensor};
use burn_autodiff::Autodiff;
use burn_kiln_fusion::{AttentionOptions, FusedOps, KernelConfig, Rotary, TrainingOps};
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_burn::text::LayerContext;

/// The decoder over one batch.
pub(super) struct Decoder<'a, B: TrainingOps> {
    model: &'a Qwen3Vl<Autodiff<B>>,
    inputs: &'a Inputs,
    wanted: &'a Wanted,
    plan: &'a LayerPlan,
    rotary: Rotary<B>,
}

impl<'a, B: TrainingOps> Decoder<'a, B> {
    pub fn new(model: &'a Qwen3Vl<Autodiff<B>>, inputs: &'a Inputs, wanted: &'a Wanted, plan: &'a LayerPlan) -> Self {
        let text = &model.language_model;
        let rotary = text.rotary.forward::<B>(&inputs.positions, &inputs.lengths, &model.device());
        Self { model, inputs, wanted, plan, rotary }
    }

    fn config(&self) -> &'a KernelConfig {
        self.model.kernel_config()
    }

    fn task(&self, index: usize) -> Task {
        let input_wanted = self.wanted.layers[index];
        let recorded = input_wanted || trains::<B, _>(&self.model.language_model.layers[index]);
        Task { recorded, input_wanted, keep: self.plan.text[index] }
    }

    /// Layer `index` with a tape.
    fn record(&self, index: usize, x: Tensor<Autodiff<B>, 3>) -> Tensor<Autodiff<B>, 3> {
        let Rotary { cos, sin } = self.rotary.clone();
        let rotary = Rotary { cos: Tensor::from_inner(cos), sin: Tensor::from_inner(sin) };
        self.model.language_model.layers[index].forward(x, &self.context(&rotary, &causal()), Vec::new())
    }

    fn context<'b, C: FusedOps>(
        &'b self,
        rotary: &'b Rotary<C>,
        attention: &'b AttentionOptions<C>,
    ) -> LayerContext<'b, C> {
        LayerContext { rotary, attention, lengths: &self.inputs.lengths, kernels: self.config() }
    }

    /// The rows behind the last layer, and what is kept.
    #[allow(clippy::type_complexity)] // a list beside a tensor
    pub fn forward(&self, features: Option<Features<B>>) -> (Tensor<B, 3>, Vec<Saved<B, 3, 3>>) {
        let text = &self.model.language_model;
        let device = self.model.device();
        let ids = upload::<B>(self.inputs.ids.clone(), &device).unsqueeze();
        let table = text.embed_tokens.valid();
        let mut x = table.forward(ids, self.config());
        let mut deepstack = Vec::new();
        if let Some(features) = features {
            x = self.inputs.visual.replace(x, &features.features);
            deepstack = features.deepstack;
        }
        let attention = causal();
        let mut saved = Vec::with_capacity(text.layers.len());
        for (index, layer) in text.layers.iter().enumerate() {
            let plain = |x| layer.valid().forward(x, &self.context(&self.rotary, &attention), Vec::new());
            let (output, kept) = advance(x, self.task(index), plain, |x| self.record(index, x));
            saved.push(kept);
            x = match deepstack.get(index) {
                Some(features) => self.inputs.visual.add(output, features),
                None => output,
            };
        }
        (x, saved)
    }

    /// Back to the embedding; `grad` is that of the rows behind the last layer.
    pub fn reverse(
        &self,
        mut saved: Vec<Saved<B, 3, 3>>,
        mut grad: Tensor<B, 3>,
        gradients: &mut Gradients<B>,
    ) -> FeatureGrads<B> {
        let text = &self.model.language_model;
        let taps = self.wanted.taps.len();
        let mut deepstack: Vec<Option<Tensor<B, 2>>> = vec![None; taps];
        while let Some(kept) = saved.pop() {
            let index = saved.len();
            if self.wanted.taps.get(index).is_some_and(|&wanted| wanted) {
                deepstack[index] = Some(self.take_visual(&grad));
            }
            let record = |x| self.record(index, x);
            match retreat(kept, grad, self.task(index), record, (&text.layers[index], &mut *gradients)) {
                Some(input) => grad = input,
                // Nothing below wants a gradient, no tap either: it would want one here.
                None => return FeatureGrads { features: None, deepstack },
            }
        }
        let features = self.wanted.features.then(|| self.take_visual(&grad));
        if self.wanted.table {
            self.differentiate_table(grad, gradients);
        }
        FeatureGrads { features, deepstack }
    }

    /// Rows of pictures, `[visual rows, hidden]`.
    fn take_visual(&self, grad: &Tensor<B, 3>) -> Tensor<B, 2> {
        let rows = self.inputs.visual.indices().map(|row| row as i64).collect();
        grad.clone().flatten::<2>(0, 1).select(0, upload(rows, &grad.device()))
    }

    /// Adds the rows of text to the table's gradient.
    fn differentiate_table(&self, grad: Tensor<B, 3>, gradients: &mut Gradients<B>) {
        let weight = &self.model.language_model.embed_tokens.weight;
        let device = grad.device();
        let mut grad: Tensor<B, 2> = grad.flatten(0, 1);
        let mut ids = self.inputs.ids.clone();
        if !self.inputs.visual.is_empty() {
            let mut is_text = vec![true; ids.len()];
            self.inputs.visual.indices().for_each(|row| is_text[row] = false);
            let rows: Vec<i64> = (0..).zip(&is_text).filter(|(_, text)| **text).map(|(row, _)| row).collect();
            ids = rows.iter().map(|&row| ids[row as usize]).collect();
            grad = grad.select(0, upload(rows, &device));
        }
        let ids = upload(ids, &device).unsqueeze();
        gradients.add_rows(weight, ids, grad.cast(DType::F32).unsqueeze(), self.config());
    }
}

/// The attention of decoder layers.
fn causal<C: FusedOps>() -> AttentionOptions<C> {
    AttentionOptions { causal: true, ..Default::default() }
}
