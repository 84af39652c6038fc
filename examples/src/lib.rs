//! What the programs share: backend, checkpoint, pictures and sampling on the command line, answers and conversations,
//! memory and time, and the cases of `verify`.

pub mod answer;
pub mod backend;
pub mod conversation;
pub mod embedded;
mod error;
pub mod explain;
pub mod interrupt;
pub mod media;
pub mod memory;
pub mod model;
pub mod program;
pub mod sampling;
pub mod talk;
pub mod verify;

pub use error::Error;
