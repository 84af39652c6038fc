//! Packing of strided bf16 into panels of pairs.
//!
//! As for f32 (packing.rs), vectors of the depth (rows of A, columns of B) come beside each other, here two steps at a time, and there
//! are three ways through memory:
//!
//! ```text
//! along the depth    pairs are 32-bit numbers: load LANES of them from LANES vectors, transpose in registers; tiles of A just copy
//! across vectors     load LANES vectors of an even and an odd step, and interleave
//! neither            element by element
//! ```

use crate::simd::{Isa, Kernel, PANEL};
use half::bf16;

/// A strided matrix of bf16: element `(i, j)` is `i · row_stride + j · col_stride` elements from `data`.
#[derive(Debug, Clone, Copy)]
pub(super) struct HalfMatrix {
    pub(super) data: *const bf16,
    pub(super) row_stride: isize,
    pub(super) col_stride: isize,
}

impl HalfMatrix {
    /// Rows and columns swapped.
    #[inline(always)]
    pub(super) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// The address of element `(i, j)`.
    #[inline(always)]
    fn at(self, i: usize, j: usize) -> *const bf16 {
        self.data.wrapping_offset(i as isize * self.row_stride + j as isize * self.col_stride)
    }

    /// The pair of columns `j` and `j + 1` of row `i`; columns from `depth` on are 0.
    ///
    /// # Safety
    /// The elements are readable.
    #[inline(always)]
    unsafe fn pair(self, i: usize, j: usize, depth: usize) -> u32 {
        // SAFETY: the caller's promise.
        unsafe {
            let even = u32::from(self.at(i, j).read().to_bits());
            let odd = if j + 1 < depth { u32::from(self.at(i, j + 1).read().to_bits()) } else { 0 };
            even | odd << 16
        }
    }
}

/// How vectors lie in a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[depth / 2][width][2]`.
    Lines(usize),
    /// `[depth / 32][16][32]`.
    Tiles,
}

/// Packs the first `lanes` rows of `from`, to a depth of `depth` columns, into panels. Vectors and steps that do not exist are 0.
///
/// # Safety
/// `from` is readable for `lanes` x `depth`; `out` is writable for whole panels of whole pairs or tiles, and, where lines are not 16
/// wide, 16 pairs beyond.
pub(super) unsafe fn pack<I: Isa>(isa: I, from: HalfMatrix, shape: [usize; 2], layout: Layout, out: *mut u32) {
    isa.run(Pack { from, shape, layout, out });
}

/// The arguments of [`pack`].
#[derive(Debug, Clone, Copy)]
struct Pack {
    from: HalfMatrix,
    shape: [usize; 2],
    layout: Layout,
    out: *mut u32,
}

impl Kernel for Pack {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { from, shape: [lanes, depth], layout, out } = self;
        let (width, pairs) = match layout {
            Layout::Lines(width) => (width, depth.div_ceil(2)),
            Layout::Tiles => (16, depth.div_ceil(32) * 16),
        };
        for lane in (0..lanes).step_by(width) {
            let panel = Panel {
                from: HalfMatrix { data: from.at(lane, 0), ..from },
                lanes: width.min(lanes - lane),
                depth,
                width,
            };
            let out = out.wrapping_add(lane / width * width * pairs);
            // SAFETY: the promise of `pack`.
            unsafe {
                match layout {
                    Layout::Tiles => panel.copy_tiles(isa, out),
                    Layout::Lines(_) if from.col_stride == 1 => panel.transpose(isa, out),
                    Layout::Lines(_) if from.row_stride == 1 => panel.interleave(isa, out),
                    Layout::Lines(_) => panel.gather(out),
                }
            }
        }
    }
}

/// One panel: `lanes` of `width` vectors exist.
#[derive(Debug, Clone, Copy)]
struct Panel {
    from: HalfMatrix,
    lanes: usize,
    depth: usize,
    width: usize,
}

