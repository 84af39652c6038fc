//! Models whose weights are larger than the memory that they may take.
//!
//! ```text
//! always in memory   norms, patch and position embedding of the vision tower            (base)
//! pinned             the head, then decoder layers, then parts of the vision tower, as many as fit
//! streamed           all others, each read ahead of its use into a ring of two or three buffers and let go of after it
//! experts            those that a pass's tokens choose, read when they are chosen and kept by recent use in all memory that is left
//! token embedding    the rows of the tokens at hand, read for them; all of it where it is the head and that is pinned
//! ```
//!
//! All layers are used at each token, so a pinned byte saves the same wherever it lies: pinned layers are spread
//! evenly, so that what they compute overlaps with the reads of the streamed ones between them. A pass reads `1 - p` of
//! the bytes where the share `p` is pinned; see [`kiln_kernels::prefetch`] for why a cache does worse.
//!
//! Streamed weights are the checkpoint's bytes as they lie in it (converted, where another dtype is wanted), so results
//! are those of the unlimited model in the checkpoint's rows, bit for bit; a head that is larger than a layer is
//! multiplied in pieces, which kernels may round otherwise.
//!
//! The limit counts weights: pinned ones, the ring, conversions and rows of the embedding. Activations and the cache of
//! keys and values come on top. Backends that copy what they are given (all but Flex and Kiln on it) hold their copy of
//! one layer besides.
//!
//! **A card's memory** is limited in the same way
//! ([`LoadOptions::with_gpu_memory`](crate::LoadOptions::with_gpu_memory)): pinned parts are on the card, streamed ones
//! stay in the mapped checkpoint, and come to the card one ahead of their use (card.rs), into places for two of them
//! that are used again and again (slots.rs). Rows of a token embedding that is not the head stay in host memory. With a
//! limit of host memory besides, streamed parts come from their files through a ring of two or three buffers at each
//! pass, and nothing else is held there. The limit of a card counts whole tensors as its allocator lays them out; keys,
//! values and activations come on top, and so do experts' arrays, which a card gets as a part of their layer.
//!
//! What is streamed is not in the module: `layers`, `blocks`, mergers and embeddings hold the pinned part only, in
//! order, so that nothing that walks over parameters reads gigabytes. Such a model has no complete record, and is not
//! packed.
//!
//! The checkpoint's files must stay as they are. One that is cut or written to is an error of the pass that reads it.

mod card;
#[cfg(test)]
mod card_tests;
mod error;
mod experts;
mod load;
mod part;
mod parts;
mod plan;
mod rows;
mod slots;
mod table;
mod thin_out;
mod uses;
mod weights;

pub use card::{CardReport, CardStats};
pub use error::CardError;
pub(crate) use experts::ExpertSource;
pub(crate) use load::load;
pub(crate) use part::PartKind;
pub(crate) use uses::Use;
pub use weights::StreamReport;
pub(crate) use weights::StreamedWeights;

use kiln_kernels::prefetch::Keep;

/// What a model may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The most bytes of weights in host memory.
    pub(crate) memory: Option<u64>,
    /// The most bytes of weights on a card.
    pub(crate) card: Option<u64>,
    /// Whether parts are read or sent before they are asked for.
    pub(crate) read_ahead: bool,
    /// What happens to parts that were used.
    pub(crate) keep: Keep,
}

/// What may be shared out of one memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimit {
    /// The most bytes of weights in it.
    pub(crate) bytes: u64,
    /// The most buffers that the ring is good for.
    pub(crate) buffers: usize,
    /// What happens to parts that were used.
    pub(crate) keep: Keep,
}
