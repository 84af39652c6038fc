//! Checked products, cut into parts for the threads.
//!
//! ```text
//! problem.rs        products of one A: their parts, and the threads that take them
//! grid.rs           the division of one output into parts
//! queue.rs          parts as threads come free
//! shared_left.rs    A, packed once for all parts, or its rows by each thread
//! run_part.rs       the algorithm of a part
//! raw_product.rs    a checked right operand, and where its product goes
//! offsets.rs        where the products of a batch begin
//! ```

mod grid;
pub(in crate::gemm) mod offsets;
pub(in crate::gemm) mod problem;
mod queue;
pub(in crate::gemm) mod raw_product;
mod run_part;
mod shared_left;
