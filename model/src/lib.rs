//! Qwen3-VL for Burn: images and text in, text out.

pub mod checkpoint;
pub mod config;
pub mod error;
pub mod generate;
pub mod grounding;
mod inputs;
pub mod layers;
mod load;
pub mod positions;
pub mod processor;
pub mod prompt;
mod qwen3_vl;
pub mod text;
pub mod vision;
mod vl_processor;

pub use checkpoint::Checkpoint;
pub use config::Qwen3VlConfig;
pub use error::{Error, Result};
pub use inputs::{InputError, InputLayout, ModelInputs};
pub use load::LoadOptions;
pub use qwen3_vl::{Logits, PreparedPrompt, Qwen3Vl};
pub use vl_processor::Qwen3VlProcessor;
