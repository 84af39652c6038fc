//! Operands and results of the ops: those that belong together, named.
//!
//! `F` is a backend where a model calls an op, and an engine's family of primitives below a decorator: see
//! [`TensorFamily`](crate::TensorFamily).

mod attention;
mod layers;

pub use attention::{AttentionInputs, AttentionOptions, HeadNorms, QueryKey, Rotary, RotaryInputs};
pub use layers::{
    AddNorm, Epilogue, GatedMlpWeights, LinearWeights, MoeOptions, MoeWeights, Norm, NormKind, PlainMlpWeights,
    RmsWeights,
};
