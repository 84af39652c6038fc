//! Products of few rows with a packed weight: each panel is one stream of memory, read once for all rows.
//!
//! ```text
//! for each panel of 16 columns
//!     for p in 0..k by 1, bf16: by 2
//!         b = panel[p..]                        one 64-byte line of f32 or of pairs of bf16, half a line of f16
//!         for i in 0..m
//!             acc[i] += A[i][p] · b             bf16: A[i][p] · b.even + A[i][p + 1] · b.odd
//! ```
//!
//! A gated product takes a panel of the gate and one of what it opens in turns: two streams, one store.

use super::few_rows::Rows;
use super::part::Part;
use super::plan::GEMV_ROWS;
use super::raw::RawFloats;
use super::sink::{Finish, Region, Turn};
use crate::Storage;
use crate::simd::{Isa, PANEL};
use half::{bf16, f16};

/// An element type of panels.
pub(super) trait PanelElement: Storage {
    /// Steps of the depth that lie beside each other.
    const STEPS: usize;

    /// `LANES` columns of those steps. A second step that a type does not have is the first one.
    ///
    /// # Safety
    /// `p` is readable for `LANES · STEPS` elements.
    unsafe fn load_steps<I: Isa>(isa: I, p: *const Self) -> [I::V; 2];
}

impl PanelElement for f32 {
    const STEPS: usize = 1;
    #[inline(always)]
    unsafe fn load_steps<I: Isa>(isa: I, p: *const Self) -> [I::V; 2] {
        // SAFETY: the caller's promise.
        [unsafe { isa.load(p) }; 2]
    }
}

impl PanelElement for f16 {
    const STEPS: usize = 1;
    #[inline(always)]
    unsafe fn load_steps<I: Isa>(isa: I, p: *const Self) -> [I::V; 2] {
        // SAFETY: the caller's promise.
        [unsafe { Self::load(isa, p) }; 2]
    }
}

impl PanelElement for bf16 {
    const STEPS: usize = 2;
    #[inline(always)]
    unsafe fn load_steps<I: Isa>(isa: I, p: *const Self) -> [I::V; 2] {
        // SAFETY: the caller's promise: `LANES` pairs are as long as a register.
        let pairs = unsafe { isa.load(p.cast()) };
        [isa.even_bf16(pairs), isa.odd_bf16(pairs)]
    }
}

/// Products of the few rows of `part` with panels: of one operand (the first one), or of both if the product is gated.
///
/// # Safety
/// As for [`Part::kernel`].
#[inline(always)]
pub(super) unsafe fn multiply_panels<I: Isa>(isa: I, part: &Part, panels: [RawFloats; 2]) {
    // SAFETY: the caller's promise.
    unsafe {
        match panels {
            [RawFloats::F32(first), RawFloats::F32(second)] => multiply_panels_as(isa, part, [first, second]),
            [RawFloats::Bf16(first), RawFloats::Bf16(second)] => multiply_panels_as(isa, part, [first, second]),
            [RawFloats::F16(first), RawFloats::F16(second)] => multiply_panels_as(isa, part, [first, second]),
            // Both are of one type.
            _ => {}
        }
    }
}

/// [`multiply_panels`] for one element type.
///
/// # Safety
/// As for [`multiply_panels`].
#[inline(always)]
unsafe fn multiply_panels_as<I: Isa, S: PanelElement>(isa: I, part: &Part, operands: [*const S; 2]) {
    let Region { row, col, rows, cols } = part.region;
    let (depth, factors) = (part.depth, part.b.factors());
    debug_assert!(rows <= GEMV_ROWS && col.is_multiple_of(PANEL));
    // SAFETY: the caller's promise.
    let a = unsafe { Rows::contiguous(isa, part.a.matrix.from(row, 0), rows, depth) };
    let mut tile = [0.0f32; GEMV_ROWS * PANEL * 2];
    let (tile, stride) = (tile.as_mut_ptr(), PANEL * factors);
    for j in (0..cols).step_by(PANEL) {
        for (half, panels) in operands.iter().enumerate().take(factors) {
            let data = panels.wrapping_add((col + j) * depth.next_multiple_of(S::STEPS));
            let out = (tile.wrapping_add(half * PANEL), stride);
            let panel = Panel { data, depth, ahead: part.prefetch };
            // SAFETY: the caller's promise: the rows of A and the panel exist; the tile has room for all rows.
            unsafe { multiply_rows(isa, (&a, rows), panel, out) };
        }
        let region = Region { row, col: col + j, rows, cols: PANEL.min(cols - j) };
        // SAFETY: all of the tile's rows were written; the region lies in the part's.
        isa.run(unsafe { Finish::new(&part.sink, tile, stride, region, Turn::WHOLE) });
    }
}

