//! The whole model: one binary, so that it is compiled once for each backend.

#[path = "../files/mod.rs"]
mod files;
#[path = "../fixture/mod.rs"]
mod fixture;

mod autodiff;
mod bad_inputs;
mod batches;
mod fixture_cases;
mod fp8;
mod generation;
mod optimized;
mod prefixes;
