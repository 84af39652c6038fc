//! Tiled, cache-blocked, SIMD kernels for transformers on the CPU, over plain slices.
//!
//! Each kernel is one algorithm for all instruction sets (see [`simd`]): the driver splits the work over threads and each thread enters the
//! instruction set once a tile. Nothing here knows of a tensor library: operands are slices with strides ([`gemm::Matrix`], [`Floats`]),
//! and what a kernel may use is a plain [`KernelConfig`], from which a [`Launch`] and the plan of a product follow.

pub mod attention;
mod caches;
pub mod config;
pub mod elementwise;
pub mod gemm;
mod impossible;
mod launch;
pub mod math;
pub mod memory;
pub mod moe;
pub mod norm;
pub mod planning;
pub mod prefetch;
pub mod probe;
pub mod rope;
mod rows;
mod scratch;
pub mod simd;
pub mod softmax;
mod storage;

pub use caches::Caches;
pub use config::KernelConfig;
pub use launch::Launch;
pub use math::Activation;
pub use storage::{ElementType, Floats, FloatsMut, Storage};
