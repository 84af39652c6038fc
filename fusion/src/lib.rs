//! The fused-operation vocabulary of Kiln.
pub mod config;
#[cfg(feature = "cubecl")]
pub mod cube;
mod kv_cache;
pub use config::KernelConfig;
pub use kv_cache::{CacheFull, KvCache};
