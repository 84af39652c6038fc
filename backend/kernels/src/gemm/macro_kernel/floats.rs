//! Blocks of f32: how they are packed, and the loops around the register tile.

use super::blocked::{BlockKernel, PackedBlock, RightBlock};
use super::microkernel::{PrefetchHint, TileLeft, TileProduct, TileRight, UNROLL};
use crate::Storage;
use crate::gemm::left::LeftOperand;
use crate::gemm::macro_kernel::blocking::{Blocking, Tile};
use crate::gemm::macro_kernel::packing::{SLACK, pack};
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::region::{Region, TilePlace};
use crate::gemm::right::RightOperand;
use crate::gemm::vnni_panels::VnniPanels;
use crate::impossible::impossible;
use crate::simd::{Isa, PANEL};
use half::f16;

/// Products in f32: every element type becomes f32 where it is packed, or in the register tile.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct FloatBlocks<I>(pub(in crate::gemm) I);

impl<I: Isa> FloatBlocks<I> {
    /// The register tile.
    const TILE: Tile = Tile { mr: I::MR, nr: I::PANELS * PANEL };

    /// Whether a block of B goes through the packing buffer: a strided one, and 16-bit panels that enough rows of A
    /// share to widen them once instead of once a tile.
    #[inline(always)]
    fn packs_right(part: &ProductPart) -> bool {
        match part.b {
            RightOperand::View(_) => true,
            RightOperand::Panels(RawFloats::F32(_)) | RightOperand::Gated([RawFloats::F32(_), _]) => false,
            // The register tile reads no pairs.
            RightOperand::Panels(RawFloats::Bf16(_)) | RightOperand::Gated([RawFloats::Bf16(_), _]) => true,
            RightOperand::Panels(_) | RightOperand::Gated(_) => part.region.rows > 2 * I::MR,
        }
    }

    /// Panels of the columns of the block, of one operand that is in panels.
    ///
    /// # Safety
    /// As for [`BlockKernel::prepare_right`]; `data` is an operand of the part.
    #[inline(always)]
    unsafe fn prepare_panels(
        self,
        part: &ProductPart,
        data: RawFloats,
        block: RightBlock,
        buffer: *mut f32,
    ) -> FloatPanels {
        let RightBlock { region, pc, depth, .. } = block;
        let step = PANEL as isize;
        if let RawFloats::Bf16(data) = data {
            let panels = VnniPanels::new(data, part.depth).from(region.col, pc);
            // SAFETY: the block lies in `part`, and each of its buffers has `BlockKernel::right_len` floats (`# Safety`
            // of `BlockKernel::prepare_right`); blocks begin at even depths (`Blocking::fit`).
            unsafe { panels.widen(self.0, [region.cols, depth], buffer) };
            return FloatPanels::F32(PanelView::packed(buffer, depth));
        }
        let panel_stride = (part.depth * PANEL) as isize;
        let data = data.offset((region.col / PANEL * part.depth + pc) as isize * step);
        if Self::packs_right(part) {
            for panel in 0..region.cols.div_ceil(PANEL) {
                let lanes =
                    RawMatrix { data: data.offset(panel as isize * panel_stride), row_stride: 1, col_stride: step };
                let out = buffer.wrapping_add(panel * depth * PANEL);
                // SAFETY: by the `# Safety` clause of `BlockKernel::prepare_right`, whole panels are readable, and the
                // buffer holds them all.
                unsafe { pack(self.0, LeftOperand::plain(lanes), [PANEL, depth], PANEL, out) };
            }
            return FloatPanels::F32(PanelView::packed(buffer, depth));
        }
        match data {
            RawFloats::F16(data) => FloatPanels::F16(PanelView { data, stride: panel_stride }),
            RawFloats::F32(data) => FloatPanels::F32(PanelView { data, stride: panel_stride }),
            RawFloats::Bf16(_) => impossible("panels of bf16 reached the f32 register tile"),
        }
    }
}

impl<I: Isa> BlockKernel for FloatBlocks<I> {
    type Right = FloatRight;

    #[inline(always)]
    fn fit(self, blocking: Blocking, [m, n, k]: [usize; 3]) -> Blocking {
        blocking.fit(Self::TILE, m, n, k)
    }

    #[inline(always)]
    fn left_len(self, m: usize, k: usize) -> usize {
        m * k + SLACK
    }

    #[inline(always)]
    fn left_stride(self, k: usize) -> usize {
        I::MR * k
    }

    #[inline(always)]
    fn right_len(self, part: &ProductPart, k: usize, n: usize) -> usize {
        if Self::packs_right(part) { n * k + SLACK } else { 0 }
    }

    #[inline(always)]
    unsafe fn pack_left(self, a: LeftOperand, shape: [usize; 2], out: *mut f32) {
        // SAFETY: the `# Safety` clause of `BlockKernel::pack_left`.
        unsafe { pack(self.0, a, shape, I::MR, out) };
    }

