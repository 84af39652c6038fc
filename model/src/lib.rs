//! Qwen3-VL for Burn: images and text in, text out.

mod adapted;
mod chat;
pub mod checkpoint;
pub mod config;
pub mod error;
mod fill;
pub mod generate;
pub mod grounding;
#[cfg(feature = "hub")]
pub mod hub;
mod inputs;
pub mod layers;
mod load;
pub mod optimized;
pub mod positions;
mod prefix;
mod prepare;
mod prepared;
pub mod processor;
pub mod prompt;
mod qwen3_vl;
pub mod streaming;
pub mod text;
pub mod vision;
mod vl_processor;

pub use chat::{Chat, Reply};
pub use checkpoint::Checkpoint;
pub use config::Qwen3VlConfig;
pub use error::{Error, Result};
pub use fill::checkpoint_name;
pub use inputs::{InputError, InputLayout, ModelInputs};
pub use load::LoadOptions;
pub use optimized::{apply_low_level_optimizations, undo_low_level_optimizations};
pub use prefix::PrefixCache;
pub use prepared::PreparedPrompt;
pub use qwen3_vl::{Logits, Qwen3Vl};
pub use vl_processor::Qwen3VlProcessor;
