//! `Kiln<B>`: a Burn backend decorator with tiled, cache-blocked, SIMD CPU kernels.

pub mod config;
pub mod cpu;
pub mod decorator;
pub mod engine;
pub mod fused;
mod fused_group;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub mod gpu;
pub mod memory;
mod module;
mod op_shape;
pub mod routes;
mod scope;

pub use config::{ConfigError, OptimizationConfig};
pub use decorator::Kiln;
pub use engine::Engine;
pub use fused_group::FusedGroup;
pub use kiln_kernels as kernels;
pub use module::{OptimizeError, Optimized, TransferError, transfer};
pub use op_shape::{AttentionShape, OpShape};
pub use scope::{DefaultIsSet, current, scope, set_default};
