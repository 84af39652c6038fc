//! Qwen3-VL for Burn: images and text in, text out.

pub mod positions;
pub mod processor;
pub mod prompt;
