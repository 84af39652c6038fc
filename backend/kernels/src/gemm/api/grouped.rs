//! Grouped products: several right operands of one left operand.

use crate::ElementType;
use crate::gemm::bf16::{Bf16Isa, Bf16Request};
use crate::gemm::epilogue::Epilogue;
use crate::gemm::left::{LeftOperand, NormedRows};
use crate::gemm::macro_kernel::blocking::Tile;
use crate::gemm::macro_kernel::store::Store;
use crate::gemm::matrix::{GemmError, Matrix, OutMatrix, check};
use crate::gemm::packed_matrix::PackedMatrix;
use crate::gemm::plan::Plan;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::right::{RightMatrix, RightOperand};
use crate::gemm::schedule::offsets::Offsets;
use crate::gemm::schedule::problem::Problem;
use crate::gemm::schedule::raw_product::RawProduct;
use crate::gemm::shape::{Layout, ProductShape};
use crate::gemm::variant::Variant;
use crate::norm::{NormRows, RowNorm};
use crate::scratch::PooledScratch;
use crate::simd::PANEL;
use crate::{Floats, FloatsMut, Launch};

/// One product of a group, all of one A.
#[derive(Debug)]
pub struct Product<'a> {
    /// B.
    pub right: RightMatrix<'a>,
    /// C, `[m, n]`.
    pub out: OutMatrix<'a>,
    /// What happens before the store.
    pub epilogue: Epilogue<'a>,
}

