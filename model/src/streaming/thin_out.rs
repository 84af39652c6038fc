//! Takes what is streamed out of a model, and puts in what reads experts.

use super::experts::StreamedExperts;
use super::part::PartKind;
use super::weights::StreamedWeights;
use crate::Qwen3Vl;
use crate::layers::WEIGHT_INITIALIZER;
use crate::text::{DecoderLayer, Experts, Mlp};
use burn::tensor::backend::Backend;
use std::sync::Arc;

impl StreamedExperts {
    /// Makes the experts of the lazy layer `index` these, if it has experts and they are here, and it has not done so
    /// before.
    pub(super) fn attach<B: Backend>(self: &Arc<Self>, index: usize, layer: &mut DecoderLayer<B>) {
        let Mlp::Sparse(mlp) = &mut layer.mlp else { return };
        if mlp.source.is_some() {
            return;
        }
        let [_, hidden, width] = mlp.experts.gate_up_proj.lazy_shape().dims();
        let [_, intermediate, _] = mlp.experts.down_proj.lazy_shape().dims();
        let Some(source) = self.source(index, [[hidden, width], [intermediate, hidden]]) else { return };
        let device = mlp.gate.weight.lazy_device();
        let hollow = || WEIGHT_INITIALIZER.init([0, 0, 0], &device);
        mlp.experts = Experts { gate_up_proj: hollow(), down_proj: hollow() };
        mlp.source = Some(source);
    }
}

impl StreamedWeights {
    /// Makes the experts of layer `index` those that are read by choice, where they are.
    pub(crate) fn attach_experts<B: Backend>(&self, index: usize, layer: &mut DecoderLayer<B>) {
        if let Some(experts) = &self.experts {
            experts.attach(index, layer);
        }
    }

    /// Takes out of a model whose parameters are lazy what is streamed.
    pub(crate) fn thin_out<B: Backend>(self: &Arc<Self>, model: &mut Qwen3Vl<B>) {
        let device = model.device();
        for (index, layer) in model.language_model.layers.iter_mut().enumerate() {
            self.attach_experts(index, layer);
        }
        let layers = std::mem::take(&mut model.language_model.layers).into_iter().enumerate();
        model.language_model.layers =
            layers.filter(|(i, _)| !self.streams(&PartKind::Layer(*i))).map(|(_, layer)| layer).collect();
        let tower = &mut model.visual;
        let blocks = std::mem::take(&mut tower.blocks).into_iter().enumerate();
        tower.blocks = blocks.filter(|(i, _)| !self.streams(&PartKind::Block(*i))).map(|(_, block)| block).collect();
        let taps = std::mem::take(&mut tower.deepstack_merger_list).into_iter().enumerate();
        tower.deepstack_merger_list =
            taps.filter(|(i, _)| !self.streams(&PartKind::Tap(*i))).map(|(_, tap)| tap).collect();
        if self.streams(&PartKind::Merger) {
            tower.hollow_merger(&device);
        }
        if self.table.is_some() {
            model.language_model.hollow_table(&device);
        }
        if self.streams_head() {
            model.lm_head = None;
        }
        model.set_stream(self);
    }
}
