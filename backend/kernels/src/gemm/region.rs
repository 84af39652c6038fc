//! Rectangles of an output, and blocks of the depth of a product.

/// Which part of the depth a tile sums.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct DepthBlock {
    /// Nothing was summed before.
    pub(in crate::gemm) first: bool,
    /// Nothing comes after: the epilogue runs.
    pub(in crate::gemm) last: bool,
}

impl DepthBlock {
    /// The whole depth at once.
    pub(in crate::gemm) const WHOLE: Self = Self { first: true, last: true };
}

/// Part of the output: `rows` x `cols` elements from `(row, col)`.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Region {
    pub(in crate::gemm) row: usize,
    pub(in crate::gemm) col: usize,
    pub(in crate::gemm) rows: usize,
    pub(in crate::gemm) cols: usize,
}

/// What a tile sums: a region of the output, over a block of the depth.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct TilePlace {
    pub(in crate::gemm) region: Region,
    pub(in crate::gemm) depth_block: DepthBlock,
}

impl TilePlace {
    /// The region, over the whole depth.
    #[inline(always)]
    pub(in crate::gemm) fn whole(region: Region) -> Self {
        Self { region, depth_block: DepthBlock::WHOLE }
    }
}