    #[inline(always)]
    unsafe fn prepare_right(self, part: &ProductPart, block: RightBlock) -> FloatRight {
        let [first, second] = block.buffers;
        // SAFETY: the block lies in `part`, and each of its buffers has `BlockKernel::right_len` floats (`# Safety` of
        // `BlockKernel::prepare_right`).
        unsafe {
            match part.b {
                RightOperand::Gated([gate, up]) => FloatRight {
                    first: self.prepare_panels(part, gate, block, first),
                    up: Some(self.prepare_panels(part, up, block, second)),
                },
                RightOperand::Panels(b) => FloatRight { first: self.prepare_panels(part, b, block, first), up: None },
                RightOperand::View(b) => {
                    let from = LeftOperand::plain(b.from(block.pc, block.region.col).transposed());
                    pack(self.0, from, [block.region.cols, block.depth], PANEL, first);
                    FloatRight { first: FloatPanels::F32(PanelView::packed(first, block.depth)), up: None }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, block: &PackedBlock<'_>, right: FloatRight) {
        let isa = self.0;
        // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the region is
        // as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`).
        unsafe {
            match (right.first, right.up) {
                (FloatPanels::F32(b), None) => multiply_panels(isa, block, b, None),
                (FloatPanels::F16(b), None) => multiply_panels(isa, block, b, None),
                (FloatPanels::F32(b), Some(FloatPanels::F32(up))) => multiply_panels(isa, block, b, Some(up)),
                (FloatPanels::F16(b), Some(FloatPanels::F16(up))) => multiply_panels(isa, block, b, Some(up)),
                _ => impossible("a gate and what it opens are of two element types"),
            }
        }
    }
}

/// Panels of one element type, `[depth][16]` each.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct PanelView<S> {
    data: *const S,
    /// Elements from one panel to the next.
    stride: isize,
}

impl PanelView<f32> {
    /// Panels of a packing buffer, `depth` deep.
    fn packed(data: *const f32, depth: usize) -> Self {
        Self { data, stride: (depth * PANEL) as isize }
    }
}

impl<S> PanelView<S> {
    /// Column `col` of the block.
    #[inline(always)]
    fn at(self, col: usize) -> *const S {
        self.data.wrapping_offset((col / PANEL) as isize * self.stride).wrapping_add(col % PANEL)
    }
}

/// Panels that the register tile reads.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum FloatPanels {
    F32(PanelView<f32>),
    F16(PanelView<f16>),
}

/// A block of B, or of a gate and of what it opens.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct FloatRight {
    first: FloatPanels,
    up: Option<FloatPanels>,
}

/// The two inner loops. With `up`, a tile has a register of each operand.
///
/// # Safety
/// As for [`BlockKernel::multiply`].
#[inline(always)]
unsafe fn multiply_panels<I: Isa, S: Storage>(
    isa: I,
    block: &PackedBlock<'_>,
    b: PanelView<S>,
    up: Option<PanelView<S>>,
) {
    let Region { row, col, rows, cols } = block.region;
    let width = if up.is_some() { I::LANES } else { I::PANELS * PANEL };
    let registers = |jr: usize| match up {
        Some(up) => [b.at(jr), up.at(jr)],
        None => [b.at(jr), b.at(jr + I::LANES)],
    };
    let iterations = (block.depth / UNROLL).max(1);
    // The tiles of these columns share the bytes of the next ones.
    let share = block.depth * PANEL * size_of::<S>() / rows.div_ceil(I::MR);
    for jr in (0..cols).step_by(width) {
        let right = TileRight { data: registers(jr), depth_stride: PANEL as isize };
        let next = registers(jr + width).map(|p| p.cast::<u8>());
        for (tile, ir) in (0..rows).step_by(I::MR).enumerate() {
            let left = TileLeft {
                data: block.a.data.wrapping_add(ir / I::MR * block.a.stride),
                row_stride: 1,
                depth_stride: I::MR as isize,
            };
            let region =
                Region { row: row + ir, col: col + jr, rows: I::MR.min(rows - ir), cols: width.min(cols - jr) };
            let hint = PrefetchHint { at: next.map(|p| p.wrapping_add(tile * share)), step: share / iterations };
            let hint = if block.prefetch && (jr + width < cols || block.follows) {
                hint
            } else {
                PrefetchHint::none(right.data[0].cast())
            };
            let place = TilePlace { region, depth_block: block.depth_block };
            // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the
            // region is as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`); panels are padded to whole
            // ones.
            let tile = unsafe { TileProduct::<S, true>::new(left, right, block.depth, place, block.store) };
            isa.run(tile.prefetching(block.prefetch, hint));
        }
    }
}
