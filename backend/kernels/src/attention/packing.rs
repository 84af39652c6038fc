//! Operands of many rows, laid out for the register tile.

use super::arithmetic::Arithmetic;
use super::panel::left_columns;
use super::problem::{Problem, UnitRows};
use crate::Storage;
use crate::rows::{AnySource, load, store};
use crate::simd::{Isa, PANEL};

/// `n` rows of `d` elements, `stride` apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileRows<S> {
    pub(super) data: *const S,
    pub(super) stride: usize,
    pub(super) n: usize,
    pub(super) d: usize,
}

/// `columns` rounded up to a whole number of registers on every tier.
pub(super) const fn pad_columns(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

/// A panel of queries to pack.
#[derive(Debug, Clone, Copy)]
pub(super) struct PanelQueries<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) span: &'a UnitRows,
    pub(super) q: AnySource,
    /// First row of the panel in its unit.
    pub(super) first: usize,
    /// Rows of the panel, a whole number of registers.
    pub(super) width: usize,
}

/// Queries of a panel, transposed: `[d in words][width]`, rows beyond the unit's zero. Words of f32 are scaled.
///
/// Squares of `LANES` rows by `LANES` words are transposed in registers.
///
/// # Safety
/// `out` is writable for `width` times the words of a row. The queries are bf16, and `d`
/// is even, where a word holds two.
#[inline(always)]
pub(super) unsafe fn pack_queries<A: Arithmetic>(
    arithmetic: A,
    PanelQueries { problem, span, q, first, width }: PanelQueries<'_>,
    out: *mut f32,
) {
    let isa = arithmetic.isa();
    let lanes = <A::Isa as Isa>::LANES;
    let [batch, head, position] = problem.q_strides;
    let words = problem.d / A::DEPTH;
    let factor = isa.splat(problem.q_factor());
    for column in (0..width).step_by(lanes) {
        let mut starts = [0; 16];
        let live = lanes.min(span.rows().saturating_sub(first + column));
        for (i, start) in starts[..live].iter_mut().enumerate() {
            let (h, query) = span.row(first + column + i);
            *start = span.batch * batch + h * head + query * position;
        }
        for at in (0..words).step_by(lanes) {
            let n = lanes.min(words - at);
            let mut square = [isa.splat(0.0); 16];
            for (to, &start) in square.iter_mut().zip(&starts[..live]) {
                let from = start + at * A::DEPTH;
                *to = match q {
                    AnySource::Bf16(q) if A::DEPTH == 2 => {
                        // SAFETY: `part` checks the pairs; any pattern of 32 bits is a float.
                        unsafe { load(isa, q.part(&(from..from + 2 * n)).cast::<f32>(), n) }
                    }
                    q => isa.mul(q.load(isa, from, n), factor),
                };
            }
            isa.transpose(&mut square);
            for (i, &words) in square[..n].iter().enumerate() {
                // SAFETY: by the `# Safety` clause of `pack_queries`, word `at + i` of the row, `column + lanes ≤
                // width`.
                unsafe { isa.store(out.add((at + i) * width + column), words) };
            }
        }
    }
}

/// Keys as rows of f32, `to_stride` apart.
///
/// # Safety
/// `keys` is readable, `out` writable for `n` rows of `d` floats.
#[inline(always)]
pub(super) unsafe fn widen_keys<I: Isa, S: Storage>(isa: I, keys: TileRows<S>, out: *mut f32, to_stride: usize) {
    let TileRows { data, stride, n, d } = keys;
    for key in 0..n {
        for at in (0..d).step_by(I::LANES) {
            let lanes = I::LANES.min(d - at);
            // SAFETY: `keys` is readable, `out` writable for `n` rows of `d` floats (`# Safety` of `widen_keys`).
            unsafe {
                let x = load(isa, data.add(key * stride + at), lanes);
                store(isa, out.add(key * to_stride + at), x, lanes);
            }
        }
    }
}

/// Values in columns of [`left_columns`] words: `[dv / columns][keys in words][columns]`, columns and the second half
/// of a last pair padded with zeros.
///
/// # Safety
/// `values` is readable, `out` is writable for the padded number of columns times the words of `n` keys.
#[inline(always)]
pub(super) unsafe fn pack_values<A: Arithmetic, S: Storage>(arithmetic: A, values: TileRows<S>, out: *mut f32) {
    let isa = arithmetic.isa();
    let lanes = <A::Isa as Isa>::LANES;
    let TileRows { data, stride, n, d } = values;
    let (words, beside) = (n.div_ceil(A::DEPTH), left_columns::<A::Isa>());
    for word in 0..words {
        for at in (0..d.next_multiple_of(beside)).step_by(lanes) {
            let mut row = isa.splat(0.0);
            if at < d {
                // SAFETY: `values` is readable, `out` is writable for the padded number of columns times the words of
                // `n` keys (`# Safety` of `pack_values`); lanes beyond d are zero.
                row = unsafe { load(isa, data.add(word * A::DEPTH * stride + at), lanes.min(d - at)) };
            }
            if A::DEPTH == 2 {
                let mut odd = isa.splat(0.0);
                if at < d && word * 2 + 1 < n {
                    // SAFETY: `values` is readable, `out` is writable for the padded number of columns times the words
                    // of `n` keys (`# Safety` of `pack_values`); lanes beyond d are zero.
                    odd = unsafe { load(isa, data.add((word * 2 + 1) * stride + at), lanes.min(d - at)) };
                }
                row = arithmetic.pair(row, odd);
            }
            // SAFETY: by the `# Safety` clause of `pack_values`, `beside` is a whole number of registers.
            unsafe { isa.store(out.add(at / beside * words * beside + word * beside + at % beside), row) };
        }
    }
}
