//! A module of one backend as a module of another that shares its tensors: from `B` to `Kiln<B>`, and back.

mod error;
mod optimized;
mod transfer;

pub use error::TransferError;
pub use optimized::{OptimizeError, Optimized};
pub use transfer::transfer;
