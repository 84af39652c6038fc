//! What an optimiser does to all parameters after a backward pass, bound by memory: each buffer is read once.

mod adamw;
mod options;
mod squares;
mod step;

pub use adamw::{AdamWSlices, Gradient, adamw};
pub use options::AdamW;
pub use squares::sum_of_squares;
