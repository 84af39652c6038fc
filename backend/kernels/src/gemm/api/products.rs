//! Products of two views, and batches of them.

use crate::gemm::bf16::{Bf16Isa, Bf16Request};
use crate::gemm::epilogue::Epilogue;
use crate::gemm::left::LeftOperand;
use crate::gemm::macro_kernel::store::Store;
use crate::gemm::matrix::{GemmError, Matrix, OutMatrix, check};
use crate::gemm::plan::Plan;
use crate::gemm::raw::RawMatrix;
use crate::gemm::right::RightOperand;
use crate::gemm::schedule::offsets::Offsets;
use crate::gemm::schedule::problem::Problem;
use crate::gemm::schedule::raw_product::RawProduct;
use crate::gemm::shape::ProductShape;
use crate::gemm::variant::Variant;

/// `C = A · B` with an [`Epilogue`]: `C = activation(A·B + bias) + residual`, sums in f32.
///
/// Shapes: A `[m, k]`, B `[k, n]`, C `[m, n]`; f32, bf16 or f16 each, any strides of A and B. 2·m·n·k FLOP. A depth of
/// 0 stores the epilogue of 0. NaN and infinities go where the sums of the definition put them.
///
/// # Errors
/// [`GemmError::Shape`] where sizes do not match; the output is not touched then.
pub fn gemm(
    plan: &Plan,
    a: &Matrix<'_>,
    b: &Matrix<'_>,
    out: &mut OutMatrix<'_>,
    epilogue: &Epilogue<'_>,
) -> Result<(), GemmError> {
    check("rows of B", a.cols(), b.rows())?;
    check("rows of the output", a.rows(), out.rows())?;
    check("columns of the output", b.cols(), out.cols())?;
    epilogue.check(out.rows(), out.cols())?;
    let store = Store::new(out, epilogue);
    let transposed = plan.transposed(&ProductShape::of(a, b)).filter(|_| out.row_stride() == 1 && epilogue.is_none());
    let (a, b, plan) = match transposed {
        Some((plan, _)) => (b.transposed(), a.transposed(), plan),
        None => (*a, *b, *plan),
    };
    let product = ViewProduct {
        a: a.raw(),
        b: b.raw(),
        store,
        shape: [a.rows(), b.cols(), a.cols()],
        variant: plan.variant_of(&ProductShape::of(&a, &b)),
    };
    // SAFETY: the views are checked and match; the output is borrowed for the call.
    unsafe { product.run(&plan, &[Offsets::default()]) };
    Ok(())
}

/// A checked product of views.
#[derive(Debug, Clone, Copy)]
struct ViewProduct {
    a: RawMatrix,
    b: RawMatrix,
    store: Store,
    /// `[m, n, k]`.
    shape: [usize; 3],
    variant: Variant,
}

impl ViewProduct {
    /// The product at each of `offsets`.
    ///
    /// # Safety
    /// As for [`Problem::run`].
    unsafe fn run(self, plan: &Plan, offsets: &[Offsets]) {
        let Self { a, b, store, shape: [m, n, k], variant } = self;
        let b = RightOperand::View(b);
        let request = Bf16Request { variant, rounds: plan.bf16_activations, rounds_both: plan.bf16_products, rows: m };
        let problem = Problem {
            a: LeftOperand::plain(a),
            measure: None,
            products: &[RawProduct { b, store, n }],
            shape: [m, k],
            variant,
            bf16: Bf16Isa::choose(plan.launch.tier, &a, &b, request),
        };
        // SAFETY: the operands are readable and the outputs writable for the shape at each offset (`# Safety` of
        // `Problem::run`).
        unsafe { problem.run(plan, offsets) };
    }
}

/// Products of one shape: `C_i = A_i · B_i`. The offsets of the views themselves are not used.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Shape and strides of each A, `[m, k]`.
    pub a: Matrix<'a>,
    /// Shape and strides of each B, `[k, n]`.
    pub b: Matrix<'a>,
    /// Where each product begins.
    pub offsets: &'a [Offsets],
}

/// [`gemm`] for each product of a batch, in parallel over products and parts of products. Bias and residual are the
/// same for each.
///
/// # Errors
/// As for [`gemm`]; [`GemmError::OutOfBounds`] where an offset leads outside; [`GemmError::Overlap`] where two outputs
/// share elements.
pub fn gemm_batched(
    plan: &Plan,
    batch: &Batch<'_>,
    out: &mut OutMatrix<'_>,
    epilogue: &Epilogue<'_>,
) -> Result<(), GemmError> {
    let Batch { a, b, offsets } = batch;
    check("rows of B", a.cols(), b.rows())?;
    check("rows of the output", a.rows(), out.rows())?;
    check("columns of the output", b.cols(), out.cols())?;
    epilogue.check(out.rows(), out.cols())?;
    for at in *offsets {
        a.check_offset(at.a)?;
        b.check_offset(at.b)?;
        out.check_offset(at.out)?;
    }
    check_disjoint(out, offsets)?;
    // Offsets are from the start of the slices, and the problem from the views' own.
    let (a_raw, b_raw) = (a.raw(), b.raw());
    let a_raw = RawMatrix { data: a_raw.data.offset(-(a.offset() as isize)), ..a_raw };
    let b_raw = RawMatrix { data: b_raw.data.offset(-(b.offset() as isize)), ..b_raw };
    let store = Store::new(out, epilogue).offset(-(out.offset() as isize));
    let shape = [a.rows(), b.cols(), a.cols()];
    let product = ViewProduct { a: a_raw, b: b_raw, store, shape, variant: plan.variant_of(&ProductShape::of(a, b)) };
    // SAFETY: the views are checked at each offset and match; the outputs are disjoint and borrowed for the call.
    unsafe { product.run(plan, offsets) };
    Ok(())
}

/// Fails where two outputs share elements: they must be apart by a whole output, or lie in each other's gaps between
/// rows.
fn check_disjoint(out: &OutMatrix<'_>, offsets: &[Offsets]) -> Result<(), GemmError> {
    let (rows, cols, stride) = (out.rows(), out.cols(), out.row_stride());
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    let mut starts: Vec<usize> = offsets.iter().map(|at| at.out).collect();
    starts.sort_unstable();
    let nearest = starts.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(usize::MAX);
    let whole = (rows - 1) * stride + cols;
    // Interleaved outputs: all begin within one row's stride, the columns of each before those of the next.
    let spread = starts.last().zip(starts.first()).map_or(0, |(last, first)| last - first);
    let interleaved = nearest >= cols && spread.saturating_add(cols) <= stride;
    if nearest >= whole || interleaved {
        return Ok(());
    }
    Err(GemmError::Overlap { what: "outputs of the batch", distance: nearest, needed: whole })
}
