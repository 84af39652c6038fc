//! The parts of a model that are in memory or not as a whole, and where their bytes are.

use crate::checkpoint::{Checkpoint, EMBEDDING, ExpectedTensor, HEAD, Scales, expected_tensors};
use crate::config::Qwen3VlConfig;
use crate::load::wanted_dtype;
use crate::{Error, Result};
use burn::tensor::{DType, TensorData};
use burn_kiln::prefetch::{PageBuffer, Piece, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Rows of a piece of the head are a multiple of this, where there is more than one piece: of the columns that kernels compute at a time.
const HEAD_ROWS: usize = 64;

/// In the names of all experts' arrays.
const EXPERTS: &str = ".mlp.experts.";

/// What a part is, in the order of use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartKind {
    /// What is always in memory.
    Base,
    /// A block of the vision tower.
    Block(usize),
    /// A DeepStack merger.
    Tap(usize),
    /// The merger at the tower's end.
    Merger,
    /// A decoder layer.
    Layer(usize),
    /// Rows of the output head, from the first to behind the last.
    Head(usize, usize),
}

/// A part of the model.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) kind: PartKind,
    pub(crate) unit: Arc<Unit>,
    /// Bytes of copies in another dtype, which are made where it is used.
    pub(crate) converted: usize,
    /// Whether some tensor is used as it was read.
    as_it_lies: bool,
}

impl Part {
    /// Bytes that it takes while it is read.
    pub(crate) fn buffer(&self) -> u64 {
        PageBuffer::cost(self.unit.len()) as u64
    }

    /// Bytes that it takes while it is kept.
    pub(crate) fn kept(&self) -> u64 {
        self.converted as u64 + if self.as_it_lies { self.buffer() } else { 0 }
    }
}

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

/// A matrix `[rows, hidden]` of the vocabulary.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) rows: usize,
    pub(crate) hidden: usize,
    pub(crate) file: usize,
    pub(crate) range: Range<u64>,
    /// Bytes of a converted row, 0 where rows are used as they lie.
    converted: usize,
    /// Of an FP8 table, for its rows.
    scales: Option<Arc<Scales>>,
    /// The same where they are stored, for the whole table.
    stored_scales: Option<Piece>,
}

impl Table {
    /// The table `name`, [`EMBEDDING`] or [`HEAD`].
    pub(crate) fn find(checkpoint: &Checkpoint, name: &'static str, dtype: Option<DType>) -> Result<Self> {
        let &[rows, hidden] = checkpoint.shape(name)? else {
            unreachable!("the shape was compared with the configuration's")
        };
        let (file, range) = checkpoint.location(name)?;
        let converted = checkpoint.converted_len(name, dtype)? / rows.max(1);
        let scales = checkpoint.scales_of(name)?.map(Arc::new);
        let stored_scales = checkpoint.scale_name(name).filter(|_| scales.is_some()).map(|name| {
            let (file, range) = checkpoint.location(&name)?;
            Ok::<_, Error>(Piece { name, file, range })
        });
        Ok(Self { name, rows, hidden, file, range, converted, scales, stored_scales: stored_scales.transpose()? })
    }

    /// Bytes of the scales of an FP8 table, which are kept in memory.
    pub(crate) fn scale_bytes(&self) -> usize {
        self.scales.as_ref().map_or(0, |scales| scales.bytes())
    }

    /// The rows `row_of(0)`, `row_of(1)` and so on, whose bytes in the file are `source`, as `dtype` (`None`: as stored, FP8 as bf16).
    pub(crate) fn data(
        &self,
        checkpoint: &Checkpoint,
        source: bytes::Bytes,
        row_of: impl Fn(usize) -> usize + Sync,
        dtype: Option<DType>,
    ) -> Result<TensorData> {
        match &self.scales {
            Some(scales) => checkpoint.fp8_rows_data(self.name, &source, (scales, &row_of), dtype),
            None => {
                let rows = source.len().checked_div(self.row_bytes()).unwrap_or(0);
                checkpoint.rows_data(self.name, source, &[rows, self.hidden], dtype)
            }
        }
    }

