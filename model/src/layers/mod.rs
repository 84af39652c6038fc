//! The layers that both towers are made of. Each holds its weights as the checkpoint does and computes through
//! [`FusedOps`](burn_kiln_fusion::FusedOps).

mod dropout;
mod embedding;
mod linear;
mod lora;
mod mlp;
mod norm;
mod packed_slot;

pub use dropout::{Dropout, DropoutGuard, DropoutPass};
pub use embedding::{Embedding, EmbeddingConfig};
pub use linear::{Linear, LinearConfig};
pub use lora::Lora;
pub(crate) use mlp::run_plain_mlp;
pub use norm::{LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig};
pub use packed_slot::PackedSlot;

use burn::module::Initializer;

/// How HF initialises weight matrices: `initializer_range` is 0.02 in every released configuration.
pub(crate) const WEIGHT_INITIALIZER: Initializer = Initializer::Normal { mean: 0.0, std: 0.02 };
