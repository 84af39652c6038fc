//! Element-wise kernels over contiguous slices: arithmetic in f32, rounded once to the element type.
//!
//! Each op reads its operands once and writes once: threads split the elements, and a few registers at a time are
//! loaded, worked on and stored without an intermediate. Results too large for the caches are stored non-temporally.
//! The last, partial register goes through masked loads and stores.

mod binary;
mod gated;
mod unary;

pub use binary::{BinaryOp, Operand, binary, binary_in_place};
pub use gated::{silu_mul, silu_mul_in_place};
pub use unary::{UnaryOp, unary, unary_in_place};
