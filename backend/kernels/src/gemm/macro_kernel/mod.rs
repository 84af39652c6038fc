//! Blocked products: the five loops around the register tile, what they pack, and where tiles go.
//!
//! ```text
//! blocking.rs       sizes of the blocks, from the caches
//! blocked.rs        the three outer loops, for any arithmetic
//! floats.rs         blocks of f32: packing, and the two inner loops      (those of bf16: ../bf16/blocks.rs)
//! packing.rs        a strided block becomes panels
//! microkernel.rs    the register tile
//! store.rs          sums of several blocks of the depth, the epilogue and the one store
//! unpacked.rs       the register tile over small strided operands
//! part.rs           a rectangle of a product: what each of the algorithms takes
//! packed_left.rs    A, packed once for all parts of a product
//! ```

pub(in crate::gemm) mod blocked;
pub(in crate::gemm) mod blocking;
pub(in crate::gemm) mod floats;
pub(in crate::gemm) mod microkernel;
pub(in crate::gemm) mod packed_left;
pub(in crate::gemm) mod packing;
pub(in crate::gemm) mod part;
pub(in crate::gemm) mod store;
pub(in crate::gemm) mod unpacked;