/// All rows of A times one panel, rows of the result `stride` floats apart.
///
/// # Safety
/// The rows and the panel exist; `out` is writable for the rows.
#[inline(always)]
unsafe fn multiply_rows<I: Isa, S: PanelElement>(
    isa: I,
    (a, rows): (&Rows, usize),
    panel: Panel<S>,
    (out, stride): (*mut f32, usize),
) {
    let mut i = 0;
    while i < rows {
        let left = (a.data.wrapping_offset(i as isize * a.stride), a.stride);
        let out = (out.wrapping_add(i * stride), stride);
        // The rows after the first ones find the panel in a cache.
        let panel = Panel { ahead: if i == 0 { panel.ahead } else { 0 }, ..panel };
        // SAFETY: the caller's promise.
        unsafe {
            // A panel is one register of 16 lanes or two of 8: the shapes keep 4 to 8 sums going.
            match (rows - i, I::LANES) {
                (1, _) => {
                    multiply_panel::<I, S, 1, 4>(isa, left, panel, out);
                    i += 1;
                }
                (2 | 3, _) => {
                    multiply_panel::<I, S, 2, 2>(isa, left, panel, out);
                    i += 2;
                }
                (16.., 16) => {
                    multiply_panel::<I, S, 16, 1>(isa, left, panel, out);
                    i += 16;
                }
                (12.., 16) => {
                    multiply_panel::<I, S, 12, 1>(isa, left, panel, out);
                    i += 12;
                }
                (8.., 16) => {
                    multiply_panel::<I, S, 8, 1>(isa, left, panel, out);
                    i += 8;
                }
                (_, 16) => {
                    multiply_panel::<I, S, 4, 2>(isa, left, panel, out);
                    i += 4;
                }
                _ => {
                    multiply_panel::<I, S, 4, 1>(isa, left, panel, out);
                    i += 4;
                }
            }
        }
    }
}

/// One panel, `[depth / STEPS][16][STEPS]`, of which the line `ahead` bytes further is asked for.
#[derive(Debug, Clone, Copy)]
struct Panel<S> {
    data: *const S,
    depth: usize,
    ahead: usize,
}

/// `M` rows of A times one panel, with `U` sums each: `out[i · stride ..][..PANEL]`.
///
/// # Safety
/// `M` rows of `a` are readable for the depth of the panel, and the panel itself; `out` is writable for `M` such rows.
#[inline(always)]
unsafe fn multiply_panel<I: Isa, S: PanelElement, const M: usize, const U: usize>(
    isa: I,
    (a, a_stride): (*const f32, isize),
    panel: Panel<S>,
    (out, stride): (*mut f32, usize),
) {
    let Panel { data: panel, depth, ahead } = panel;
    let regs = PANEL / I::LANES;
    let mut acc = [[[isa.splat(0.0); 2]; M]; U];
    let whole = depth / S::STEPS;
    let mut p = 0;
    while p + U <= whole {
        for (u, sums) in acc.iter_mut().enumerate() {
            let (a, b) = (a.wrapping_add((p + u) * S::STEPS), panel.wrapping_add((p + u) * PANEL * S::STEPS));
            // SAFETY: line `p + u` lies within the depth.
            unsafe { add_line(isa, (a, a_stride), (b, b.cast::<u8>().wrapping_add(ahead)), S::STEPS, sums) };
        }
        p += U;
    }
    for p in p..depth.div_ceil(S::STEPS) {
        let (a, b) = (a.wrapping_add(p * S::STEPS), panel.wrapping_add(p * PANEL * S::STEPS));
        let (ask, steps) = (b.cast::<u8>().wrapping_add(ahead), S::STEPS.min(depth - p * S::STEPS));
        // SAFETY: line `p` lies within the panel, and no more steps are taken than A has.
        unsafe { add_line(isa, (a, a_stride), (b, ask), steps, &mut acc[0]) };
    }
    for i in 0..M {
        for j in 0..regs {
            let mut sum = acc[0][i][j];
            for more in &acc[1..] {
                sum = isa.add(sum, more[i][j]);
            }
            // SAFETY: the caller's promise.
            unsafe { isa.store(out.add(i * stride + j * I::LANES), sum) };
        }
    }
}

/// One line of a panel: `sums[i] += Σ_t a[i · a_stride + t] · b[..PANEL][t]` for the first `steps` of its steps. Asks for the line `ask`.
///
/// # Safety
/// `M` rows of `a` are readable for `steps` floats, `b` for a line of a panel; `steps` is at most `S::STEPS`.
#[inline(always)]
pub(super) unsafe fn add_line<I: Isa, S: PanelElement, const M: usize>(
    isa: I,
    (a, a_stride): (*const f32, isize),
    (b, ask): (*const S, *const u8),
    steps: usize,
    sums: &mut [[I::V; 2]; M],
) {
    isa.prefetch(ask);
    for j in 0..PANEL / I::LANES {
        // SAFETY: the caller's promise.
        unsafe {
            let v = S::load_steps(isa, b.add(j * I::LANES * S::STEPS));
            for (i, sum) in sums.iter_mut().enumerate() {
                for (t, &v) in v.iter().enumerate().take(steps) {
                    let x = isa.splat(a.offset(i as isize * a_stride).add(t).read());
                    sum[j] = isa.mul_add(x, v, sum[j]);
                }
            }
        }
    }
}
