//! Blocks of bf16: how they are packed, and the loops around the register tiles of either instruction set.

use super::{dots, tiles};
use crate::gemm::bf16::block::Bf16Block;
use crate::gemm::bf16::isa::Bf16Isa;
use crate::gemm::left::LeftOperand;
use crate::gemm::macro_kernel::blocked::{BlockKernel, PackedBlock, RightBlock};
use crate::gemm::macro_kernel::blocking::Blocking;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::raw::RawFloats;
use crate::gemm::right::RightOperand;
use crate::gemm::vnni_panels::VnniPanels;
use crate::impossible::impossible;

/// Products of pairs of bf16.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Bf16Blocks(pub(in crate::gemm) Bf16Isa);

/// A block of B, or of a gate and of what it opens.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Bf16Right {
    first: VnniPanels,
    up: Option<VnniPanels>,
}

impl BlockKernel for Bf16Blocks {
    type Right = Bf16Right;

    #[inline(always)]
    fn fit(self, blocking: Blocking, shape: [usize; 3]) -> Blocking {
        self.0.fit(blocking, shape)
    }

    #[inline(always)]
    fn left_len(self, m: usize, k: usize) -> usize {
        self.0.left_len(m, k)
    }

    #[inline(always)]
    fn left_stride(self, k: usize) -> usize {
        self.0.left_panel_len(k)
    }

    #[inline(always)]
    fn right_len(self, part: &ProductPart, k: usize, n: usize) -> usize {
        if let RightOperand::View(_) = part.b { self.0.right_len(n, k) } else { 0 }
    }

    #[inline(always)]
    fn sums_len(self, m: usize, n: usize) -> Option<usize> {
        match self.0 {
            Bf16Isa::Dots(_) => None,
            Bf16Isa::Tiles(_) => Some(tiles::sums_len(m, n)),
        }
    }

    #[inline(always)]
    unsafe fn pack_left(self, a: LeftOperand, shape: [usize; 2], out: *mut f32) {
        // SAFETY: the `# Safety` clause of `BlockKernel::pack_left`.
        unsafe { self.0.pack_left(a, shape, out) };
    }

    #[inline(always)]
    unsafe fn prepare_right(self, part: &ProductPart, block: RightBlock) -> Bf16Right {
        let RightBlock { region, pc, depth, buffers: [buffer, _] } = block;
        let panels = |data: RawFloats| match data {
            RawFloats::Bf16(data) => VnniPanels::new(data, part.depth).from(region.col, pc),
            _ => impossible("panels that are no bf16 reached a bf16 product"),
        };
        match part.b {
            RightOperand::View(b) => {
                // SAFETY: the buffer has `right_len` floats; B as the `# Safety` clause of `BlockKernel::prepare_right`
                // says.
                unsafe { self.0.pack_right(b.from(pc, region.col), [depth, region.cols], buffer) };
                Bf16Right { first: VnniPanels::new(buffer.cast_const().cast(), depth), up: None }
            }
            RightOperand::Panels(b) => Bf16Right { first: panels(b), up: None },
            RightOperand::Gated([gate, up]) => Bf16Right { first: panels(gate), up: Some(panels(up)) },
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, block: &PackedBlock<'_>, right: Bf16Right) {
        let PackedBlock { a, depth, region, depth_block, store, sums, prefetch, follows } = *block;
        let Bf16Right { first: b, up } = right;
        let a_stride = a.stride;
        let block =
            Bf16Block { a: a.data.cast(), a_stride, b, up, depth, region, depth_block, store, sums, prefetch, follows };
        // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the region is
        // as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`).
        unsafe {
            match self.0 {
                Bf16Isa::Dots(isa) => dots::multiply(isa, &block),
                Bf16Isa::Tiles(isa) => tiles::multiply(isa, &block),
            }
        }
    }
}
