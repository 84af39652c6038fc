//! The weights of a model that are not in its module, and how a part of them comes into it for a moment.

use super::experts::StreamedExperts;
use super::parts::{Part, PartKind, Table};
use crate::checkpoint::{Checkpoint, CheckpointError, StoredBytes};
use crate::config::Qwen3VlConfig;
use crate::load::WeightSource;
use crate::text::DecoderLayer;
use crate::{Qwen3Vl, Result};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_kiln::prefetch::{ChoiceStats, Files, Held, Lease, Ledger, StreamStats, Streamer};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// How long a pass waits for memory that another pass beside it converts into.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a model streams, and from where.
#[derive(Debug)]
pub(crate) struct StreamedWeights {
    pub(super) checkpoint: Checkpoint,
    pub(super) config: Qwen3VlConfig,
    /// The wanted dtype of matrices.
    pub(super) dtype: Option<DType>,
    pub(super) files: Arc<Files>,
    pub(super) ledger: Ledger,
    pub(super) streamer: Streamer,
    /// Streamed parts by what they are: their number in the streamer, and bytes of their conversion.
    pub(super) streamed: BTreeMap<PartKind, (usize, usize)>,
    /// The token embedding, where its rows are read for each prompt.
    pub(super) table: Option<Table>,
    /// The head, which may be read in pieces.
    pub(super) head: Table,
    /// Bytes of a row of the token embedding, stored and converted.
    pub(super) row_cost: u64,
    /// The most bytes of rows at one time.
    pub(super) rows: u64,
    /// Experts that are not in their layers' parts.
    pub(super) experts: Option<Arc<StreamedExperts>>,
    /// Conversions of what is pinned.
    pub(super) _pinned: Vec<Held>,
}

/// How a model whose memory is limited gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamReport {
    /// The limit, bytes.
    pub limit: u64,
    /// Bytes of weights in memory now: pinned, the ring's buffers whether filled or not, and conversions.
    pub held: u64,
    /// The most that they were at one time.
    pub high_water: u64,
    /// Bytes that a pass over all parts reads.
    pub streamed: u64,
    /// Bytes of one buffer of the ring.
    pub buffer: u64,
    /// Buffers of the ring.
    pub buffers: usize,
    /// What was asked for and read since the model was loaded.
    pub stats: StreamStats,
    /// What was asked for and read of experts that are read by choice; `None` where there are none.
    pub experts: Option<ChoiceStats>,
}

/// A part of the model while it is used.
pub(crate) enum Use<'a, T> {
    /// It is in the module.
    Pinned(&'a T),
    /// It goes when this is dropped.
    Streamed(Box<T>, #[allow(dead_code, reason = "counts until it is dropped")] Held),
}

impl<T> Deref for Use<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Pinned(part) => part,
            Self::Streamed(part, _) => part,
        }
    }
}

/// The tensors of a part that has been read.
pub(super) struct LeasedTensors<'a>(pub(super) &'a Lease);

impl StoredBytes for LeasedTensors<'_> {
    fn stored(&self, name: &str) -> Result<bytes::Bytes> {
        let index = self.0.unit().pieces().iter().position(|piece| piece.name == name);
        let index = index.ok_or_else(|| CheckpointError::Unknown { tensor: name.to_owned() })?;
        Ok(bytes::Bytes::from_owner(self.0.piece(index)))
    }
}

impl StreamedWeights {
    /// The part `kind`, which stands at `path` in the model: the next of `pinned`, where it is in the module, else read into what `make` gives.
    pub(crate) fn part<'a, B: Backend, M: Module<B>>(
        &self,
        (kind, path): (PartKind, &str),
        pinned: &'a [M],
        make: impl FnOnce() -> M,
        device: &B::Device,
    ) -> Result<Use<'a, M>> {
        let Some(&(number, converted)) = self.streamed.get(&kind) else {
            return Ok(Use::Pinned(&pinned[self.pinned_before(&kind)]));
        };
        let lease = self.streamer.ask(number)?;
        let held = self.ledger.hold_within(converted, PATIENCE)?;
        let bytes = LeasedTensors(&lease);
        let Self { checkpoint, dtype, config, .. } = self;
        let source = WeightSource { checkpoint, bytes: &bytes, dtype: *dtype, config };
        let part = source.fill(make(), path, device, &mut |_| Ok(()))?;
        Ok(Use::Streamed(Box::new(part), held))
    }

    /// Makes the experts of layer `index` those that are read by choice, where they are.
    pub(crate) fn attach_experts<B: Backend>(&self, index: usize, layer: &mut DecoderLayer<B>) {
        if let Some(experts) = &self.experts {
            experts.attach(index, layer);
        }
    }

    /// Why the experts of a layer that this thread ran could not be read.
    pub(crate) fn check_experts(&self) -> Result<()> {
        self.experts.as_ref().map_or(Ok(()), |experts| experts.take_fault())
    }

    /// Whether the part is read when it is used.
    pub(crate) fn streams(&self, kind: &PartKind) -> bool {
        self.streamed.contains_key(kind)
    }

    /// Pinned parts of the same sort before this one.
    fn pinned_before(&self, kind: &PartKind) -> usize {
        match *kind {
            PartKind::Layer(end) => (0..end).filter(|&layer| !self.streams(&PartKind::Layer(layer))).count(),
            PartKind::Block(end) => (0..end).filter(|&block| !self.streams(&PartKind::Block(block))).count(),
            PartKind::Tap(end) => (0..end).filter(|&tap| !self.streams(&PartKind::Tap(tap))).count(),
            _ => 0,
        }
    }

    /// Whether the head is read in pieces.
    pub(crate) fn streams_head(&self) -> bool {
        self.streamed.keys().any(|kind| matches!(kind, PartKind::Head(..)))
    }

    /// Calls `multiply` with each piece of the head, `[rows, hidden]`, in order.
    pub(crate) fn for_each_head_piece<B: Backend>(
        &self,
        device: &B::Device,
        mut multiply: impl FnMut(Tensor<B, 2>),
    ) -> Result<()> {
        for (kind, &(number, converted)) in &self.streamed {
            let &PartKind::Head(start, _) = kind else { continue };
            let lease = self.streamer.ask(number)?;
            let _held = self.ledger.hold_within(converted, PATIENCE)?;
            let bytes = LeasedTensors(&lease).stored(self.head.name)?;
            let data = self.head.data(&self.checkpoint, bytes, |row| start + row, self.dtype)?;
            let dtype = data.dtype;
            drop(lease);
            multiply(Tensor::from_data(data, (device, dtype)));
        }
        Ok(())
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

    /// How it gets on.
    pub(crate) fn report(&self) -> StreamReport {
        let (buffer, buffers) = self.streamer.ring();
        StreamReport {
            limit: self.ledger.limit(),
            held: self.ledger.held(),
            high_water: self.ledger.high_water(),
            streamed: self.streamer.bytes(),
            buffer: buffer as u64,
            buffers,
            stats: self.streamer.stats(),
            experts: self.experts.as_ref().map(|experts| experts.stats()),
        }
    }

    /// Streamed parts by what they are.
    pub(super) fn number(parts: &[Part]) -> BTreeMap<PartKind, (usize, usize)> {
        parts.iter().enumerate().map(|(number, part)| (part.kind.clone(), (number, part.converted))).collect()
    }
}
