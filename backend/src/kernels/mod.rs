//! The CPU kernels. They take slices and know nothing of Burn.
//!
//! Each kernel is one algorithm for all instruction sets (see [`crate::simd`]): the driver splits the work over threads and
//! each thread enters the instruction set once a tile.

pub mod attention;
pub mod elementwise;
pub mod gemm;
mod launch;
pub mod math;
pub mod moe;
pub mod norm;
pub mod rope;
mod rows;
pub mod softmax;
mod storage;

pub use launch::Launch;
pub use math::Activation;
pub use storage::{Floats, FloatsMut, Storage};
