//! Rows of the query side, laid out for the products.

use super::super::problem::UnitRows;
use super::operands::Operand;
use crate::rows::{AnySource, Source};
use crate::simd::Isa;

/// Rows of a panel that are packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct PanelRows<'a> {
    pub(super) operand: Operand,
    /// Elements of a row.
    pub(super) d: usize,
    pub(super) span: &'a UnitRows,
    /// First row of the panel in its unit.
    pub(super) first: usize,
    /// Rows of the panel, a whole number of registers.
    pub(super) width: usize,
}

/// Both forms of a panel's rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct BothForms {
    /// Transposed, `[d][width]`, and what it is multiplied by.
    pub(super) panel: *mut f32,
    pub(super) panel_factor: f32,
    /// As rows, `stride` apart, of whole registers, and what they are multiplied by.
    pub(super) rows: *mut f32,
    pub(super) stride: usize,
    pub(super) rows_factor: f32,
}

impl PanelRows<'_> {
    /// Writes both forms. Rows beyond the unit's are zero, and so are elements beyond `d`.
    ///
    /// # Safety
    /// `to` is writable: its panel for `d · width` floats, its rows for `width` times `d` rounded up to registers.
    #[inline(always)]
    pub(super) unsafe fn pack<I: Isa>(self, isa: I, to: BothForms) {
        let Self { operand, d, span, first, width } = self;
        let (panel_factor, rows_factor) = (isa.splat(to.panel_factor), isa.splat(to.rows_factor));
        for column in (0..width).step_by(I::LANES) {
            for at in (0..d).step_by(I::LANES) {
                let n = I::LANES.min(d - at);
                let mut square = [isa.splat(0.0); 16];
                for (i, x) in square[..I::LANES].iter_mut().enumerate() {
                    let row = first + column + i;
                    if row < span.rows() {
                        *x = operand.data.load(isa, operand.row(span, row) + at, n);
                    }
                    // SAFETY: row `column + i` of the panel (`# Safety` of `PanelRows::pack`).
                    unsafe { isa.store(to.rows.add((column + i) * to.stride + at), isa.mul(*x, rows_factor)) };
                    *x = isa.mul(*x, panel_factor);
                }
                isa.transpose(&mut square);
                for (i, &x) in square[..n].iter().enumerate() {
                    // SAFETY: element `at + i < d`, `column + LANES ≤ width` (`# Safety` of `PanelRows::pack`).
                    unsafe { isa.store(to.panel.add((at + i) * width + column), x) };
                }
            }
        }
    }
}

/// `Σ grad ⊙ out` of a row.
#[inline(always)]
pub(super) fn dot_rows<I: Isa>(isa: I, [a, b]: [AnySource; 2], [a_at, b_at]: [usize; 2], d: usize) -> f32 {
    let mut sum = isa.splat(0.0);
    for at in (0..d).step_by(I::LANES) {
        let n = I::LANES.min(d - at);
        sum = isa.mul_add(a.load(isa, a_at + at, n), b.load(isa, b_at + at, n), sum);
    }
    isa.reduce_add(sum)
}

/// A row's lse in base 2, so that its weights are `2^(score - lse)`; those of a row that sees nothing are 0 whatever is
/// subtracted, so it is a finite number.
#[inline(always)]
pub(super) fn base_2(lse: Source<f32>, at: usize) -> f32 {
    // SAFETY: `part` checks the index.
    let lse = unsafe { *lse.part(&(at..at + 1)) };
    if lse == f32::NEG_INFINITY { 0.0 } else { lse * core::f32::consts::LOG2_E }
}
