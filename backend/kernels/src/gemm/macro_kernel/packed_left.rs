//! A left operand that was packed once for several parts of a product: the layout of its panels.

/// Packed panels of rows of A: blocks of the depth one after the other, in each the panels of all rows.
///
/// ```text
/// for each block of kc of the depth
///     for each panel of rows     padded to whole cache lines, with room for the slack
/// ```
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct PackedLeft {
    pub(in crate::gemm) data: *mut f32,
    /// The first row, a multiple of a panel's.
    pub(in crate::gemm) first_row: usize,
    /// Panels of all rows.
    pub(in crate::gemm) panels: usize,
    /// Rows of a panel.
    pub(in crate::gemm) panel_rows: usize,
    /// Depth of a block that is not the last one.
    pub(in crate::gemm) kc: usize,
    /// Floats from one panel to the next, in a block of `kc` and in the last one where that is less deep.
    pub(in crate::gemm) strides: [usize; 2],
}

// SAFETY: an address and sizes; threads write disjoint panels (`with_packed_left` gives each a range of them) and only
// read after that phase.
unsafe impl Send for PackedLeft {}
// SAFETY: threads write disjoint panels (`with_packed_left` gives each a range of them) and only read after that phase.
unsafe impl Sync for PackedLeft {}

/// The place of a panel of [`PackedLeft`], floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gemm) struct PanelPlace {
    /// Of its first float.
    pub(in crate::gemm) at: usize,
    /// To the next panel of the block.
    pub(in crate::gemm) stride: usize,
}

/// The panels of a block of A.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct LeftPanels {
    /// The first float.
    pub(in crate::gemm) data: *const f32,
    /// Floats from one panel to the next.
    pub(in crate::gemm) stride: usize,
}

impl PackedLeft {
    /// The panels from `row` (a multiple of a panel's rows) on, over the block of the depth that begins at `pc` and is
    /// `depth` deep.
    pub(in crate::gemm) fn block(&self, row: usize, pc: usize, depth: usize) -> LeftPanels {
        let PanelPlace { at, stride } = self.place((row - self.first_row) / self.panel_rows, pc, depth);
        LeftPanels { data: self.data.wrapping_add(at).cast_const(), stride }
    }

    /// The place of panel `panel`.
    pub(in crate::gemm) fn place(&self, panel: usize, pc: usize, depth: usize) -> PanelPlace {
        let stride = self.strides[usize::from(depth != self.kc)];
        PanelPlace { at: pc / self.kc * self.panels * self.strides[0] + panel * stride, stride }
    }
}
