//! The tensors that a configuration needs, by the names that released checkpoints give them, and the comparison with
//! what a checkpoint has.
//!
//! A linear layer's weight is `[out, in]`; a mixture's experts are fused and `[expert, in, out]`.

use super::{Checkpoint, CheckpointError, MisshapedTensor, ShapeReport};
use crate::Result;
use crate::config::{Qwen3VlConfig, TextConfig, VisionConfig};
use std::collections::BTreeSet;

/// The token embedding, `[vocab, hidden]`.
pub(crate) const EMBEDDING: &str = "model.language_model.embed_tokens.weight";
/// The vocabulary head, `[vocab, hidden]`; absent where it is the token embedding.
pub(crate) const HEAD: &str = "lm_head.weight";

/// A tensor that the model needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExpectedTensor {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
}

/// Every tensor of the model that `config` describes, in the order of the computation.
///
/// `config` must be valid ([`Qwen3VlConfig::validate`]). A tied model's `lm_head.weight` isn't in the list.
pub fn expected_tensors(config: &Qwen3VlConfig) -> Vec<ExpectedTensor> {
    let mut list = TensorList::default();
    list_vision(&mut list, &config.vision);
    list_text(&mut list, &config.text);
    list.0
}

#[derive(Default)]
struct TensorList(Vec<ExpectedTensor>);

impl TensorList {
    fn push(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.push(ExpectedTensor { name: name.into(), shape: shape.to_vec() });
    }

    /// A layer with a bias: `{name}.weight` of shape `shape`, `{name}.bias` of its first size.
    fn push_biased(&mut self, name: &str, shape: &[usize]) {
        self.push(format!("{name}.weight"), shape);
        self.push(format!("{name}.bias"), &shape[..1]);
    }
}

fn list_vision(list: &mut TensorList, vision: &VisionConfig) {
    let (hidden, merged, out) = (vision.hidden_size, vision.merged_size(), vision.out_hidden_size);
    let patch = vision.patch_size;
    let patch_shape = [hidden, vision.in_channels, vision.temporal_patch_size, patch, patch];
    list.push_biased("model.visual.patch_embed.proj", &patch_shape);
    list.push("model.visual.pos_embed.weight", &[vision.num_position_embeddings, hidden]);
    for block in 0..vision.depth {
        let name = |part: &str| format!("model.visual.blocks.{block}.{part}");
        list.push_biased(&name("norm1"), &[hidden]);
        list.push_biased(&name("attn.qkv"), &[3 * hidden, hidden]);
        list.push_biased(&name("attn.proj"), &[hidden, hidden]);
        list.push_biased(&name("norm2"), &[hidden]);
        list.push_biased(&name("mlp.linear_fc1"), &[vision.intermediate_size, hidden]);
        list.push_biased(&name("mlp.linear_fc2"), &[hidden, vision.intermediate_size]);
    }
    // The merger normalises patches and then joins them; the DeepStack mergers join first.
    let deepstack =
        (0..vision.deepstack_visual_indexes.len()).map(|tap| (format!("deepstack_merger_list.{tap}"), merged));
    for (merger, normed) in deepstack.chain([("merger".to_owned(), hidden)]) {
        list.push_biased(&format!("model.visual.{merger}.norm"), &[normed]);
        list.push_biased(&format!("model.visual.{merger}.linear_fc1"), &[merged, merged]);
        list.push_biased(&format!("model.visual.{merger}.linear_fc2"), &[out, merged]);
    }
}

fn list_text(list: &mut TensorList, text: &TextConfig) {
    let hidden = text.hidden_size;
    list.push(EMBEDDING, &[text.vocab_size, hidden]);
    for layer in 0..text.num_hidden_layers {
        let name = |part: &str| format!("model.language_model.layers.{layer}.{part}");
        list.push(name("input_layernorm.weight"), &[hidden]);
        let projections = [
            ("q_proj", [text.q_dim(), hidden]),
            ("k_proj", [text.kv_dim(), hidden]),
            ("v_proj", [text.kv_dim(), hidden]),
            ("o_proj", [hidden, text.q_dim()]),
        ];
        for (projection, shape) in projections {
            let projection = name(&format!("self_attn.{projection}"));
            if text.attention_bias {
                list.push_biased(&projection, &shape);
            } else {
                list.push(format!("{projection}.weight"), &shape);
            }
        }
        list.push(name("self_attn.q_norm.weight"), &[text.head_dim]);
        list.push(name("self_attn.k_norm.weight"), &[text.head_dim]);
        list.push(name("post_attention_layernorm.weight"), &[hidden]);
        match &text.moe {
            Some(moe) if text.is_moe_layer(layer) => {
                let (experts, width) = (moe.num_experts, moe.moe_intermediate_size);
                list.push(name("mlp.gate.weight"), &[experts, hidden]);
                list.push(name("mlp.experts.gate_up_proj"), &[experts, hidden, 2 * width]);
                list.push(name("mlp.experts.down_proj"), &[experts, width, hidden]);
            }
            _ => {
                list.push(name("mlp.gate_proj.weight"), &[text.intermediate_size, hidden]);
                list.push(name("mlp.up_proj.weight"), &[text.intermediate_size, hidden]);
                list.push(name("mlp.down_proj.weight"), &[hidden, text.intermediate_size]);
            }
        }
    }
    list.push("model.language_model.norm.weight", &[hidden]);
    if !text.tie_word_embeddings {
        list.push(HEAD, &[text.vocab_size, hidden]);
    }
}

