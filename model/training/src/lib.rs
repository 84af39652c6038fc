//! Training and fine-tuning of Qwen3-VL on Burn.
//!
//! ```text
//! data: records ─ samples ─ batches ─▶ step: loss, gradients ─▶ optim: AdamW ─▶ run: loop, checkpoints, metrics
//!                                        ▲ lora: adapters in the model's linear layers
//! ```

pub mod data;
#[cfg(feature = "distributed")]
pub mod distributed;
mod fnv;
pub mod lora;
pub mod optim;
pub mod parameters;
pub mod run;
pub mod step;
