//! Products with a packed weight.

use super::grouped::{Product, gemm_grouped};
use crate::gemm::epilogue::Epilogue;
use crate::gemm::matrix::{GemmError, Matrix, OutMatrix};
use crate::gemm::packed_matrix::PackedMatrix;
use crate::gemm::plan::Plan;
use crate::gemm::right::RightMatrix;

/// [`gemm`](super::gemm) with a packed weight: `C = activation(A·Wᵀ + bias) + residual`.
///
/// Shapes: A `[m, k]`, W `[n, k]`, C `[m, n]`. Up to [`GEMV_ROWS`](crate::gemm::GEMV_ROWS) rows stream the panels once
/// (gemv/packed_gemv.rs) unless the plan says otherwise; more run the blocked algorithm, which reads f32 panels in
/// place. Where A and W are both bf16
/// and the tier multiplies bf16, its instructions run (bf16/). An f32 A is rounded for them only where the plan allows
/// it ([`Plan::rounds`]).
///
/// # Errors
/// [`GemmError::Shape`] where sizes do not match; the output is not touched then.
pub fn gemm_packed(
    plan: &Plan,
    a: &Matrix<'_>,
    weight: &PackedMatrix,
    out: &mut OutMatrix<'_>,
    epilogue: &Epilogue<'_>,
) -> Result<(), GemmError> {
    let product = Product { right: RightMatrix::Packed(weight), out: out.reborrow(), epilogue: *epilogue };
    gemm_grouped(plan, a, None, &mut [product])
}
