//! What of a model trains, and so which parts of a pass have to be recorded.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_autodiff::Autodiff;
use qwen3_vl_burn::Qwen3Vl;

#[derive(Default)]
struct AnyTracked(bool);

impl<B: Backend> ModuleVisitor<Autodiff<B>> for AnyTracked {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        self.0 |= param.val().is_require_grad();
    }
}

/// Whether a parameter of the module wants a gradient.
pub(super) fn trains<B: Backend, M: Module<Autodiff<B>>>(module: &M) -> bool {
    let mut any = AnyTracked::default();
    module.visit(&mut any);
    any.0
}

/// For each part of a pass, whether the gradient has to come back to its output.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// At the output of the tower's embedding, and of each block: `blocks[i]` is the input of block `i`.
    pub blocks: Vec<bool>,
    /// At each DeepStack feature.
    pub taps: Vec<bool>,
    /// At the tower's features.
    pub features: bool,
    /// At the table.
    pub table: bool,
    /// At the input of each decoder layer, and of the final norm.
    pub layers: Vec<bool>,
}

impl Wanted {
    /// `pictures`: whether the batch has any.
    pub fn new<B: Backend>(model: &Qwen3Vl<Autodiff<B>>, pictures: bool) -> Self {
        let tower = &model.visual;
        let mut wanted = pictures && (trains::<B, _>(&tower.patch_embed) || trains::<B, _>(&tower.pos_embed));
        let mut blocks = vec![wanted];
        let mut taps = vec![false; tower.deepstack_merger_list.len()];
        for (index, block) in tower.blocks.iter().enumerate() {
            wanted |= pictures && trains::<B, _>(block);
            blocks.push(wanted);
            if let Some(tap) = tower.config.tap_after(index) {
                taps[tap] = wanted || (pictures && trains::<B, _>(&tower.deepstack_merger_list[tap]));
            }
        }
        let features = wanted || (pictures && trains::<B, _>(&tower.merger));
        let text = &model.language_model;
        let table = trains::<B, _>(&text.embed_tokens);
        let mut wanted = table || features;
        let mut layers = vec![wanted];
        for (index, layer) in text.layers.iter().enumerate() {
            wanted |= trains::<B, _>(layer) || taps.get(index).is_some_and(|&tap| tap);
            layers.push(wanted);
        }
        Self { blocks, taps, features, table, layers }
    }
}
