//! The CPU engine: tensors of `Flex` and (feature `ndarray`) `NdArray` as slices, and the kernels on them.
//!
//! One implementation of [`crate::Engine`] for every [`CpuBackend`]. Files are named after what they route:
//! each decides whether a kernel takes the operands, and hands them back if not.

mod attention;
mod attention_rotary;
mod elementwise;
mod embedding;
mod engine;
mod flex;
mod linear;
mod matmul;
mod moe;
#[cfg(feature = "ndarray")]
mod ndarray;
mod norm;
mod rope;
mod several;
mod softmax;
mod storage;

pub use engine::CpuPanels;
pub use storage::{CpuBackend, OwnedFloats, View};
