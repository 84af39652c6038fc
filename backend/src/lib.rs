//! `Kiln<B>`: a Burn backend decorator with tiled, cache-blocked, SIMD CPU kernels.

pub mod config;
pub mod cpu;
pub mod decorator;
pub mod engine;
pub mod fused;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub mod gpu;
pub mod kernels;
pub mod memory;
mod module;
pub mod planning;
pub mod prefetch;
pub mod routes;
mod scope;
pub mod simd;

pub use config::{ConfigError, OptimizationConfig};
pub use decorator::Kiln;
pub use engine::Engine;
pub use module::{OptimizeError, Optimized, TransferError, transfer};
pub use scope::{DefaultIsSet, current, scope, set_default};
