//! Loss and gradients of a step.

mod bad_input;
mod batches;
#[path = "../fixture/mod.rs"]
mod fixture;
mod gradients;
mod plans;
mod precision;
mod reference;
