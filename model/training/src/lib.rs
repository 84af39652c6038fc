//! Training and fine-tuning of Qwen3-VL on Burn.
//!
//! ```text
//! data: records ─ samples ─ batches ─▶ step: loss, gradients ─▶ optim: clipping, AdamW ─▶ run: loop, checkpoints, metrics
//!                                        ▲ lora: adapters in the model's linear layers
//! ```

pub mod data;
pub mod lora;
pub mod optim;
pub mod parameters;
pub mod step;
