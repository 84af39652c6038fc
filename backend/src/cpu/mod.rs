//! The CPU engine: tensors of `Flex` and (feature `ndarray`) `NdArray` as slices, and the kernels on them.
//!
//! One implementation of [`crate::Engine`] for every [`CpuBackend`]. Files are named after what they route:
//! each decides whether a kernel takes the operands, and declines if not.

mod attention;
mod attention_backward;
mod attention_rotary;
mod elementwise;
mod embedding;
mod embedding_backward;
mod engine;
mod explain;
mod flex;
mod grouped;
mod head_loss;
mod heads;
mod linear;
mod linear_backward;
mod matmul;
mod moe;
#[cfg(feature = "ndarray")]
mod ndarray;
mod norm;
mod norm_backward;
mod optim;
mod panels;
mod rope;
mod rope_backward;
mod softmax;
mod storage;

pub use panels::CpuPanels;
pub use storage::{CpuBackend, OwnedFloats, View};