/// Whether a tensor that the model doesn't need is nothing to speak of: the head of a tied model, which some tools
/// save, and rotary frequencies, which older HF versions saved and which are computed.
fn is_tolerated(name: &str) -> bool {
    name == HEAD || name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_pos_emb.inv_freq")
}

impl Checkpoint {
    /// Compares the checkpoint with what the model needs, before any tensor is read.
    ///
    /// The scales of an FP8 weight (of a checkpoint [with them](Checkpoint::with_quantization)) are as necessary as the
    /// weight. Surplus tensors are passed over, as in HF, and one warning names them: multi-token prediction (`mtp.*`),
    /// value heads, scales of an FP8 cache of keys and values, layers beyond the configuration's. A surplus
    /// `lm_head.weight` (of a tied model), rotary `inv_freq` or scale of FP8 activations is not spoken of.
    ///
    /// # Errors
    /// [`CheckpointError::Mismatch`], one error with every missing and misshaped tensor, and the surplus ones, among
    /// which the missing may be under another name. [`CheckpointError::Foreign`] where the checkpoint is known to be
    /// another program's.
    pub fn check(&self, expected: &[ExpectedTensor]) -> Result<()> {
        let mut report = ShapeReport::default();
        let mut wanted: BTreeSet<String> = expected.iter().map(|tensor| tensor.name.clone()).collect();
        for tensor in expected {
            if let Some(assembly) = self.assemblies.get(&tensor.name) {
                report.missing.extend(assembly.missing.iter().cloned());
                report.misshaped.extend(assembly.misshaped.iter().map(|tensor| self.name_as_stored(tensor.clone())));
            }
            match self.shape(&tensor.name) {
                Err(_) => report.missing.push(tensor.name.clone()),
                Ok(found) if found != tensor.shape => report.misshaped.push(self.name_as_stored(MisshapedTensor {
                    name: tensor.name.clone(),
                    expected: tensor.shape.clone(),
                    found: found.to_vec(),
                })),
                Ok(_) => {
                    for source in self.sources_of(&tensor.name) {
                        if self.is_fp8(source) {
                            wanted.extend(self.check_scales(source, &mut report));
                        }
                        wanted.insert(source.to_owned());
                    }
                }
            }
        }
        let is_surplus = |name: &str| !wanted.contains(name) && !is_tolerated(name) && !self.is_activation_scale(name);
        let surplus = self.names().filter(|name| is_surplus(name));
        report.surplus = surplus.map(|name| self.stored_name(name).to_owned()).collect();
        if report.missing.is_empty() && report.misshaped.is_empty() {
            if !report.surplus.is_empty() {
                let dir = self.dir().display();
                tracing::warn!(%dir, "tensors that the model has no place for are not used: {report}");
            }
            return Ok(());
        }
        let dir = self.dir().to_owned();
        Err(self.name_foreign(CheckpointError::Mismatch { dir, report: Box::new(report) }).into())
    }

    /// A report by the name that the tensor has in its file.
    fn name_as_stored(&self, mut tensor: MisshapedTensor) -> MisshapedTensor {
        tensor.name = self.stored_name(&tensor.name).to_owned();
        tensor
    }

    /// Reports scales of the FP8 weight `name` that are missing or of another shape; gives their name if they are
    /// there.
    fn check_scales(&self, name: &str, report: &mut ShapeReport) -> Option<String> {
        let Some(scales) = self.scale_name(name) else {
            report.missing.push(format!("{name}_scale_inv"));
            return None;
        };
        if let Some(expected) = self.misshaped_scales(name, &scales) {
            let found = self.shape(&scales).map(<[usize]>::to_vec).unwrap_or_default();
            report.misshaped.push(self.name_as_stored(MisshapedTensor { name: scales.clone(), expected, found }));
        }
        Some(scales)
    }
}
