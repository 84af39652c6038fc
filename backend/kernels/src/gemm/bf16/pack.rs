//! Packing of strided bf16, and of f32 that is rounded on the way, into panels of pairs.
//!
//! As for f32 (packing.rs), vectors of the depth (rows of A, columns of B) come beside each other, here two steps at a
//! time, and there are three ways through memory:
//!
//! ```text
//! along the depth    pairs are 32-bit numbers: load LANES of them from LANES vectors, transpose in registers;
//!                    tiles of A just copy
//! across vectors     load LANES vectors of an even and an odd step, and interleave; tiles of A transpose that
//! neither            element by element
//! ```

use crate::gemm::bf16::matrix::Bf16Matrix;
use crate::gemm::bf16::rounded::{RoundedColumns, RoundedRows};
use crate::gemm::bf16::vectors::{Adjacent, PAIRS, Register, Vectors};
use crate::gemm::left::LeftOperand;
use crate::simd::{Avx512Bf16, Bf16Kernel, Isa, PANEL};

/// The layout of vectors in a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gemm) enum Bf16Layout {
    /// `[depth / 2][width][2]`.
    Lines(usize),
    /// `[depth / 32][16][32]`.
    Tiles,
}

/// What panels are made of.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum Bf16Source {
    /// bf16 of any strides.
    Stored(Bf16Matrix),
    /// Rows of f32.
    Rounded(RoundedRows),
    /// Columns of f32.
    RoundedColumns(RoundedColumns),
}

impl Bf16Source {
    /// The operand, if it is bf16, or f32 with contiguous rows or columns.
    pub(in crate::gemm) fn of(left: LeftOperand) -> Option<Self> {
        let rounded = || RoundedRows::of(left).map(Self::Rounded);
        let columns = || RoundedColumns::of(left).map(Self::RoundedColumns);
        Bf16Matrix::of(left.matrix).map(Self::Stored).or_else(rounded).or_else(columns)
    }
}

/// Packs the first `lanes` rows of `from`, to a depth of `depth` columns, into panels. Vectors and steps that do not
/// exist are 0.
///
/// # Safety
/// `from` is readable for `lanes` x `depth`, and measured where it has scales; `out` is writable for whole panels of
/// whole pairs or tiles, and, where lines are not 16 wide, 16 pairs beyond.
pub(in crate::gemm) unsafe fn pack(
    isa: Avx512Bf16,
    from: Bf16Source,
    shape: [usize; 2],
    layout: Bf16Layout,
    out: *mut u32,
) {
    isa.run(Pack { from, shape, layout, out });
}

/// The arguments of [`pack`].
#[derive(Debug, Clone, Copy)]
struct Pack {
    from: Bf16Source,
    shape: [usize; 2],
    layout: Bf16Layout,
    out: *mut u32,
}

impl Bf16Kernel for Pack {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Self { from, shape: [lanes, depth], layout, out } = self;
        let (width, pairs) = match layout {
            Bf16Layout::Lines(width) => (width, depth.div_ceil(2)),
            Bf16Layout::Tiles => (16, depth.div_ceil(32) * 16),
        };
        for lane in (0..lanes).step_by(width) {
            let shape = Bf16Panel { from: (), lanes: width.min(lanes - lane), depth, width };
            let out = out.wrapping_add(lane / width * width * pairs);
            // SAFETY: `from` is readable for `lanes` x `depth`, and measured where it has scales (`# Safety` of
            // `pack`).
            unsafe {
                match (layout, from) {
                    (Bf16Layout::Tiles, Bf16Source::Stored(halves)) => {
                        let panel = shape.of(halves.from(lane, 0));
                        match halves.row_stride {
                            1 if halves.col_stride != 1 => panel.turn_tiles(isa, out),
                            _ => panel.copy_tiles(isa, out),
                        }
                    }
                    (Bf16Layout::Tiles, Bf16Source::RoundedColumns(columns)) => {
                        shape.of(columns.from(lane, 0)).turn_tiles(isa, out)
                    }
                    (Bf16Layout::Tiles, Bf16Source::Rounded(rows)) => shape.of(rows.from(lane, 0)).copy_tiles(isa, out),
                    (Bf16Layout::Lines(_), Bf16Source::Rounded(rows)) => {
                        shape.of(rows.from(lane, 0)).transpose(isa, out)
                    }
                    (Bf16Layout::Lines(_), Bf16Source::RoundedColumns(columns)) => {
                        shape.of(columns.from(lane, 0)).interleave(isa, out)
                    }
                    (Bf16Layout::Lines(_), Bf16Source::Stored(halves)) => {
                        let panel = shape.of(halves.from(lane, 0));
                        match (halves.row_stride, halves.col_stride) {
                            (_, 1) => panel.transpose(isa, out),
                            (1, _) => panel.interleave(isa, out),
                            _ => panel.gather(out),
                        }
                    }
                }
            }
        }
    }
}

/// One panel: `lanes` of `width` vectors exist.
#[derive(Debug, Clone, Copy)]
struct Bf16Panel<V> {
    from: V,
    lanes: usize,
    depth: usize,
    width: usize,
}

