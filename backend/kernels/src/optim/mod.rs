//! What an optimiser does to all parameters after a backward pass, bound by memory: each buffer is read once.

mod adamw;
mod squares;
mod step;

pub use adamw::{AdamW, AdamWSlices, Gradient, adamw};
pub use squares::sum_of_squares;
