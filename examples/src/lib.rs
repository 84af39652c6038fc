//! What the programs share: the choice of a backend, the embedded checkpoint, sampling, memory and time, and the cases of `verify`.

pub mod backend;
pub mod embedded;
mod error;
pub mod memory;
pub mod sampling;
pub mod verify;

pub use error::Error;
