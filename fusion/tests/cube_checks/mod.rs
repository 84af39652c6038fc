//! Checks of the kernels against f64, generic over the runtime, so that each device runs the same ones.

#![allow(dead_code)] // each test file runs its part

pub mod attention;
pub mod embedding;
pub mod heads;
pub mod int8;
pub mod products;
pub mod rms_norm;
pub mod rows;
pub mod store;
