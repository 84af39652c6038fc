//! Qwen3-VL for Burn: images and text in, text out.

pub mod checkpoint;
pub mod config;
pub mod error;

pub use checkpoint::Checkpoint;
pub use config::Qwen3VlConfig;
pub use error::{Error, Result};
