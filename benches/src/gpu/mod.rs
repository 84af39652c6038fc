//! Kernels on a card: `cargo run --release -p kiln-benches --features cuda --bin gpu`.
//!
//! Each operation runs as `Kiln<CubeBackend>` runs it, as plain Burn does on the same `CubeBackend` (its composition),
//! and as PyTorch does on the same card, in turn (A B A B). Calls are enqueued one after the other and waited for at
//! the end, so that what the host takes for a call is hidden behind the card's work where that takes longer; what a
//! launch takes of the host is measured beside, and rows that are near it are marked.
//!
//! ```text
//! args.rs      command line
//! case.rs      what is measured: operations, their FLOP and bytes
//! shapes.rs    those of the 2B model, and small ones
//! row.rs       one result, the table
//! work.rs      each operation once, for any backend on the card's tensors
//! engine.rs    calls that are enqueued and waited for
//! peaks.rs     the card: reading, copying, multiply-adds, launches
//! card.rs      a device and what it says of itself
//! session.rs   one case against every engine
//! ```

pub mod args;
#[cfg(feature = "cards")]
pub mod card;
pub mod case;
#[cfg(feature = "cards")]
mod engine;
#[cfg(feature = "cards")]
pub mod peaks;
pub mod row;
#[cfg(feature = "cards")]
pub mod session;
pub mod shapes;
#[cfg(feature = "cards")]
mod work;
