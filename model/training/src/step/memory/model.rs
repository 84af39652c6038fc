//! Sizes of a model's parts, and what of them trains.

use super::super::trains::{Wanted, trains};
use super::super::{Keep, LayerPlan};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_autodiff::Autodiff;
use qwen3_vl_burn::config::{TextConfig, VisionConfig};
use qwen3_vl_burn::layers::Linear;
use qwen3_vl_burn::text::Mlp;
use qwen3_vl_burn::{Qwen3Vl, Qwen3VlConfig};

/// Parameters of a module, bytes and elements.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ParameterSizes {
    /// Bytes of all.
    pub weights: u64,
    /// Elements of those that train.
    pub elements: u64,
    /// Bytes of those that train, in their own types.
    pub trained: u64,
    /// Elements of those that train and are not f32.
    pub rounded: u64,
    /// Elements of the largest that trains.
    pub largest: u64,
    /// Elements of those of adapters.
    pub adapters: u64,
    /// Elements of the largest that is not f32.
    pub narrow: u64,
}

impl ParameterSizes {
    fn of<B: Backend, M: Module<Autodiff<B>>>(module: &M) -> Self {
        let mut sizes = Measure { sizes: Self::default(), path: Vec::new() };
        module.visit(&mut sizes);
        sizes.sizes
    }
}

struct Measure {
    sizes: ParameterSizes,
    path: Vec<String>,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Measure {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let (tensor, sizes) = (param.val(), &mut self.sizes);
        let elements = tensor.shape().num_elements() as u64;
        let bytes = elements * tensor.dtype().size() as u64;
        sizes.weights += bytes;
        if tensor.dtype() != DType::F32 {
            sizes.narrow = sizes.narrow.max(elements);
        }
        if tensor.is_require_grad() {
            sizes.elements += elements;
            sizes.trained += bytes;
            sizes.largest = sizes.largest.max(elements);
            if tensor.dtype() != DType::F32 {
                sizes.rounded += elements;
            }
            if self.path.iter().any(|module| module == "lora") {
                sizes.adapters += elements;
            }
        }
    }
}

/// A layer of the tower or of the decoder.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerSizes {
    pub parameters: ParameterSizes,
    /// Whether a gradient goes through it.
    pub recorded: bool,
    /// Elements of its experts, where it has some and they are frozen.
    pub frozen_experts: u64,
    /// Whether it has experts.
    pub sparse: bool,
    /// Floats a row that adapters with dropout keep: of each the mask, what it leaves, and the product with `A`, twice.
    pub dropped: u64,
}

/// Floats a row that the adapters of these layers keep for dropout.
fn dropped<'a, B: Backend>(layers: impl IntoIterator<Item = &'a Linear<Autodiff<B>>>) -> u64 {
    let adapters = layers.into_iter().filter_map(|layer| layer.lora.as_ref());
    let dropping = adapters.filter(|lora| lora.dropout.probability > 0.0);
    dropping.map(|lora| 2 * lora.a.lazy_shape().dims::<2>().iter().sum::<usize>() as u64).sum()
}

/// What the plan needs to know of a model.
#[derive(Debug)]
pub(super) struct ModelSizes {
    pub vision: VisionConfig,
    pub text: TextConfig,
    pub all: ParameterSizes,
    pub blocks: Vec<LayerSizes>,
    pub layers: Vec<LayerSizes>,
    /// Whether gradients go through the mergers.
    pub mergers: bool,
    /// Elements of the head's matrix, and whether it trains.
    pub head: (u64, bool),
    /// Elements of the table, and whether it trains.
    pub table: (u64, bool),
}

/// A layer in the order in which tapes are kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Vision(usize),
    Text(usize),
}

impl Place {
    pub fn keep(self, plan: &mut LayerPlan) -> &mut Keep {
        match self {
            Self::Vision(index) => &mut plan.vision[index],
            Self::Text(index) => &mut plan.text[index],
        }
    }
}

impl ModelSizes {
    pub fn measure<B: Backend>(model: &Qwen3Vl<Autodiff<B>>, pictures: bool) -> Self {
        let Qwen3VlConfig { vision, text, .. } = model.config();
        let wanted = Wanted::new(model, pictures);
        let (tower, decoder) = (&model.visual, &model.language_model);
        let blocks = tower.blocks.iter().enumerate().map(|(index, block)| LayerSizes {
            parameters: ParameterSizes::of(block),
            recorded: wanted.blocks[index] || (pictures && trains::<B, _>(block)),
            frozen_experts: 0,
            sparse: false,
            dropped: dropped([&block.attn.qkv, &block.attn.proj, &block.mlp.linear_fc1, &block.mlp.linear_fc2]),
        });
        let layers = decoder.layers.iter().enumerate().map(|(index, layer)| {
            let experts = match &layer.mlp {
                Mlp::Sparse(mlp) => Some(&mlp.experts),
                Mlp::Dense(_) => None,
            };
            let frozen = experts.filter(|experts| !trains::<B, _>(*experts)).map_or(0, |experts| {
                (experts.gate_up_proj.lazy_shape().num_elements() + experts.down_proj.lazy_shape().num_elements())
                    as u64
            });
            LayerSizes {
                parameters: ParameterSizes::of(layer),
                recorded: wanted.layers[index] || trains::<B, _>(layer),
                frozen_experts: frozen,
                sparse: experts.is_some(),
                dropped: {
                    let attention = &layer.self_attn;
                    let projections = [&attention.q_proj, &attention.k_proj, &attention.v_proj, &attention.o_proj];
                    let mlp = match &layer.mlp {
                        Mlp::Dense(mlp) => vec![&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj],
                        Mlp::Sparse(_) => Vec::new(),
                    };
                    dropped(projections.into_iter().chain(mlp))
                },
            }
        });
        let table = (text.vocab_size * text.hidden_size) as u64;
        let head = model.lm_head.as_ref().map_or(wanted.table, |head| trains::<B, _>(head));
        Self {
            blocks: blocks.collect(),
            layers: layers.collect(),
            all: ParameterSizes::of(model),
            mergers: wanted.features,
            head: (table, head),
            table: (table, wanted.table),
            vision: vision.clone(),
            text: text.clone(),
        }
    }

    pub fn trains(&self) -> bool {
        self.all.elements > 0
    }

    /// Blocks and layers through which a gradient goes.
    pub fn recorded(&self) -> [usize; 2] {
        [&self.blocks, &self.layers].map(|layers| layers.iter().filter(|layer| layer.recorded).count())
    }

    /// Layers that may keep a tape, in the order in which they get one.
    pub fn order(&self) -> Vec<Place> {
        let recorded =
            |layers: &[LayerSizes]| (0..layers.len()).rev().filter(|&index| layers[index].recorded).collect::<Vec<_>>();
        let text = recorded(&self.layers).into_iter().map(Place::Text);
        text.chain(recorded(&self.blocks).into_iter().map(Place::Vision)).collect()
    }
}
