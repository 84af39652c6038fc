//! The three outer loops of a blocked product, the same for every arithmetic.

use crate::gemm::left::LeftOperand;
use crate::gemm::macro_kernel::blocking::Blocking;
use crate::gemm::macro_kernel::packed_left::LeftPanels;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::store::Store;
use crate::gemm::region::{DepthBlock, Region};
use crate::probe::{Probe, report_size};
use crate::scratch::{Scratch, round_to_line};

/// How one arithmetic packs blocks, and multiplies packed ones: what the loops around it need of it. Sizes of buffers
/// are floats.
pub(in crate::gemm) trait BlockKernel: Copy {
    /// A packed block of B; of a gated product, of both of its operands.
    type Right: Copy;

    /// The sizes of blocks for a part of `[m, n, k]`, in whole register tiles.
    fn fit(self, blocking: Blocking, shape: [usize; 3]) -> Blocking;

    /// What packing `[m, k]` of A writes at most.
    fn left_len(self, m: usize, k: usize) -> usize;

    /// From one panel of A of depth `k` to the next.
    fn left_stride(self, k: usize) -> usize;

    /// What packing `[k, n]` of one operand of B writes at most; 0 where `part` has it in panels that the register tile
    /// reads.
    fn right_len(self, part: &ProductPart, k: usize, n: usize) -> usize;

    /// Floats that the sums of `[m, n]` take between blocks of the depth where [`BlockKernel::multiply`] keeps them in
    /// an order of its own ([`PackedBlock::sums`]); `None` where they are in rows ([`Store::with_partial`]).
    fn sums_len(self, m: usize, n: usize) -> Option<usize> {
        let _ = (m, n);
        None
    }

    /// Packs the first rows and columns, `[m, k]`, of `a`.
    ///
    /// # Safety
    /// `a` is the operand of a [`ProductPart`], readable for them; `out` is writable for [`BlockKernel::left_len`]
    /// floats.
    unsafe fn pack_left(self, a: LeftOperand, shape: [usize; 2], out: *mut f32);

    /// The block of B: packed where it has to be.
    ///
    /// # Safety
    /// The block lies in `part`, and each of its buffers has [`BlockKernel::right_len`] floats.
    unsafe fn prepare_right(self, part: &ProductPart, block: RightBlock) -> Self::Right;

    /// The two inner loops: a micropanel of B stays in the L1 cache while those of A pass by.
    ///
    /// # Safety
    /// The panels of A hold the rows of the region and those of B its columns, over the depth; the region is as
    /// [`Store::finish`] needs it.
    unsafe fn multiply(self, block: &PackedBlock<'_>, right: Self::Right);
}

/// A block of B, `depth` rows from `pc` on and the columns of `region`, and a buffer for each of its operands.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct RightBlock {
    pub(in crate::gemm) region: Region,
    pub(in crate::gemm) pc: usize,
    pub(in crate::gemm) depth: usize,
    pub(in crate::gemm) buffers: [*mut f32; 2],
}

/// A block of A and of the output, while a block of B is in the caches.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct PackedBlock<'a> {
    pub(in crate::gemm) a: LeftPanels,
    pub(in crate::gemm) depth: usize,
    pub(in crate::gemm) region: Region,
    pub(in crate::gemm) depth_block: DepthBlock,
    pub(in crate::gemm) store: &'a Store,
    /// Where the sums of the block wait for the rest of the depth, where the kernel asked for that
    /// ([`BlockKernel::sums_len`]).
    pub(in crate::gemm) sums: *mut f32,
    /// Whether tiles prefetch the columns after theirs, and the output before they store.
    pub(in crate::gemm) prefetch: bool,
    /// Whether more columns of B lie behind those of the region, which this thread likely multiplies next.
    pub(in crate::gemm) follows: bool,
}

/// The blocked algorithm (see [`crate::gemm`]).
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`], and its operands are such as `kernel` takes.
#[inline(always)]
pub(in crate::gemm) unsafe fn multiply_blocked<K: BlockKernel>(kernel: K, part: &ProductPart) {
    let Region { row, col, rows, cols } = part.region;
    let factors = part.b.factors();
    let blocking = Blocking { nc: (part.blocking.nc / factors).max(1), ..part.blocking };
    let Blocking { mc, kc, nc } = kernel.fit(blocking, [rows, cols, part.depth]);
    report_size(Probe::BlockRows, mc);
    report_size(Probe::BlockDepth, kc);
    report_size(Probe::BlockColumns, nc);
    let a_len = if part.left.is_some() { 0 } else { round_to_line(kernel.left_len(mc, kc)) };
    let b_len = round_to_line(kernel.right_len(part, kc, nc));
    let own_sums = kernel.sums_len(rows, nc * factors);
    let (store, continues) = if own_sums.is_some() { (part.store, false) } else { part.store.continuing() };
    let partial_len = match own_sums {
        _ if part.depth <= kc => 0,
        Some(len) => len,
        None if store.needs_partial() => rows * nc * factors,
        None => 0,
    };
    let mut scratch = Scratch::take(a_len + b_len * factors + partial_len);
    let a_buffer = scratch.as_mut_ptr();
    let b_buffer = a_buffer.wrapping_add(a_len);
    let buffers = [b_buffer, b_buffer.wrapping_add(b_len)];
    let partial = b_buffer.wrapping_add(b_len * factors);
    let prefetch = part.prefetch_distance() > 0;

    for jc in (0..cols).step_by(nc) {
        let wide = Region { row, col: col + jc, rows, cols: nc.min(cols - jc) };
        let in_rows = partial_len > 0 && own_sums.is_none();
        let store = if in_rows { store.with_partial(partial, wide, nc) } else { store };
        let follows = b_len == 0 && wide.col + wide.cols < part.columns;
        let mut pc = 0;
        loop {
            let depth = kc.min(part.depth - pc);
            let depth_block = DepthBlock { first: pc == 0 && !continues, last: pc + depth == part.depth };
            // SAFETY: by the `# Safety` clause of `multiply_blocked`, the block lies in the part; each buffer has
            // `right_len` of the largest block.
            let right = unsafe { kernel.prepare_right(part, RightBlock { region: wide, pc, depth, buffers }) };
            for ic in (0..rows).step_by(mc) {
                let region = Region { row: row + ic, rows: mc.min(rows - ic), ..wide };
                let a = match part.left {
                    Some(left) => left.block(region.row, pc, depth),
                    None => LeftPanels { data: a_buffer.cast_const(), stride: kernel.left_stride(depth) },
                };
                // Each block of rows begins where those before it end.
                let sums = partial.wrapping_add(kernel.sums_len(ic, wide.cols * factors).unwrap_or(0));
                let block = PackedBlock { a, depth, region, depth_block, store: &store, sums, prefetch, follows };
                // SAFETY: the buffer has `left_len` of the largest block; A and the region as the `# Safety` clause of
                // `multiply_blocked` says.
                unsafe {
                    if part.left.is_none() {
                        kernel.pack_left(part.a.from(region.row, pc), [region.rows, depth], a_buffer);
                    }
                    kernel.multiply(&block, right);
                }
            }
            pc += depth;
            // A depth of 0 takes one block, of nothing: the epilogue still runs.
            if pc >= part.depth {
                break;
            }
        }
    }
}
