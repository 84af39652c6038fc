//! Loss and gradients of a step.

#[path = "../fixture/mod.rs"]
mod fixture;
mod gradients;
mod reference;
