//! Matrix products on the CPU: `C = activation(norm(A)·B + bias) + residual` over strided f32, bf16 or f16.
//!
//! # Algorithm
//!
//! The loops of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008) in
//! the form of BLIS (Van Zee and van de Geijn, ACM TOMS 41(3), 2015): every operand is cut so that each loop finds what
//! it reuses in one level of the memory, and is packed so that the innermost loop reads it from end to end.
//!
//! ```text
//! in parallel: parts of C, each with packing buffers of its own                  (schedule/grid.rs, problem.rs)
//!   for jc in 0..n by nc                                       block of B   L3     (macro_kernel/blocked.rs)
//!     for pc in 0..k by kc
//!       pack B[pc.., jc..] into panels [kc][16]                                    (macro_kernel/packing.rs)
//!       for ic in 0..m by mc                                   block of A   L2
//!         pack A[ic.., pc..] into panels [kc][mr]
//!         for jr in 0..nc by nr                                micropanel of B  L1 (macro_kernel/floats.rs)
//!           for ir in 0..mc by mr                              tile of C    registers
//!             for p in 0..kc                                                       (macro_kernel/microkernel.rs)
//!               C[ir.., jr..] += A[ir.., p] ⊗ B[p, jr..]
//! ```
//!
//! * The depth is cut into `k / kc` depth blocks: sums wait in C itself if it is f32, else in a buffer, and the
//!   epilogue runs in the last of them, on the tile before its store (store.rs).
//! * Element types become f32 where A and B are packed, which reads each element once anyway.
//! * Tiles at the edge are whole: packing pads with zeros, and only what exists is stored. A NaN spreads only along its
//!   own row or column, and zeros are multiplied like any number.
//! * A packed weight is multiplied where it lies in parts of a block of rows by few columns: each thread begins with
//!   blocks of rows of its own, which it packs itself, and takes parts of another one when its own are gone
//!   (schedule/queue.rs).
//! * Elsewhere A that several parts multiply is packed first, by all threads, and shared (schedule/shared_left.rs); the
//!   grid then divides columns, so that B is packed once too, by the part that has its columns. No thread waits inside
//!   of a phase.
//! * Grouped products of one A (queries, keys and values; a gate and what it opens) run as one, and a norm of A's rows
//!   is applied while they are packed (api/grouped.rs, left.rs).
//!
//! A product of few rows does not repay packing: [`Variant`] says which algorithm runs instead (gemv/, and
//! [`Variant::Unpacked`] for operands in the L1 cache). A constant weight is packed once, as [`PackedMatrix`].
//!
//! Where both operands are bf16 and the tier multiplies bf16, the same loops run around `vdpbf16ps` or `tdpbf16ps`
//! (bf16/).
//!
//! # Layers
//!
//! Each imports only from those below it:
//!
//! ```text
//! api/             what callers call: checks, and the algorithm of each product
//! schedule/        parts of products, and the threads that take them
//! bf16/            products of pairs of bf16: VNNI lines, tiles of AMX
//! gemv/            products of few rows
//! plan.rs          which algorithm (variant.rs), how many threads and parts (split.rs), for which shape.rs
//! macro_kernel/    blocks, packing, the register tile, the store
//! operands         matrix.rs, raw.rs, left.rs, right.rs, packed_matrix.rs, vnni_panels.rs, epilogue.rs, region.rs,
//!                  registers.rs
//! ```

mod api;
mod bf16;
mod epilogue;
mod gemv;
mod left;
mod macro_kernel;
mod matrix;
mod packed_matrix;
mod plan;
mod raw;
mod region;
mod registers;
mod right;
mod schedule;
mod shape;
mod split;
mod variant;
mod vnni_panels;

pub use api::{Batch, Product, gemm, gemm_batched, gemm_grouped, gemm_packed};
pub use epilogue::{Epilogue, Residual};
pub use macro_kernel::blocking::{Blocking, Tile};
pub use matrix::{GemmError, Matrix, OutMatrix};
pub use packed_matrix::{PackedMatrix, UnpackedRows};
pub use plan::{PREFETCH_BYTES, Plan};
pub use right::RightMatrix;
pub use schedule::offsets::Offsets;
pub use shape::{Layout, ProductShape};
pub use split::Split;
pub(crate) use split::Work;
pub use variant::{GEMV_ROWS, Variant};
