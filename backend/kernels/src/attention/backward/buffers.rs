//! The scratch memory of a tile of rows against a tile of keys.

use super::super::panel::panel_rows;
use super::super::problem::Problem;
use crate::scratch::{Scratch, round_to_line};
use crate::simd::{Isa, PANEL};

/// Floats of a cache line.
const LINE: usize = 16;

/// Addresses of a tile's operands in the scratch memory of its thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffers {
    /// Queries in panels, `[d][width]` each, scaled; the same as rows, times the scale of keys' gradients.
    pub(super) q: [*mut f32; 2],
    /// The gradient of the result in panels, and as rows.
    pub(super) grad: [*mut f32; 2],
    /// Sums of queries' gradients in panels, `[columns][width]` each.
    pub(super) dq: *mut f32,
    /// Floats of a column of `dq` in all panels.
    pub(super) columns: usize,
    /// Of each row: what its scores are relative to, in base 2.
    pub(super) lse: *mut f32,
    /// Of each row: `Σ grad ⊙ out`.
    pub(super) delta: *mut f32,
    /// Keys and values as rows.
    pub(super) k: *mut f32,
    pub(super) v: *mut f32,
    /// Weights, then gradients of scores, `[keys][rows]`; slopes of the soft cap where there is one.
    pub(super) p: *mut f32,
    pub(super) ds: *mut f32,
    pub(super) slopes: *mut f32,
    /// Floats from one row to the next: of `d`, of `dv` elements, and of a tile's rows.
    pub(super) d_stride: usize,
    pub(super) dv_stride: usize,
    pub(super) rows_stride: usize,
}

/// Floats from one row of `n` to the next: an odd number of cache lines, so that rows are spread over all sets of a
/// cache.
fn spread(n: usize) -> usize {
    (n.div_ceil(LINE) | 1) * LINE
}

impl Buffers {
    /// Takes this thread's scratch memory and divides it, for `rows` rows.
    #[inline(always)]
    pub(super) fn lay_out<I: Isa>(problem: &Problem<'_>, rows: usize) -> (Scratch, Self) {
        let &Problem { d, dv, tiles, .. } = problem;
        let rows = rows.next_multiple_of(panel_rows::<I>());
        let (d_stride, dv_stride, rows_stride) = (spread(d), spread(dv), spread(rows));
        let columns = d.next_multiple_of(PANEL);
        let slopes = if problem.softcap.is_some() { tiles.keys * rows_stride } else { 0 };
        let sizes = [
            rows * d,
            rows * d_stride,
            rows * dv,
            rows * dv_stride,
            rows * columns,
            rows,
            rows,
            tiles.keys * d_stride,
            tiles.keys * dv_stride,
            tiles.keys * rows_stride,
            tiles.keys * rows_stride,
            slopes,
        ];
        let total: usize = sizes.iter().map(|&floats| round_to_line(floats)).sum();
        let mut scratch = Scratch::take(total);
        let mut at = scratch.as_mut_ptr();
        let [q_panels, q_rows, grad_panels, grad_rows, dq, lse, delta, k, v, p, ds, slopes] = sizes.map(|floats| {
            let begin = at;
            at = at.wrapping_add(round_to_line(floats));
            begin
        });
        let (q, grad) = ([q_panels, q_rows], [grad_panels, grad_rows]);
        (scratch, Self { q, grad, dq, columns, lse, delta, k, v, p, ds, slopes, d_stride, dv_stride, rows_stride })
    }
}
