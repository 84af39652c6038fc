//! The whole model: one binary, so that it is compiled once for each backend.

#[path = "../files/mod.rs"]
mod files;
#[path = "../fixture/mod.rs"]
mod fixture;
#[path = "../heard/mod.rs"]
mod heard;

mod autodiff;
mod bad_inputs;
mod batches;
mod fixture_cases;
mod fp8;
mod generation;
mod layouts;
mod optimized;
mod prefixes;
mod rope;
