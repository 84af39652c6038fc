//! Products of up to four bf16 rows with a strided bf16 weight `[n, k]`, by `vdpbf16ps`: as gemv/dots.rs, with pairs in
//! place of floats.
//!
//! Neighbours of a row are pairs already, so a register of W is multiplied as it is loaded: 32 steps of the depth in
//! one instruction a row of A. W is read one row after the other: memory is fastest in its own order. (2048 x 2048, 4
//! rows: 92 % of read bandwidth; 4 rows of W side by side 72 %.)

use crate::gemm::bf16::matrix::Bf16Matrix;
use crate::gemm::bf16::pack::Bf16Source;
use crate::gemm::bf16::packed_gemv::Bf16Rows;
use crate::gemm::bf16::vectors::Register;
use crate::gemm::gemv::dots::BROADCAST_FROM;
use crate::gemm::gemv::left_rows::LINE_BYTES;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::store::Finish;
use crate::gemm::region::{Region, TilePlace};
use crate::simd::{Avx512Bf16, Bf16Kernel, Isa, PANEL};
use half::bf16;

/// Steps of the depth in a register.
const STEPS: usize = 32;

/// Products of the rows of `part`, fewer than [`BROADCAST_FROM`], with B whose columns are contiguous.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`]; `a` is A and `b` is B, with `row_stride` 1.
pub(in crate::gemm) unsafe fn multiply(isa: Avx512Bf16, part: &ProductPart, a: Bf16Source, b: Bf16Matrix) {
    let Region { row, rows, .. } = part.region;
    debug_assert!(rows < BROADCAST_FROM && row == 0 && b.row_stride == 1);
    // SAFETY: `part` is as `ProductPart` says; `a` is A and `b` is B, with `row_stride` 1 (`# Safety` of `multiply`).
    let a = unsafe { Bf16Rows::copy(isa, a, [rows, part.depth], rows) };
    isa.run(Dots { part, a: &a, weight: b.transposed(), ahead: part.prefetch_distance() });
}

/// All columns of a part. Only [`multiply`] makes one, by its promise.
struct Dots<'a> {
    part: &'a ProductPart,
    a: &'a Bf16Rows,
    /// W, `[n, k]`.
    weight: Bf16Matrix,
    /// How far ahead a line of W is prefetched, bytes.
    ahead: usize,
}

impl Bf16Kernel for Dots<'_> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Region { row, col, rows, cols } = self.part.region;
        let mut tile = [0.0f32; BROADCAST_FROM * PANEL];
        for j in (0..cols).step_by(PANEL) {
            let some = PANEL.min(cols - j);
            for jj in 0..some {
                let out = tile.as_mut_ptr().wrapping_add(jj);
                // SAFETY: by the `# Safety` clause of `multiply`, those rows of A and the row of W exist; column `jj`
                // fits the tile.
                unsafe {
                    match rows {
                        1 => self.multiply_row::<1, 4>(isa, col + j + jj, out),
                        2 => self.multiply_row::<2, 2>(isa, col + j + jj, out),
                        3 => self.multiply_row::<3, 1>(isa, col + j + jj, out),
                        _ => self.multiply_row::<4, 1>(isa, col + j + jj, out),
                    }
                }
            }
            let region = Region { row, col: col + j, rows, cols: some };
            // SAFETY: the tile has `BROADCAST_FROM` x 16 floats, and fewer rows; the region lies in the part's.
            isa.base().run(unsafe { Finish::new(&self.part.store, tile.as_ptr(), PANEL, TilePlace::whole(region)) });
        }
    }
}

impl Dots<'_> {
    /// `M` rows of A times row `row` of W, with `U` sums each.
    ///
    /// # Safety
    /// The rows exist; `out` is writable for `M` floats, 16 floats apart.
    #[inline(always)]
    unsafe fn multiply_row<const M: usize, const U: usize>(&self, isa: Avx512Bf16, row: usize, out: *mut f32) {
        let (base, depth) = (isa.base(), self.part.depth);
        let w = self.weight.data.wrapping_offset(row as isize * self.weight.row_stride);
        let mut a = [self.a.data.cast::<f32>(); M];
        for (m, a) in a.iter_mut().enumerate() {
            *a = a.wrapping_add(m * self.a.stride);
        }
        let mut acc = [[base.splat(0.0); U]; M];
        let mut p = 0;
        while p + U * STEPS <= depth {
            for u in 0..U {
                let at = w.wrapping_add(p + u * STEPS);
                base.prefetch(at.cast::<u8>().wrapping_add(self.ahead));
                // SAFETY: 32 steps from `p + 32 u` lie within the depth.
                unsafe { add_register(isa, base.load(at.cast()), (&a, p / 2 + u * STEPS / 2), (&mut acc, u)) };
            }
            p += U * STEPS;
        }
        while p < depth {
            let have = STEPS.min(depth - p);
            let mut some = [0u16; STEPS];
            // SAFETY: `have` steps lie within the depth; rows of A are padded to whole registers.
            unsafe {
                core::ptr::copy_nonoverlapping(w.add(p).cast(), some.as_mut_ptr(), have);
                add_register(isa, base.load(some.as_ptr().cast()), (&a, p / 2), (&mut acc, 0));
            }
            p += have;
        }
        for (m, sums) in acc.iter().enumerate() {
            let sum = sums[1..].iter().fold(sums[0], |sum, &more| base.add(sum, more));
            // SAFETY: the rows exist; `out` is writable for `M` floats, 16 floats apart (`# Safety` of
            // `Dots::multiply_row`).
            unsafe { out.add(m * PANEL).write(base.reduce_add(sum)) };
        }
    }
}

const _: () = assert!(STEPS * size_of::<bf16>() == LINE_BYTES, "one prefetch a register");

/// Adds the products of one register of W with the pairs from `p` on of each row of A to sums `u`.
///
/// # Safety
/// A register is readable there.
#[inline(always)]
unsafe fn add_register<const M: usize, const U: usize>(
    isa: Avx512Bf16,
    w: Register,
    (a, p): (&[*const f32; M], usize),
    (acc, u): (&mut [[Register; U]; M], usize),
) {
    for (a, sums) in a.iter().zip(acc) {
        // SAFETY: A register is readable there (`# Safety` of `add_register`).
        sums[u] = isa.dot(sums[u], unsafe { isa.base().load(a.add(p)) }, w);
    }
}
