//! The model on Kiln's kernels: the same blocks, their constant weights packed as the backend wants them.
//!
//! [`apply_low_level_optimizations`] does it for a whole model; [`OptimizedBlock`] holds one block alone. Both move the
//! tensors of `B` to `Kiln<B>` without a copy, then pack one weight after the other: beyond the model there is never
//! more than one tensor. Packing is for inference; a model that trains stays on plain parameters.

mod apply;
mod block;
mod component;
mod explain;
mod explain_ops;
mod text;
mod vision;

pub use apply::{apply_low_level_optimizations, undo_low_level_optimizations};
pub use block::{Block, WeightMut};
pub use component::{
    OptimizedAttention, OptimizedBlock, OptimizedDecoderLayer, OptimizedMlp, OptimizedVisionAttention,
    OptimizedVisionBlock, OptimizedVisionMlp,
};
pub use explain::{ExplainedProduct, Explanation, explain};
pub use explain_ops::ExplainedOp;
