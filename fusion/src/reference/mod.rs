//! The vocabulary in plain `f64` loops over slices: the oracle that every kernel and every composition is tested
//! against.
//!
//! Nothing here is fast, fused or clever, and nothing here uses Burn: each function reads as its formula does.
//! Gradients come from [`differentiate`], central differences of these forwards, so that no derivative is trusted that
//! was written by hand.

mod activation;
mod array;
mod attention;
mod embedding;
mod gradient;
mod linear;
mod loss;
mod mlp;
mod moe;
mod norm;
mod optim;
mod rope;

pub use activation::activate;
pub use array::Array;
pub use attention::{AttentionArrays, AttentionRules, attend};
pub use embedding::embed;
pub use gradient::differentiate;
pub use linear::{apply_linear, multiply_transposed};
pub use loss::measure_cross_entropy;
pub use mlp::{run_gated_mlp, run_plain_mlp};
pub use moe::{MoeArrays, run_moe};
pub use norm::{normalize_layer, normalize_rms};
pub use optim::{AdamWArrays, step_adamw};
pub use rope::rotate;
