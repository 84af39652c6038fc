//! The parts of a model that are in memory or not as a whole, and where their bytes are.

use super::part::{Part, PartKind};
use super::table::Table;
use crate::Result;
use crate::checkpoint::{Checkpoint, EMBEDDING, ExpectedTensor, HEAD, expected_tensors};
use crate::config::Qwen3VlConfig;
use crate::fill::wanted_dtype;
use burn::tensor::DType;
use burn_kiln_fusion::DeviceLayout;
use kiln_kernels::prefetch::{Piece, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// In the names of all experts' arrays.
const EXPERTS: &str = ".mlp.experts.";

/// All parts of a model but the head, whose pieces depend on the others' sizes, and the table of token embeddings.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) base: Part,
    /// In the order of use: the tower with each tap behind its block, then the decoder.
    pub(crate) parts: Vec<Part>,
    /// The head.
    pub(crate) head: Table,
    /// Whether the head is the token embedding.
    pub(crate) tied: bool,
    /// Experts that are not in their layer's part: by layer, their number and arrays, gate and up first.
    pub(crate) experts: BTreeMap<usize, (usize, Vec<Piece>)>,
    /// What they are stored in.
    pub(crate) experts_dtype: DType,
}

/// Lists the parts of the model that `config` describes, out of a checkpoint that fits it. With `experts_apart`,
/// experts that are used as they lie are not in their layers. With a `layout`, it is a card's memory that is shared
/// out.
pub(crate) fn list_parts(
    config: &Qwen3VlConfig,
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
    (experts_apart, layout): (bool, Option<DeviceLayout>),
) -> Result<Parts> {
    let tied = config.text.tie_word_embeddings;
    let (experts_dtype, apart) =
        if experts_apart { find_experts(config, checkpoint, dtype)? } else { Default::default() };
    let mut experts: BTreeMap<usize, (usize, Vec<Piece>)> = BTreeMap::new();
    let mut tensors: BTreeMap<PartKind, Vec<ExpectedTensor>> = BTreeMap::new();
    for tensor in expected_tensors(config) {
        let kind = kind_of(&tensor.name);
        if let PartKind::Layer(layer) = kind
            && tensor.name.contains(EXPERTS)
            && apart.contains(&layer)
        {
            let (file, range) = checkpoint.location(&tensor.name)?;
            let (_, arrays) = experts.entry(layer).or_insert_with(|| (tensor.shape[0], Vec::new()));
            arrays.push(Piece { name: tensor.name, file, range });
        } else if tensor.name != EMBEDDING && tensor.name != HEAD {
            tensors.entry(kind).or_default().push(tensor);
        }
    }
    let mut part = |kind: PartKind| {
        let tensors = tensors.remove(&kind).unwrap_or_default();
        make_part(checkpoint, kind, tensors, (dtype, layout))
    };
    let base = part(PartKind::Base)?;
    let mut parts = Vec::new();
    for block in 0..config.vision.depth {
        parts.push(part(PartKind::Block(block))?);
        if let Some(tap) = config.vision.deepstack_visual_indexes.iter().position(|&tapped| tapped == block) {
            parts.push(part(PartKind::Tap(tap))?);
        }
    }
    parts.push(part(PartKind::Merger)?);
    for layer in 0..config.text.num_hidden_layers {
        parts.push(part(PartKind::Layer(layer))?);
    }
    let head = Table::find(checkpoint, if tied { EMBEDDING } else { HEAD }, dtype, layout)?;
    Ok(Parts { base, parts, head, tied, experts, experts_dtype: experts_dtype.unwrap_or(DType::F32) })
}

/// Layers whose experts can be apart: both arrays used as they lie, and of one dtype in all these layers.
fn find_experts(
    config: &Qwen3VlConfig,
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
) -> Result<(Option<DType>, BTreeSet<usize>)> {
    let (mut common, mut layers) = (None, BTreeSet::new());
    for layer in (0..config.text.num_hidden_layers).filter(|&layer| config.text.is_moe_layer(layer)) {
        let mut fits = true;
        for array in ["gate_up_proj", "down_proj"] {
            let name = format!("model.language_model.layers.{layer}{EXPERTS}{array}");
            let stored = checkpoint.dtype(&name)?;
            fits &= *common.get_or_insert(stored) == stored && checkpoint.converted_len(&name, dtype)? == 0;
        }
        if fits {
            layers.insert(layer);
        }
    }
    Ok((common, layers))
}

/// The part that a tensor belongs to.
fn kind_of(name: &str) -> PartKind {
    let number = |prefix: &str| {
        let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
        number.parse().ok()
    };
    let block = number("model.visual.blocks.").map(PartKind::Block);
    let tap = || number("model.visual.deepstack_merger_list.").map(PartKind::Tap);
    let layer = || number("model.language_model.layers.").map(PartKind::Layer);
    let merger = || name.starts_with("model.visual.merger.").then_some(PartKind::Merger);
    block.or_else(tap).or_else(layer).or_else(merger).unwrap_or(PartKind::Base)
}

fn make_part(
    checkpoint: &Checkpoint,
    kind: PartKind,
    tensors: Vec<ExpectedTensor>,
    (dtype, layout): (Option<DType>, Option<DeviceLayout>),
) -> Result<Part> {
    let (mut pieces, mut converted, mut as_it_lies, mut card) = (Vec::new(), 0, false, Vec::new());
    for ExpectedTensor { name, shape } in tensors {
        let copy = checkpoint.converted_len(&name, wanted_dtype(shape.len(), dtype))?;
        converted += copy;
        as_it_lies |= copy == 0;
        if let Some(layout) = layout {
            card.push(measure_tensor(checkpoint, &name, &shape, copy, layout)?);
        }
        for name in checkpoint.stored_parts(&name)? {
            let (file, range) = checkpoint.location(&name)?;
            pieces.push(Piece { name, file, range });
        }
    }
    let unit = Arc::new(Unit::new(format!("{kind:?}"), pieces));
    Ok(Part { kind, unit, converted, card, as_it_lies })
}

/// Bytes of a tensor on a card; `copy` is those of its conversion, 0 without one.
fn measure_tensor(
    checkpoint: &Checkpoint,
    name: &str,
    shape: &[usize],
    copy: usize,
    layout: DeviceLayout,
) -> Result<u64> {
    let bytes = if copy == 0 { checkpoint.stored_len(name)? as usize } else { copy };
    Ok(layout.tensor_bytes(shape, bytes.checked_div(shape.iter().product()).unwrap_or(0)))
}

/// Bytes of all weights on a card.
pub(crate) fn measure_weights(
    config: &Qwen3VlConfig,
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
    layout: DeviceLayout,
) -> Result<u64> {
    let bytes = expected_tensors(config).into_iter().map(|ExpectedTensor { name, shape }| {
        let copy = checkpoint.converted_len(&name, wanted_dtype(shape.len(), dtype))?;
        measure_tensor(checkpoint, &name, &shape, copy, layout)
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_belong_to_the_part_that_they_are_used_in() {
        for (name, kind) in [
            ("model.visual.patch_embed.proj.weight", PartKind::Base),
            ("model.visual.pos_embed.weight", PartKind::Base),
            ("model.visual.blocks.12.attn.qkv.bias", PartKind::Block(12)),
            ("model.visual.deepstack_merger_list.2.norm.weight", PartKind::Tap(2)),
            ("model.visual.merger.linear_fc1.weight", PartKind::Merger),
            ("model.language_model.layers.3.mlp.experts.down_proj", PartKind::Layer(3)),
            ("model.language_model.norm.weight", PartKind::Base),
        ] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
    }
}
