//! What callers call: checks of the operands, and the algorithm of each product.

mod grouped;
mod packed;
mod products;

pub use grouped::{Product, gemm_grouped};
pub use packed::gemm_packed;
pub use products::{Batch, gemm, gemm_batched};
