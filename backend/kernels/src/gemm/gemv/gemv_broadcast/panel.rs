//! Rows of A laid out beside each other, as words of a weight meet them.

use crate::gemm::gemv::gemv_broadcast::WORDS;
use crate::gemm::gemv::gemv_broadcast::words::Words;
use crate::simd::{Isa, PANEL};

/// Floats of a panel of A that one line of each row of W is multiplied by.
#[inline(always)]
pub(in crate::gemm) fn line_floats<I: Isa, W: Words<I>>(q: usize) -> usize {
    WORDS / q * W::STEPS * I::LANES
}

/// Lays rows of A, the first of them and their number, out: `[words / Q][STEPS][LANES / Q rows][Q]`, zeros for rows and
/// words that do not exist.
///
/// # Safety
/// The rows are readable; `panel` is writable for `lines` of [`line_floats`].
#[inline(always)]
pub(in crate::gemm) unsafe fn lay_panel<I: Isa, W: Words<I>, const Q: usize>(
    isa: I,
    words: W,
    (first, rows): (usize, usize),
    lines: usize,
    panel: *mut f32,
) {
    let (classes, steps) = (Q * W::STEPS, lines * WORDS / Q);
    // A square of registers comes of as many words of each row in each of `Q` places.
    for from in (0..steps).step_by(I::LANES) {
        let mut squares = [[isa.splat(0.0); PANEL]; 2];
        for i in 0..rows {
            let mut v = [isa.splat(0.0); 4];
            for (c, v) in v.iter_mut().enumerate().take(classes) {
                // SAFETY: the rows are readable; `panel` is writable for `lines` of `line_floats` (`# Safety` of
                // `lay_panel`).
                *v = unsafe { words.load_left(isa, first + i, from * classes + c * I::LANES) };
            }
            let classed = divide(isa, v, classes);
            for q in 0..Q {
                for (s, square) in squares.iter_mut().enumerate().take(W::STEPS) {
                    square[i * Q + q] = classed[q * W::STEPS + s];
                }
            }
        }
        for (s, square) in squares.iter_mut().enumerate().take(W::STEPS) {
            isa.transpose(square);
            for (t, &v) in square.iter().enumerate().take(I::LANES.min(steps - from)) {
                // SAFETY: a register of the panel.
                unsafe { isa.store(panel.add(((from + t) * W::STEPS + s) * I::LANES), v) };
            }
        }
    }
}

/// Numbers `0..classes · LANES` divided by what is left of their place over `classes`, which is 1, 2 or 4.
#[inline(always)]
fn divide<I: Isa>(isa: I, v: [I::V; 4], classes: usize) -> [I::V; 4] {
    match classes {
        1 => v,
        2 => {
            let [even, odd] = isa.split([v[0], v[1]]);
            [even, odd, v[2], v[3]]
        }
        _ => {
            let ([e0, o0], [e1, o1]) = (isa.split([v[0], v[1]]), isa.split([v[2], v[3]]));
            let ([c0, c2], [c1, c3]) = (isa.split([e0, e1]), isa.split([o0, o1]));
            [c0, c1, c2, c3]
        }
    }
}