impl Panel {
    /// `LANES` pairs of vector `lane` from step `step` on, zeros beyond the depth.
    ///
    /// # Safety
    /// The vector is readable for the depth; steps are contiguous.
    #[inline(always)]
    unsafe fn load<I: Isa>(self, isa: I, lane: usize, step: usize) -> I::V {
        let from = self.from.at(lane, step);
        let have = (self.depth - step).min(2 * I::LANES);
        // SAFETY: the caller's promise; what does not exist is not read.
        unsafe {
            if have == 2 * I::LANES {
                return isa.load(from.cast());
            }
            let mut pairs = [0u32; 16];
            core::ptr::copy_nonoverlapping(from, pairs.as_mut_ptr().cast(), have);
            isa.load(pairs.as_ptr().cast())
        }
    }

    /// Tiles of 16 vectors by 16 pairs.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn copy_tiles<I: Isa>(self, isa: I, out: *mut u32) {
        for (tile, step) in (0..self.depth).step_by(32).enumerate() {
            for lane in 0..16 {
                let row = out.wrapping_add((tile * 16 + lane) * 16);
                for j in (0..16).step_by(I::LANES) {
                    let step = step + 2 * j;
                    // SAFETY: the caller's promise.
                    unsafe {
                        let v = if lane >= self.lanes || step >= self.depth {
                            isa.splat(0.0)
                        } else if self.from.col_stride == 1 {
                            self.load(isa, lane, step)
                        } else {
                            let pair = |i: usize| match step + 2 * i {
                                step if step < self.depth => self.from.pair(lane, step, self.depth),
                                _ => 0,
                            };
                            let pairs: [u32; 16] = core::array::from_fn(pair);
                            isa.load(pairs.as_ptr().cast())
                        };
                        isa.store(row.add(j).cast(), v);
                    }
                }
            }
        }
    }

    /// Lines from vectors that are contiguous along the depth.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn transpose<I: Isa>(self, isa: I, out: *mut u32) {
        let pairs = self.depth.div_ceil(2);
        for p in (0..pairs).step_by(I::LANES) {
            let have = I::LANES.min(pairs - p);
            for lane in (0..self.width).step_by(I::LANES) {
                let mut square = [isa.splat(0.0); 16];
                for (i, row) in square.iter_mut().enumerate().take(I::LANES.min(self.width)) {
                    if lane + i < self.lanes {
                        // SAFETY: the caller's promise.
                        *row = unsafe { self.load(isa, lane + i, 2 * p) };
                    }
                }
                isa.transpose(&mut square);
                // Ascending: what a store writes past its line is overwritten by the next one.
                for (t, &row) in square.iter().enumerate().take(have) {
                    // SAFETY: the caller's promise; the last store ends within the slack.
                    unsafe { isa.store(out.add((p + t) * self.width + lane).cast(), row) };
                }
            }
        }
    }

    /// Lines from vectors that lie side by side.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn interleave<I: Isa>(self, isa: I, out: *mut u32) {
        for step in (0..self.depth).step_by(2) {
            for lane in (0..self.width).step_by(I::LANES) {
                let have = self.lanes.saturating_sub(lane).min(I::LANES);
                let load = |step: usize| {
                    if have == 0 || step >= self.depth {
                        return isa.splat(0.0);
                    }
                    let from: *const u16 = self.from.at(lane, step).cast();
                    // SAFETY: the caller's promise: `have` vectors exist from `lane` on.
                    unsafe {
                        if have == I::LANES {
                            return isa.load_bf16(from);
                        }
                        let mut some = [0u16; 16];
                        core::ptr::copy_nonoverlapping(from, some.as_mut_ptr(), have);
                        isa.load_bf16(some.as_ptr())
                    }
                };
                let pairs = isa.pair_bf16(load(step), load(step + 1));
                // SAFETY: the caller's promise; the last store ends within the slack.
                unsafe { isa.store(out.add(step / 2 * self.width + lane).cast(), pairs) };
            }
        }
    }

    /// Lines from vectors with any strides.
    ///
    /// # Safety
    /// As for [`pack`].
    #[inline(always)]
    unsafe fn gather(self, out: *mut u32) {
        for step in (0..self.depth).step_by(2) {
            for lane in 0..self.width {
                // SAFETY: the caller's promise; only existing vectors are read.
                unsafe {
                    let pair = if lane < self.lanes { self.from.pair(lane, step, self.depth) } else { 0 };
                    out.add(step / 2 * self.width + lane).write(pair);
                }
            }
        }
    }
}

const _: () = assert!(PANEL == 16, "a line of pairs is a cache line, and a tile has 16 of them");
