//! Products of few bf16 rows with a bf16 weight `[n, k]` as it lies, by `vdpbf16ps`: as gemv.rs, with pairs in place of floats.
//!
//! Neighbours of a row are pairs already, so a register of W is multiplied as it is loaded: 32 steps of the depth in one instruction
//! a row of A.

use super::super::few_rows::LINE_BYTES;
use super::super::gemv::look_ahead;
use super::super::part::Part;
use super::super::plan::GEMV_ROWS;
use super::super::sink::{Finish, Region, Turn};
use super::few::PairRows;
use super::pack::{HalfMatrix, PairSource};
use crate::simd::{Avx512, Avx512Bf16, Isa, PANEL, PairKernel};
use half::bf16;

/// Steps of the depth in a register.
const STEPS: usize = 32;

/// Rows of W that are read side by side where A has many rows: each register of A serves that many products.
const SIDE: usize = 4;

/// Rows of W that are read side by side for `rows` rows of A: one, as memory is fastest in its own order, while loads of A keep pace
/// with it. (2048 x 2048, 4 rows: 92 % of read bandwidth; 4 rows of W side by side 72 %. 8 rows, two of W: 15 % faster than 4.)
fn side_rows(rows: usize) -> usize {
    match rows {
        ..=4 => 1,
        8 => 2,
        _ => SIDE,
    }
}

/// Products of the few rows of `part` with B whose columns are contiguous.
///
/// # Safety
/// As for [`Part::kernel`]; `a` is A and `b` is B, with `row_stride` 1.
pub(super) unsafe fn multiply(isa: Avx512Bf16, part: &Part, a: PairSource, b: HalfMatrix) {
    let Region { row, rows, .. } = part.region;
    debug_assert!(rows <= GEMV_ROWS && row == 0 && b.row_stride == 1);
    // SAFETY: the caller's promise.
    let a = unsafe { PairRows::copy(isa, a, [rows, part.depth], rows) };
    isa.run(Dots { part, a: &a, weight: b.transposed() });
}

/// All columns of a part. Only [`multiply`] makes one, by its promise.
struct Dots<'a> {
    part: &'a Part,
    a: &'a PairRows,
    /// W, `[n, k]`.
    weight: HalfMatrix,
}

impl PairKernel for Dots<'_> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Region { row, col, rows, cols } = self.part.region;
        let mut tile = [0.0f32; GEMV_ROWS * PANEL];
        for j in (0..cols).step_by(PANEL) {
            let some = PANEL.min(cols - j);
            let side = side_rows(rows);
            for jj in (0..some).step_by(side) {
                let out = tile.as_mut_ptr().wrapping_add(jj);
                let place = (col + j + jj, side.min(some - jj));
                // SAFETY: the promise of `multiply`: those rows of A and W exist; `side` columns from `jj` fit the tile.
                unsafe {
                    match rows {
                        1 => self.multiply_rows::<1, 1, 4>(isa, 0, place, out),
                        2 => self.multiply_rows::<2, 1, 2>(isa, 0, place, out),
                        3 => self.multiply_rows::<3, 1, 1>(isa, 0, place, out),
                        4 => self.multiply_rows::<4, 1, 1>(isa, 0, place, out),
                        8 => self.multiply_rows::<8, 2, 1>(isa, 0, place, out),
                        _ => self.multiply_groups(isa, place, out),
                    }
                }
            }
            let region = Region { row, col: col + j, rows, cols: some };
            let finish = (&self.part.sink, tile.as_ptr());
            // SAFETY: the tile has `GEMV_ROWS` x 16 floats; the region lies in the part's.
            isa.base().run(unsafe { Finish::new(finish.0, finish.1, PANEL, region, Turn::WHOLE) });
        }
    }
}

