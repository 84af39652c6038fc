//! The weights of a model that are not in its module.

use super::card::{Card, CardReport};
use super::experts::StreamedExperts;
use super::part::{Part, PartKind};
use super::table::Table;
use crate::Result;
use crate::checkpoint::{Checkpoint, CheckpointError, StoredBytes};
use crate::config::Qwen3VlConfig;
use burn::tensor::DType;
use kiln_kernels::prefetch::{ChoiceStats, Files, Held, Lease, Ledger, StreamStats, Streamer};
use std::collections::BTreeMap;
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
    /// Reads parts from their files; `None` where host memory has no limit, and the mapped files are read.
    pub(super) streamer: Option<Streamer>,
    /// What a card gets them into, where it is the card's memory that is limited.
    pub(super) card: Option<Card>,
    /// Streamed parts in the order of use.
    pub(super) parts: Vec<Part>,
    /// Their numbers in that, by what they are.
    pub(super) streamed: BTreeMap<PartKind, usize>,
    /// The token embedding, where its rows are read for each prompt.
    pub(super) table: Option<Table>,
    /// The head, which may be read in pieces.
    pub(super) head: Table,
    /// Bytes of a row of the token embedding, stored and converted or, where that is more, on a card.
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
    /// The limit of host memory, bytes; `u64::MAX` where only a card's is limited.
    pub limit: u64,
    /// Bytes of weights in host memory now, but for mapped ones: pinned, the ring's buffers whether filled or not, and
    /// conversions.
    pub held: u64,
    /// The most that they were at one time.
    pub high_water: u64,
    /// Bytes that a pass over all parts reads.
    pub streamed: u64,
    /// Bytes of one buffer of the ring, 0 without one.
    pub buffer: u64,
    /// Buffers of the ring.
    pub buffers: usize,
    /// What was asked for and read since the model was loaded.
    pub stats: StreamStats,
    /// What was asked for and read of experts that are read by choice; `None` where there are none.
    pub experts: Option<ChoiceStats>,
    /// What is on the card, where its memory is limited.
    pub card: Option<CardReport>,
}

/// The bytes of a part's tensors.
pub(super) enum PartBytes<'a> {
    /// It has been read.
    Leased(Lease),
    /// They are in the checkpoint's mapping.
    Mapped(&'a Checkpoint),
}

impl StoredBytes for PartBytes<'_> {
    fn stored(&self, name: &str) -> Result<bytes::Bytes> {
        let lease = match self {
            Self::Leased(lease) => lease,
            Self::Mapped(checkpoint) => return checkpoint.stored(name),
        };
        let index = lease.unit().pieces().iter().position(|piece| piece.name == name);
        let index = index.ok_or_else(|| CheckpointError::Unknown { tensor: name.to_owned() })?;
        Ok(bytes::Bytes::from_owner(lease.piece(index)))
    }
}

impl StreamedWeights {
    /// Why the experts of a layer that this thread ran could not be read.
    pub(crate) fn check_experts(&self) -> Result<()> {
        self.experts.as_ref().map_or(Ok(()), |experts| experts.take_fault())
    }

    /// Whether the part is read when it is used.
    pub(crate) fn streams(&self, kind: &PartKind) -> bool {
        self.streamed.contains_key(kind)
    }

    /// Pinned parts of the same sort before this one.
    pub(super) fn pinned_before(&self, kind: &PartKind) -> usize {
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

    /// How it gets on.
    pub(crate) fn report(&self) -> StreamReport {
        let (buffer, buffers) = self.streamer.as_ref().map_or((0, 0), Streamer::ring);
        StreamReport {
            limit: self.ledger.limit(),
            held: self.ledger.held(),
            high_water: self.ledger.high_water(),
            streamed: self.parts.iter().map(|part| part.unit.len() as u64).sum(),
            buffer: buffer as u64,
            buffers,
            stats: self.streamer.as_ref().map(Streamer::stats).unwrap_or_default(),
            experts: self.experts.as_ref().map(|experts| experts.stats()),
            card: self.card.as_ref().map(Card::report),
        }
    }

    /// Runs a pass of the model: on a card alone, and on the stream of work that its weights are on.
    pub(crate) fn run_pass<T>(&self, pass: impl FnOnce() -> T) -> T {
        match &self.card {
            Some(card) => card.run_pass(pass),
            None => pass(),
        }
    }

    /// Runs what makes the inputs of passes on the same stream of work.
    pub(crate) fn on_stream<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.card {
            Some(card) => card.on_stream(work),
            None => work(),
        }
    }

    /// Streamed parts by what they are.
    pub(super) fn number(parts: &[Part]) -> BTreeMap<PartKind, usize> {
        parts.iter().enumerate().map(|(number, part)| (part.kind.clone(), number)).collect()
    }
}
