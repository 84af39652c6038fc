//! Element-wise kernels over contiguous slices: arithmetic in f32, rounded once to the element type.
//!
//! Each op reads its operands once and writes once, so it is bound by memory: threads split the elements, and every register is
//! loaded, worked on and stored without an intermediate. The last, partial register goes through masked loads and stores.

mod binary;
mod gated;
mod unary;

pub use binary::{BinaryOp, Operand, binary, binary_in_place};
pub use gated::{silu_mul, silu_mul_in_place, silu_mul_packed};
pub use unary::{UnaryOp, unary, unary_in_place};
