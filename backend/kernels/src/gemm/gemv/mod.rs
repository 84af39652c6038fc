//! Products of few rows, whose time is that of reading B once.
//!
//! ```text
//! packed_gemv.rs     B in panels: each a stream of memory
//! dots.rs            B with contiguous columns, a weight [n, k]: dot products along its rows
//! gemv_broadcast/    the same with rows of A in the lanes of registers
//! axpy.rs            B with contiguous rows, added up one after the other
//! left_rows.rs       the rows of A
//! ```

pub(in crate::gemm) mod axpy;
pub(in crate::gemm) mod dots;
pub(in crate::gemm) mod gemv_broadcast;
pub(in crate::gemm) mod left_rows;
pub(in crate::gemm) mod packed_gemv;