impl Dots<'_> {
    /// All rows of A, a few at a time, times 4 rows of W.
    ///
    /// # Safety
    /// As for [`Dots::multiply_rows`].
    #[inline(always)]
    unsafe fn multiply_groups(&self, isa: Avx512Bf16, place: (usize, usize), out: *mut f32) {
        let rows = self.part.region.rows;
        let mut i = 0;
        while i < rows {
            let out = out.wrapping_add(i * PANEL);
            // SAFETY: the caller's promise.
            unsafe {
                match rows - i {
                    1 => self.multiply_rows::<1, SIDE, 2>(isa, i, place, out),
                    2 | 3 => self.multiply_rows::<2, SIDE, 1>(isa, i, place, out),
                    4 | 5 => self.multiply_rows::<4, SIDE, 1>(isa, i, place, out),
                    _ => self.multiply_rows::<6, SIDE, 1>(isa, i, place, out),
                }
            }
            i += match rows - i {
                1 => 1,
                2 | 3 => 2,
                4 | 5 => 4,
                _ => 6,
            };
        }
    }

    /// `M` rows of A from row `i` times `len` of `R` rows of W from row `first` (the last one stands for those that do not exist), each
    /// with `U` sums.
    ///
    /// # Safety
    /// The rows exist; `out` is writable for `M` rows of `R` floats, 16 floats apart.
    #[inline(always)]
    unsafe fn multiply_rows<const M: usize, const R: usize, const U: usize>(
        &self,
        isa: Avx512Bf16,
        i: usize,
        (first, len): (usize, usize),
        out: *mut f32,
    ) {
        let (base, depth, stride) = (isa.base(), self.part.depth, self.weight.row_stride);
        // The rows of A after the first ones find W in a cache.
        let ahead = if i == 0 { look_ahead::<bf16>(self.part.prefetch, R, stride) } else { 0 };
        let w: [*const bf16; R] =
            core::array::from_fn(|r| self.weight.data.wrapping_offset((first + r.min(len - 1)) as isize * stride));
        let a: [*const f32; M] = core::array::from_fn(|m| self.a.data.wrapping_add((i + m) * self.a.stride).cast());
        let mut acc = [[[base.splat(0.0); U]; R]; M];
        let mut p = 0;
        while p + U * STEPS <= depth {
            for (r, w) in w.iter().enumerate() {
                for u in 0..U {
                    let at = w.wrapping_add(p + u * STEPS);
                    base.prefetch(at.cast::<u8>().wrapping_offset(ahead));
                    // SAFETY: 32 steps from `p + 32 u` lie within the depth.
                    unsafe { add_register(isa, base.load(at.cast()), (&a, p / 2 + u * STEPS / 2), (&mut acc, r, u)) };
                }
            }
            p += U * STEPS;
        }
        while p < depth {
            let have = STEPS.min(depth - p);
            for (r, w) in w.iter().enumerate() {
                let mut some = [0u16; STEPS];
                // SAFETY: `have` steps lie within the depth; rows of A are padded to whole registers.
                unsafe {
                    core::ptr::copy_nonoverlapping(w.add(p).cast(), some.as_mut_ptr(), have);
                    add_register(isa, base.load(some.as_ptr().cast()), (&a, p / 2), (&mut acc, r, 0));
                }
            }
            p += have;
        }
        for (m, sums) in acc.iter().enumerate() {
            for (r, sums) in sums.iter().enumerate() {
                let sum = sums[1..].iter().fold(sums[0], |sum, &more| base.add(sum, more));
                // SAFETY: the caller's promise.
                unsafe { out.add(m * PANEL + r).write(base.reduce_add(sum)) };
            }
        }
    }
}

const _: () = assert!(STEPS * size_of::<bf16>() == LINE_BYTES, "one prefetch a register");

/// One register.
type Register = <Avx512 as Isa>::V;

/// Adds the products of one register of row `r` of W with the pairs from `p` on of each row of A.
///
/// # Safety
/// A register is readable there.
#[inline(always)]
unsafe fn add_register<const M: usize, const R: usize, const U: usize>(
    isa: Avx512Bf16,
    w: Register,
    (a, p): (&[*const f32; M], usize),
    (acc, r, u): (&mut [[[Register; U]; R]; M], usize, usize),
) {
    for (a, sums) in a.iter().zip(acc) {
        // SAFETY: the caller's promise.
        sums[r][u] = isa.dot(sums[r][u], unsafe { isa.base().load(a.add(p)) }, w);
    }
}