impl Bf16Panel<()> {
    /// The panel of vectors.
    #[inline(always)]
    fn of<V>(self, from: V) -> Bf16Panel<V> {
        Bf16Panel { from, lanes: self.lanes, depth: self.depth, width: self.width }
    }
}

impl<V: Vectors> Bf16Panel<V> {
    /// Tiles of 16 vectors by 16 pairs.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn copy_tiles(self, isa: Avx512Bf16, out: *mut u32) {
        for (tile, step) in (0..self.depth).step_by(2 * PAIRS).enumerate() {
            for lane in 0..16 {
                let row = out.wrapping_add((tile * 16 + lane) * PAIRS);
                // SAFETY: `from` is readable for `lanes` x `depth`, and measured where it has scales (`# Safety` of
                // `pack`).
                unsafe {
                    let pairs = if lane < self.lanes {
                        self.from.load(isa, (lane, step), (self.depth - step).min(2 * PAIRS))
                    } else {
                        isa.base().splat(0.0)
                    };
                    isa.base().store(row.cast(), pairs);
                }
            }
        }
    }

    /// Lines from vectors that are contiguous along the depth.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn transpose(self, isa: Avx512Bf16, out: *mut u32) {
        let base = isa.base();
        let pairs = self.depth.div_ceil(2);
        for p in (0..pairs).step_by(PAIRS) {
            let have = PAIRS.min(pairs - p);
            let mut square = [base.splat(0.0); 16];
            for (lane, row) in square.iter_mut().enumerate().take(self.width) {
                if lane < self.lanes {
                    // SAFETY: `from` is readable for `lanes` x `depth`, and measured where it has scales (`# Safety` of
                    // `pack`).
                    *row = unsafe { self.from.load(isa, (lane, 2 * p), (self.depth - 2 * p).min(2 * PAIRS)) };
                }
            }
            base.transpose(&mut square);
            // Ascending: what a store writes past its line is overwritten by the next one.
            for (t, &row) in square.iter().enumerate().take(have) {
                // SAFETY: `from` is readable for `lanes` x `depth`, and measured where it has scales (`# Safety` of
                // `pack`); the last store ends within the slack.
                unsafe { base.store(out.add((p + t) * self.width).cast(), row) };
            }
        }
    }
}

impl<V: Adjacent> Bf16Panel<V> {
    /// Lines from adjacent vectors.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn interleave(self, isa: Avx512Bf16, out: *mut u32) {
        for step in (0..self.depth).step_by(2) {
            for lane in (0..self.width).step_by(PAIRS) {
                // SAFETY: `from` is readable for `lanes` x `depth`, and measured where it has scales (`# Safety` of
                // `pack`); the last store ends within the slack.
                unsafe {
                    let pairs = self.load_pairs(isa, (lane, step));
                    isa.base().store(out.add(step / 2 * self.width + lane).cast(), pairs);
                }
            }
        }
    }

    /// Tiles of 16 vectors by 16 pairs.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn turn_tiles(self, isa: Avx512Bf16, out: *mut u32) {
        let base = isa.base();
        for (tile, step) in (0..self.depth).step_by(2 * PAIRS).enumerate() {
            let mut square = [base.splat(0.0); 16];
            for (pair, column) in square.iter_mut().enumerate() {
                if step + 2 * pair < self.depth {
                    // SAFETY: `from` is readable for `lanes` x `depth` (`# Safety` of `pack`).
                    *column = unsafe { self.load_pairs(isa, (0, step + 2 * pair)) };
                }
            }
            base.transpose(&mut square);
            for (lane, &row) in square.iter().enumerate() {
                // SAFETY: `out` is writable for whole tiles (`# Safety` of `pack`).
                unsafe { base.store(out.add((tile * 16 + lane) * PAIRS).cast(), row) };
            }
        }
    }

    /// Pairs of 16 vectors from `lane` on, zeros for those that do not exist.
    ///
    /// # Safety
    /// As for [`pack`]; `step` is less than the depth.
    #[inline(always)]
    unsafe fn load_pairs(&self, isa: Avx512Bf16, (lane, step): (usize, usize)) -> Register {
        let have = self.lanes.saturating_sub(lane).min(PAIRS);
        if have == 0 {
            return isa.base().splat(0.0);
        }
        // SAFETY: by the `# Safety` clause of `pack`, `have` vectors exist from `lane` on, and the steps to the depth.
        unsafe { self.from.load_pairs(isa, (lane, step), [have, (self.depth - step).min(2)]) }
    }
}

impl Bf16Panel<Bf16Matrix> {
    /// Lines from vectors with any strides.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn gather(self, out: *mut u32) {
        for step in (0..self.depth).step_by(2) {
            for lane in 0..self.width {
                // SAFETY: `from` is readable for `lanes` x `depth`, and measured where it has scales (`# Safety` of
                // `pack`); only existing vectors are read.
                unsafe {
                    let pair = if lane < self.lanes { self.from.pair(lane, step, self.depth) } else { 0 };
                    out.add(step / 2 * self.width + lane).write(pair);
                }
            }
        }
    }
}

const _: () = assert!(PANEL == 16, "a line of pairs is a cache line, and a tile has 16 of them");
