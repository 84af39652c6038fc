//! What the programs share: backend, checkpoint, pictures and sampling on the command line, answers and conversations,
//! what they write and how they end, memory and time, and the cases of `verify`.

pub mod answer;
pub mod backend;
pub mod console;
pub mod conversation;
pub mod drawing;
pub mod embedded;
mod error;
pub mod explain;
pub mod interrupt;
pub mod media;
pub mod memory;
pub mod model;
pub mod program;
pub mod sampling;
pub mod scenes;
pub mod scratch;
pub mod talk;
mod threads;
pub mod verify;

pub use error::Error;
