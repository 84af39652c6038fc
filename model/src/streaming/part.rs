//! A part of a model that is in memory or not as a whole.

use kiln_kernels::prefetch::{PageBuffer, Unit};
use std::sync::Arc;

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

impl PartKind {
    /// Where it stands in the module; what is not one thing there has no path.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Block(index) => format!("visual.blocks.{index}"),
            Self::Tap(index) => format!("visual.deepstack_merger_list.{index}"),
            Self::Merger => "visual.merger".to_owned(),
            Self::Layer(index) => format!("language_model.layers.{index}"),
            Self::Base | Self::Head(..) => String::new(),
        }
    }
}

/// A part of the model.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) kind: PartKind,
    pub(crate) unit: Arc<Unit>,
    /// Bytes of copies in another dtype, which are made in host memory where it is used.
    pub(crate) converted: usize,
    /// Bytes of each of its tensors on a card; empty where the host's memory is shared out.
    pub(crate) card: Vec<u64>,
    /// Whether some tensor is used as it was read.
    pub(super) as_it_lies: bool,
}

impl Part {
    /// Bytes of host memory that it is read into.
    pub(crate) fn host_buffer(&self) -> u64 {
        PageBuffer::cost(self.unit.len()) as u64
    }

    /// Bytes that it takes while it is read or, on a card, while it is there.
    pub(crate) fn buffer(&self) -> u64 {
        if self.card.is_empty() { self.host_buffer() } else { self.card.iter().sum() }
    }

    /// Bytes of its copies in another dtype, in the memory that is shared out: what a card gets is converted before.
    pub(crate) fn copies(&self) -> u64 {
        if self.card.is_empty() { self.converted as u64 } else { 0 }
    }

    /// Bytes that it takes while it is kept.
    pub(crate) fn kept(&self) -> u64 {
        let as_it_lies = self.as_it_lies || !self.card.is_empty();
        self.copies() + if as_it_lies { self.buffer() } else { 0 }
    }
}