/// `C_i = activation_i(P_i + bias_i) + residual_i` for several right operands, where `P_i` is `norm(A)·B_i`, or gated
/// ([`RightMatrix::Gated`]).
///
/// A is packed once for all of them, and its norm, where there is one, is applied then (few rows: into a buffer, once).
/// Products of one algorithm run as one: threads take parts of all of them.
///
/// Arithmetic and errors are those of [`gemm`](super::gemm) and [`gemm_packed`](super::gemm_packed) after the separate
/// norm. Shapes: A `[m, k]`, f32 with contiguous rows if there is a norm.
///
/// # Errors
/// [`GemmError::Shape`] where sizes do not match, [`GemmError::Type`] where element types don't; no output is touched
/// then.
pub fn gemm_grouped(
    plan: &Plan,
    a: &Matrix<'_>,
    norm: Option<&RowNorm<'_>>,
    products: &mut [Product<'_>],
) -> Result<(), GemmError> {
    for product in products.iter() {
        check_product(a, product)?;
    }
    let Some(norm) = norm else { return run_all(plan, a, None, products) };
    check("elements of the norm", a.cols(), norm.gamma().len())?;
    check("summands of the norm", a.cols(), norm.beta().map_or(a.cols(), |beta| beta.len()))?;
    check("column stride of what is normalised", 1, if a.cols() > 1 { a.strides()[1].unsigned_abs() } else { 1 })?;
    check_type("what is normalised", ElementType::F32, a.data().dtype())?;
    let fuses = |product: &Product<'_>| choose_variant(plan, a, product.right).fuses_norm();
    if a.cols() == 0 || a.strides()[0] < 0 || !products.iter().all(fuses) {
        return normalize(plan.launch, a, norm, |normed| run_all(plan, &normed, None, products));
    }
    run_all(plan, a, Some(norm), products)
}

/// Up to this many rows a gated product of f32 panels keeps pace with memory on registers of 8 lanes.
const GATED_ROWS: usize = 4;

impl Plan {
    /// Whether a gated product of `rows` rows is at least as fast as two products and a pass that multiplies them. With
    /// registers of 8 lanes a tile takes half a line of either operand, which f32 and f16 panels do not pay for. (2048
    /// by 6144, 2 threads, whole MLP against its composition. AVX-512: f32 1.05 to 1.09, 1.03 to 1.05 and 0.99 to 1.01
    /// at 1, 16 and 512 rows; bf16 1.10, 1.02 to 1.06, 1.00 to 1.01. AVX2: f32 1.12, 0.95, 0.94; bf16 1.01, 1.06,
    /// 1.00.)
    pub fn gates(&self, rows: usize, gate: &PackedMatrix) -> bool {
        let whole_lines = Tile::of(self.launch.tier).nr > PANEL;
        whole_lines || gate.dtype() == ElementType::Bf16 || rows <= GATED_ROWS
    }

    /// Whether `rows` rows of f32 are rounded to bf16 on their way to `weight`: a caller that makes them for it may as
    /// well store bf16.
    pub fn rounds(&self, rows: usize, weight: &PackedMatrix) -> bool {
        let (n, k, b) = (weight.n(), weight.k(), weight.dtype());
        let variant = self.variant_of(&ProductShape { m: rows, n, k, a: ElementType::F32, b, layout: Layout::Packed });
        let a = RawMatrix { data: RawFloats::new(Floats::F32(&[])), row_stride: 0, col_stride: 1 };
        let panels = RightOperand::Panels(RawFloats::new(weight.panels()));
        let request = Bf16Request { variant, rounds: self.bf16_activations, rounds_both: self.bf16_products, rows };
        Bf16Isa::choose(self.launch.tier, &a, &panels, request).is_some()
    }
}

/// Fails unless `found` is `expected`.
fn check_type(what: &'static str, expected: ElementType, found: ElementType) -> Result<(), GemmError> {
    if expected == found { Ok(()) } else { Err(GemmError::Type { what, expected, found }) }
}

/// Fails where a product does not fit A.
fn check_product(a: &Matrix<'_>, product: &Product<'_>) -> Result<(), GemmError> {
    let Product { right, out, epilogue } = product;
    let (k, n) = match right {
        RightMatrix::View(b) => (b.rows(), b.cols()),
        RightMatrix::Packed(weight) => (weight.k(), weight.n()),
        RightMatrix::Gated([gate, up]) => {
            check("rows of what the gate opens", gate.n(), up.n())?;
            check("columns of what the gate opens", gate.k(), up.k())?;
            check_type("what the gate opens", gate.dtype(), up.dtype())?;
            (gate.k(), gate.n())
        }
    };
    check("depth of B", a.cols(), k)?;
    check("rows of the output", a.rows(), out.rows())?;
    check("columns of the output", n, out.cols())?;
    epilogue.check(out.rows(), out.cols())
}

/// Calls `work` with the normalised rows, in a buffer.
fn normalize<R>(launch: Launch, a: &Matrix<'_>, norm: &RowNorm<'_>, work: impl FnOnce(Matrix<'_>) -> R) -> R {
    let (m, k) = (a.rows(), a.cols());
    let mut scratch = PooledScratch::take(m * k);
    let normed = &mut scratch.as_mut_slice()[..m * k];
    if let (false, Floats::F32(data)) = (normed.is_empty(), a.data()) {
        let gathered: Vec<f32>;
        let rows = match usize::try_from(a.strides()[0]) {
            Ok(stride) => NormRows { data: Floats::F32(&data[a.offset()..]), rows: m, stride },
            // Rows that run backwards.
            Err(_) => {
                let stride = a.strides()[0].unsigned_abs();
                let row = |i: usize| &data[a.offset() - i * stride..][..k];
                gathered = (0..m).flat_map(|i| row(i).iter().copied()).collect();
                NormRows::contiguous(Floats::F32(&gathered), k)
            }
        };
        norm.normalize(launch, rows, FloatsMut::F32(normed));
    }
    let view = Matrix::row_major(Floats::F32(normed), m, k).expect("the buffer has a number for each element");
    work(view)
}

/// The algorithm of one product.
fn choose_variant(plan: &Plan, a: &Matrix<'_>, right: RightMatrix<'_>) -> Variant {
    plan.variant_of(&match right {
        RightMatrix::View(b) => ProductShape::of(a, &b),
        RightMatrix::Packed(panels) | RightMatrix::Gated([panels, _]) => ProductShape::of_packed(a, panels),
    })
}

/// Runs checked products, those of one algorithm together.
fn run_all(
    plan: &Plan,
    a: &Matrix<'_>,
    norm: Option<&RowNorm<'_>>,
    products: &mut [Product<'_>],
) -> Result<(), GemmError> {
    // The distance of columns of which there is one means nothing, and rows that have a norm are contiguous.
    let left = RawMatrix { col_stride: if a.cols() > 1 { a.strides()[1] } else { 1 }, ..a.raw() };
    let mut raw: Vec<_> = products
        .iter_mut()
        .map(|product| {
            let store = Store::new(&mut product.out, &product.epilogue);
            let (b, store, n) = match product.right {
                RightMatrix::View(b) => (RightOperand::View(b.raw()), store, b.cols()),
                RightMatrix::Packed(w) => (RightOperand::Panels(RawFloats::new(w.panels())), store, w.n()),
                RightMatrix::Gated(pair) => {
                    let panels = pair.map(|weight| RawFloats::new(weight.panels()));
                    (RightOperand::Gated(panels), store.gated(), pair[0].n())
                }
            };
            let variant = choose_variant(plan, a, product.right);
            let request =
                Bf16Request { variant, rounds: plan.bf16_activations, rounds_both: plan.bf16_products, rows: a.rows() };
            let bf16 = Bf16Isa::choose(plan.launch.tier, &left, &b, request);
            (variant, bf16, RawProduct { b, store, n })
        })
        .collect();
    let mut rows = norm.map(|norm| NormedRows::new(plan.launch, norm, *a));
    let (scales, measure) = rows.as_mut().map(NormedRows::scales).unzip();
    while let Some(&(variant, bf16, _)) = raw.first() {
        let same =
            |other: &(Variant, Option<Bf16Isa>, RawProduct)| other.0 == variant && other.1.is_some() == bf16.is_some();
        let (group, rest): (Vec<_>, Vec<_>) = raw.into_iter().partition(same);
        raw = rest;
        let group: Vec<_> = group.into_iter().map(|(_, _, product)| product).collect();
        let problem = Problem {
            a: LeftOperand { matrix: left, scales },
            measure: measure.as_ref(),
            products: &group,
            shape: [a.rows(), a.cols()],
            variant,
            bf16,
        };
        // SAFETY: the views are checked and match; panels hold whole multiples of 16 columns over the depth, pairs if
        // they are bf16; the outputs are borrowed, each mutably, for the call; scales exist only where every product is
        // blocked, of contiguous f32.
        unsafe { problem.run(plan, &[Offsets::default()]) };
    }
    Ok(())
}
