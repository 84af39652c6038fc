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
//! A gated product alternates between a panel of the gate and one of what it opens: two streams, one store.

use crate::Storage;
use crate::gemm::gemv::left_rows::{LeftRows, RowPointers, SumPointers};
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::store::Finish;
use crate::gemm::raw::RawFloats;
use crate::gemm::region::{Region, TilePlace};
use crate::gemm::variant::GEMV_ROWS;
use crate::impossible::impossible;
use crate::simd::{Isa, PANEL};
use half::{bf16, f16};

/// An element type of panels.
pub(in crate::gemm) trait PanelElement: Storage {
    /// Adjacent steps of the depth.
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
        // SAFETY: `p` is readable for `LANES · STEPS` elements (`# Safety` of `PanelElement::load_steps`).
        [unsafe { isa.load(p) }; 2]
    }
}

impl PanelElement for f16 {
    const STEPS: usize = 1;
    #[inline(always)]
    unsafe fn load_steps<I: Isa>(isa: I, p: *const Self) -> [I::V; 2] {
        // SAFETY: `p` is readable for `LANES · STEPS` elements (`# Safety` of `PanelElement::load_steps`).
        [unsafe { Self::load(isa, p) }; 2]
    }
}

impl PanelElement for bf16 {
    const STEPS: usize = 2;
    #[inline(always)]
    unsafe fn load_steps<I: Isa>(isa: I, p: *const Self) -> [I::V; 2] {
        // SAFETY: by the `# Safety` clause of `PanelElement::load_steps`, `LANES` pairs are as long as a register.
        let pairs = unsafe { isa.load(p.cast()) };
        [isa.even_bf16(pairs), isa.odd_bf16(pairs)]
    }
}

/// Products of the few rows of `part` with panels: of one operand (the first one), or of both if the product is gated.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`].
#[inline(always)]
pub(in crate::gemm) unsafe fn multiply_panels<I: Isa>(isa: I, part: &ProductPart, panels: [RawFloats; 2]) {
    // SAFETY: `part` is as `ProductPart` says (`# Safety` of `multiply_panels`).
    unsafe {
        match panels {
            [RawFloats::F32(first), RawFloats::F32(second)] => multiply_panels_as(isa, part, [first, second]),
            [RawFloats::Bf16(first), RawFloats::Bf16(second)] => multiply_panels_as(isa, part, [first, second]),
            [RawFloats::F16(first), RawFloats::F16(second)] => multiply_panels_as(isa, part, [first, second]),
            _ => impossible("a gate and what it opens are of two element types"),
        }
    }
}

/// [`multiply_panels`] for one element type.
///
/// # Safety
/// As for [`multiply_panels`].
#[inline(always)]
unsafe fn multiply_panels_as<I: Isa, S: PanelElement>(isa: I, part: &ProductPart, operands: [*const S; 2]) {
    let Region { row, col, rows, cols } = part.region;
    let (depth, factors) = (part.depth, part.b.factors());
    debug_assert!(rows <= GEMV_ROWS && col.is_multiple_of(PANEL));
    // SAFETY: `part` is as `ProductPart` says (`# Safety` of `multiply_panels`).
    let a = unsafe { LeftRows::contiguous(isa, part.a.matrix.from(row, 0), rows, depth) };
    let mut tile = [0.0f32; GEMV_ROWS * PANEL * 2];
    let (tile, stride) = (tile.as_mut_ptr(), PANEL * factors);
    let ahead = part.prefetch_distance();
    for j in (0..cols).step_by(PANEL) {
        for (half, panels) in operands.iter().enumerate().take(factors) {
            let data = panels.wrapping_add((col + j) * depth.next_multiple_of(S::STEPS));
            let out = SumPointers { data: tile.wrapping_add(half * PANEL), stride };
            let panel = PackedPanel { data, depth, ahead };
            // SAFETY: by the `# Safety` clause of `multiply_panels`, the rows of A and the panel exist; the tile has
            // room for all rows.
            unsafe { multiply_rows(isa, &a, rows, panel, out) };
        }
        let region = Region { row, col: col + j, rows, cols: PANEL.min(cols - j) };
        // SAFETY: all of the tile's rows were written; the region lies in the part's.
        isa.run(unsafe { Finish::new(&part.store, tile, stride, TilePlace::whole(region)) });
    }
}

