//! The CPU kernels. They take slices and know nothing of Burn.
//!
//! Each kernel is one algorithm for all instruction sets (see [`crate::simd`]): the driver splits the work over threads and
//! each thread enters the instruction set once a tile.

mod elementwise;
pub mod gemm;
mod launch;
pub mod math;
mod rows;
mod storage;

pub use elementwise::*;
pub use launch::Launch;
pub use storage::{Floats, FloatsMut, Storage};
