//! `Kiln<B>` against `B`: every op that Kiln overrides on random shapes, layouts, element types and values, and a
//! sample of the ops that it forwards.
//!
//! `B` is the oracle here, of what a program that runs on `B` gets; the fused ops have an independent one in
//! `tests/conformance.rs`. The same operands go through both, and must give the same shape, element type, infinities
//! and NaN, and numbers within the rounding of both sides. Where `B` panics, so must `Kiln<B>`.
//!
//! Cases are drawn from a fixed seed; `PROPTEST_CASES=5000` draws more of them.

mod attention;
mod check;
mod dtypes;
mod elementwise;
mod errors;
mod forwards;
mod gradients;
mod matmul;
mod operand;
mod rows;
mod strategy;