/// All rows of A times one panel, rows of the result `stride` floats apart.
///
/// # Safety
/// The rows and the panel exist; `out` is writable for the rows.
#[inline(always)]
unsafe fn multiply_rows<I: Isa, S: PanelElement>(
    isa: I,
    a: &LeftRows,
    rows: usize,
    panel: PackedPanel<S>,
    out: SumPointers,
) {
    let mut i = 0;
    while i < rows {
        let (left, out) = (a.from(i), out.at(i * out.stride));
        // The rows after the first ones find the panel in a cache.
        let panel = PackedPanel { ahead: if i == 0 { panel.ahead } else { 0 }, ..panel };
        // SAFETY: the rows and the panel exist; `out` is writable for the rows (`# Safety` of `multiply_rows`).
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

/// One panel, `[depth / STEPS][16][STEPS]`, of which the line `ahead` bytes further is prefetched.
#[derive(Debug, Clone, Copy)]
struct PackedPanel<S> {
    data: *const S,
    depth: usize,
    ahead: usize,
}

/// A line of a panel; that `ahead` bytes further is prefetched.
#[derive(Debug, Clone, Copy)]
struct PanelLine<S> {
    data: *const S,
    ahead: usize,
}

/// `M` rows of A times one panel, with `U` sums each: `out[i · stride ..][..PANEL]`.
///
/// # Safety
/// `M` rows of `a` are readable for the depth of the panel, and the panel itself; `out` is writable for `M` such rows.
#[inline(always)]
unsafe fn multiply_panel<I: Isa, S: PanelElement, const M: usize, const U: usize>(
    isa: I,
    a: RowPointers,
    panel: PackedPanel<S>,
    SumPointers { data: out, stride }: SumPointers,
) {
    let PackedPanel { data: panel, depth, ahead } = panel;
    let regs = PANEL / I::LANES;
    let mut acc = [[[isa.splat(0.0); 2]; M]; U];
    let whole = depth / S::STEPS;
    let mut p = 0;
    while p + U <= whole {
        for (u, sums) in acc.iter_mut().enumerate() {
            let (a, b) = (a.at((p + u) * S::STEPS), panel.wrapping_add((p + u) * PANEL * S::STEPS));
            // SAFETY: line `p + u` lies within the depth.
            unsafe { add_line(isa, a, PanelLine { data: b, ahead }, S::STEPS, sums) };
        }
        p += U;
    }
    for p in p..depth.div_ceil(S::STEPS) {
        let (a, b) = (a.at(p * S::STEPS), panel.wrapping_add(p * PANEL * S::STEPS));
        let steps = S::STEPS.min(depth - p * S::STEPS);
        // SAFETY: line `p` lies within the panel, and no more steps are taken than A has.
        unsafe { add_line(isa, a, PanelLine { data: b, ahead }, steps, &mut acc[0]) };
    }
    for i in 0..M {
        for j in 0..regs {
            let mut sum = acc[0][i][j];
            for more in &acc[1..] {
                sum = isa.add(sum, more[i][j]);
            }
            // SAFETY: `M` rows of `a` are readable for the depth of the panel, and the panel itself; `out` is writable
            // for `M` such rows (`# Safety` of `multiply_panel`).
            unsafe { isa.store(out.add(i * stride + j * I::LANES), sum) };
        }
    }
}

/// One line of a panel: `sums[i] += Σ_t a[i · a_stride + t] · b[..PANEL][t]` for the first `steps` of its steps.
/// Prefetches the
/// line `ahead` bytes further.
///
/// # Safety
/// `M` rows of `a` are readable for `steps` floats, `b` for a line of a panel; `steps` is at most `S::STEPS`.
#[inline(always)]
unsafe fn add_line<I: Isa, S: PanelElement, const M: usize>(
    isa: I,
    a: RowPointers,
    b: PanelLine<S>,
    steps: usize,
    sums: &mut [[I::V; 2]; M],
) {
    isa.prefetch(b.data.cast::<u8>().wrapping_add(b.ahead));
    for j in 0..PANEL / I::LANES {
        // SAFETY: `M` rows of `a` are readable for `steps` floats, `b` for a line of a panel; `steps` is at most
        // `S::STEPS` (`# Safety` of `add_line`).
        unsafe {
            let v = S::load_steps(isa, b.data.add(j * I::LANES * S::STEPS));
            for (i, sum) in sums.iter_mut().enumerate() {
                for (t, &v) in v.iter().enumerate().take(steps) {
                    let x = isa.splat(a.data.offset(i as isize * a.stride).add(t).read());
                    sum[j] = isa.mul_add(x, v, sum[j]);
                }
            }
        }
    }
}
