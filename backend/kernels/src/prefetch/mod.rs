//! Weights that are larger than the memory they may take: read from their files ahead of their use, and let go of after
//! it.
//!
//! Knows files, byte ranges and an order of use; nothing of models.
//!
//! ```text
//! unit          byte ranges that are used together (a layer), in one page-aligned buffer        unit.rs
//! ask(unit)     in memory: leased; being read: waited for; else read at once                    streamer.rs, ring.rs
//!               learn: after the unit asked before comes this one                               predictor.rs
//! background    follow the predicted order from the unit asked last; read what is not in memory
//!               into the free buffers: several large requests at a time, without the page cache reader.rs, files.rs
//! drop(lease)   the buffer is free again
//! ```
//!
//! **Why not LRU.** A decoder uses its layers in the same order at each token. Whatever is larger than the cache is
//! evicted just before its next use, so that a cache of half the layers hits nothing. Who knows the order does better:
//! a part of the units is pinned (never let go of; the caller keeps those leases), and only the rest goes through a
//! ring of few buffers. With the share `p` of the bytes pinned, a pass reads `1 - p` of them, where LRU and demand
//! faults read all, and it reads them while the units before them compute. [`Keep::Lru`] is there to be compared with.
//!
//! **Experts** are used by a choice that is only known just before: [`Choices`] holds those that a pass needs at their
//! place in an array that is mostly not there, and keeps of the others those whose next use is the nearest (choices.rs,
//! stack.rs).
//!
//! **The limit** counts every buffer, whether filled or not, and what an owner reports of copies that it makes
//! ([`Ledger`]). Reads go around the page cache (`O_DIRECT`), or what they leave there is dropped at once
//! (`posix_fadvise`), so that it does not hold the files besides.
//!
//! **Failures** are errors of whoever asks: a file that became shorter or was changed, a read that fails. Nothing is
//! mapped, so no access can fault.

mod background;
mod buffer;
mod choices;
mod error;
mod files;
mod lease;
mod ledger;
mod predictor;
mod reader;
mod ring;
mod stack;
mod streamer;
mod unit;

pub use buffer::{PAGE, PageBuffer};
pub use choices::{ChoiceStats, Choices, ChosenArray};
pub use error::PrefetchError;
pub use files::{Files, drop_cached};
pub use lease::{Lease, LeasedPiece};
pub use ledger::{Held, Ledger};
pub use predictor::Predictor;
pub use ring::{Keep, StreamStats, StreamerOptions};
pub use streamer::Streamer;
pub use unit::{Piece, Unit};