    /// Bytes of a row in the file.
    pub(crate) fn row_bytes(&self) -> usize {
        ((self.range.end - self.range.start) as usize).checked_div(self.rows).unwrap_or(0)
    }

    /// Bytes of a row, stored and converted.
    pub(crate) fn row_cost(&self) -> u64 {
        (self.row_bytes() + self.converted) as u64
    }

    /// Bytes of rows `rows` in the file.
    pub(crate) fn range_of(&self, rows: &Range<usize>) -> Range<u64> {
        let at = |row: usize| self.range.start + (row * self.row_bytes()) as u64;
        at(rows.start)..at(rows.end)
    }

    /// Its rows `rows` as a part.
    pub(crate) fn part(&self, rows: Range<usize>) -> Part {
        let piece = Piece { name: self.name.to_owned(), file: self.file, range: self.range_of(&rows) };
        // A table that is pinned is loaded like any weight, with its scales.
        let scales = self.stored_scales.iter().filter(|_| rows.len() == self.rows).cloned();
        let pieces = [piece].into_iter().chain(scales).collect();
        let unit = Unit::new(format!("rows {} to {} of {}", rows.start, rows.end, self.name), pieces);
        let converted = self.converted * rows.len();
        Part { kind: PartKind::Head(rows.start, rows.end), unit: Arc::new(unit), converted, as_it_lies: converted == 0 }
    }

    /// All of it in pieces of at most `bytes`, or of a few rows.
    pub(crate) fn pieces(&self, bytes: u64) -> Vec<Part> {
        let whole = self.part(0..self.rows);
        if whole.buffer() <= bytes {
            return vec![whole];
        }
        let rows = (bytes as usize / self.row_bytes().max(1) / HEAD_ROWS * HEAD_ROWS).max(HEAD_ROWS);
        (0..self.rows).step_by(rows).map(|start| self.part(start..(start + rows).min(self.rows))).collect()
    }
}

/// Lists the parts of the model that `config` describes, out of a checkpoint that fits it. With `experts_apart`, experts that are used as they
/// lie are not in their layers.
pub(crate) fn list_parts(
    config: &Qwen3VlConfig,
    checkpoint: &Checkpoint,
    dtype: Option<DType>,
    experts_apart: bool,
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
    let mut part =
        |kind: PartKind| make_part(checkpoint, kind.clone(), tensors.remove(&kind).unwrap_or_default(), dtype);
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
    let head = Table::find(checkpoint, if tied { EMBEDDING } else { HEAD }, dtype)?;
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
    dtype: Option<DType>,
) -> Result<Part> {
    let (mut pieces, mut converted, mut as_it_lies) = (Vec::new(), 0, false);
    for ExpectedTensor { name, shape } in tensors {
        let copy = checkpoint.converted_len(&name, wanted_dtype(shape.len(), dtype))?;
        converted += copy;
        as_it_lies |= copy == 0;
        let scales = checkpoint.scale_name(&name).filter(|_| checkpoint.is_fp8(&name));
        for name in [Some(name), scales].into_iter().flatten() {
            let (file, range) = checkpoint.location(&name)?;
            pieces.push(Piece { name, file, range });
        }
    }
    let unit = Arc::new(Unit::new(format!("{kind:?}"), pieces));
    Ok(Part { kind, unit, converted, as_it_lies })
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

    #[test]
    fn a_large_head_is_cut() {
        let table = Table {
            name: HEAD,
            rows: 1000,
            hidden: 32,
            file: 0,
            range: 40..64_040,
            converted: 0,
            scales: None,
            stored_scales: None,
        };
        let rows = |bytes| table.pieces(bytes).into_iter().map(|part| part.kind).collect::<Vec<_>>();
        assert_eq!(rows(1 << 20), [PartKind::Head(0, 1000)]);
        // 30000 / 64 bytes = 468 rows.
        assert_eq!(rows(30_000), [PartKind::Head(0, 448), PartKind::Head(448, 896), PartKind::Head(896, 1000)]);
        assert_eq!(rows(1).len(), 16);
        assert_eq!(table.range_of(&(448..896)), 40 + 448 * 64..40 + 896 * 64);
    }
}
