//! The text decoder.
//!
//! ```text
//! ids ─ embed ─ visual rows put in ─ layer 0 ─ + deepstack[0] ─ layer 1 ─ + deepstack[1] ─ .. ─ norm ─ head ─▶ logits
//! ```
//!
//! Sources: the Qwen3 and Qwen3-VL technical reports and HF transformers' `Qwen3VLTextModel`.

mod attention;
mod cache;
mod context;
mod decoder;
mod frequencies;
mod layer;
mod mlp;
mod moe;
mod rotary;
mod routing;
mod visual_rows;

pub use attention::TextAttention;
pub use cache::Cache;
pub use context::LayerContext;
pub use decoder::{DecoderInputs, TextModel};
pub use layer::DecoderLayer;
pub use mlp::{GatedMlp, Mlp};
pub use moe::{Experts, SparseMlp};
pub use rotary::MultimodalRotary;
pub(crate) use rotary::list_text_positions;
pub use routing::RouterLogits;
pub use visual_rows::VisualRows;
pub(crate) use visual_rows::order_features;
