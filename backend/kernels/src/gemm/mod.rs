//! Matrix products on the CPU: `C = activation(norm(A)·B + bias) + residual` over strided f32, bf16 or f16.
//!
//! # Algorithm
//!
//! The loops of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008) in the form of BLIS
//! (Van Zee and van de Geijn, ACM TOMS 41(3), 2015): every operand is cut so that each loop finds what it reuses in one level of the
//! memory, and is packed so that the innermost loop reads it from end to end.
//!
//! ```text
//! in parallel: parts of C, each with packing buffers of its own       Grid, Problem::run   (grid.rs, problem.rs)
//!   for jc in 0..n by nc                                              block of B   L3      (part.rs)
//!     for pc in 0..k by kc
//!       pack B[pc.., jc..] into panels [kc][16]                                            (packing.rs)
//!       for ic in 0..m by mc                                          block of A   L2
//!         pack A[ic.., pc..] into panels [kc][mr]
//!         for jr in 0..nc by nr                                       micropanel of B  L1
//!           for ir in 0..mc by mr                                     tile of C    registers
//!             for p in 0..kc                                                               (microkernel.rs)
//!               C[ir.., jr..] += A[ir.., p] ⊗ B[p, jr..]
//! ```
//!
//! * The depth is cut too, so C takes `k / kc` turns: sums wait in C itself if it is f32, else in a buffer, and the epilogue runs in
//!   the last turn, on the tile before its store (sink.rs).
//! * Element types become f32 where A and B are packed, which reads each element once anyway.
//! * Tiles at the edge are whole: packing pads with zeros, and only what exists is stored. A NaN spreads only along its own row or
//!   column, and zeros are multiplied like any number.
//! * A that several parts multiply is packed first, by all threads, and shared (shared_left.rs); the grid then divides columns, so that B
//!   is packed once too, by the part that has its columns. No thread waits inside of a phase.
//!
//! * Several products of one A (queries, keys and values; a gate and what it opens) run as one, and a norm of A's rows is applied while they
//!   are packed (several.rs, left.rs).
//!
//! A product of few rows does not repay packing: [`Variant`] says which algorithm runs instead (gemv.rs and lanes.rs, axpy.rs, and
//! [`Variant::Unpacked`] for operands in the L1 cache). A constant weight is packed once, as [`PackedMatrix`].
//!
//! Where both operands are bf16 and the tier multiplies bf16, the same loops run around `vdpbf16ps` or `tdpbf16ps` (pairs/).

mod axpy;
mod blocking;
mod driver;
mod epilogue;
mod few_rows;
mod gemv;
mod grid;
mod lanes;
mod left;
mod matrix;
mod microkernel;
mod packed;
mod packed_gemv;
mod packing;
mod pairs;
mod part;
mod plan;
mod problem;
mod raw;
mod several;
mod shared_left;
mod sink;

pub use blocking::{Blocking, Tile};
pub use driver::{Batch, Offsets, gemm, gemm_batched};
pub use epilogue::{Epilogue, Residual};
pub use matrix::{GemmError, Matrix, OutMatrix};
pub use packed::{PackedMatrix, UnpackedRows, gemm_packed};
pub(crate) use plan::choose_threads;
pub use plan::{GEMV_ROWS, PREFETCH_BYTES, Plan, Variant};
pub use several::{Product, RightMatrix, gemm_several};
