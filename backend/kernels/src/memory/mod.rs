//! The memory of results: buffers that tensors give back when they are dropped, and that later tensors are made in.
//!
//! A new buffer of a few megabytes costs more than most kernels that fill it: the system maps and clears its pages one
//! fault at a time (2 to 8 GB/s, where a kernel writes at 20 to 100). A [`Pool`] keeps what was dropped and hands it
//! out again:
//!
//! ```text
//! take(bytes)   the class of the size                                    class.rs
//!               this thread's cache, else the shelf of the class         cache.rs, pool.rs
//!               else a new block of zeros, on huge pages if it is large  block.rs
//! drop          puts the block back                                      pooled.rs
//! ```
//!
//! Blocks are aligned to cache lines. A block that comes back is not cleared: whoever takes it writes every element
//! before it is read, and builds with debug assertions fill it with NaN to prove that.
//!
//! Converted weights have [`AlignedBytes`] of their own.

mod aligned;
mod block;
mod cache;
mod class;
mod counters;
mod floats;
mod pool;
mod pooled;

pub use aligned::{AlignedBytes, OwnedBytes};
pub(crate) use block::advise_huge;
pub use block::{ALIGNMENT, PoolBlock};
pub use floats::PooledFloats;
pub use pool::{Pool, PoolStats};
pub use pooled::PooledBytes;
