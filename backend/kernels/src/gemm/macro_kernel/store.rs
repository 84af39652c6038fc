//! Where tiles of a product go: sums of several blocks of the depth, the epilogue, and the one store.

use crate::Storage;
use crate::gemm::epilogue::{Epilogue, Residual};
use crate::gemm::matrix::OutMatrix;
use crate::gemm::raw::{RawFloats, RawFloatsMut};
use crate::gemm::region::{DepthBlock, Region, TilePlace};
use crate::gemm::registers::{load_up_to, store_up_to};
use crate::math::{Activation, activate, silu};
use crate::simd::{Isa, Kernel};

/// Where tiles of a product go. Coordinates are those of the output.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Store {
    out: RawFloatsMut,
    out_stride: isize,
    bias: Option<RawFloats>,
    activation: Option<Activation>,
    residual: Option<(RawFloats, isize)>,
    accumulate: bool,
    /// Tiles hold sums of a gate and of what it opens: the last block of the depth stores `silu(gate) · up`.
    gated: bool,
    /// Where sums wait for the rest of the depth: the output itself if it is f32.
    partial: *mut f32,
    partial_stride: isize,
}

// SAFETY: threads write disjoint rectangles: `Problem::run` gives each the regions of a `Grid`.
unsafe impl Send for Store {}
// SAFETY: threads write disjoint rectangles: `Problem::run` gives each the regions of a `Grid`.
unsafe impl Sync for Store {}

impl Store {
    /// The store of a checked output and epilogue.
    pub(in crate::gemm) fn new(out: &mut OutMatrix<'_>, epilogue: &Epilogue<'_>) -> Self {
        let raw = out.raw();
        let stride = out.row_stride() as isize;
        let residual = match &epilogue.residual {
            Residual::Add(matrix) => Some((matrix.raw().data, matrix.strides()[0])),
            _ => None,
        };
        Self {
            out: raw,
            out_stride: stride,
            bias: epilogue.bias.map(RawFloats::new),
            activation: epilogue.activation,
            residual,
            accumulate: matches!(epilogue.residual, Residual::Output),
            gated: false,
            partial: if let RawFloatsMut::F32(p) = raw { p } else { core::ptr::null_mut() },
            partial_stride: stride,
        }
    }

    /// The store of a gated product.
    pub(in crate::gemm) fn gated(self) -> Self {
        Self { gated: true, ..self }
    }

    /// Sums in a tile for each element of the output.
    #[inline(always)]
    pub(in crate::gemm) fn factors(&self) -> usize {
        1 + usize::from(self.gated)
    }

    /// Whether `cols` columns of the output take the second register of a tile, or its second panel, where one has
    /// `lanes`.
    #[inline(always)]
    pub(in crate::gemm) fn takes_second(&self, cols: usize, lanes: usize) -> bool {
        self.gated || cols > lanes
    }

    /// The store of another product of the batch, whose output begins `by` elements on.
    pub(in crate::gemm) fn offset(self, by: isize) -> Self {
        Self { out: self.out.offset(by), partial: self.partial.wrapping_offset(by), ..self }
    }

    /// The store of a blocked product, and whether an f32 output that is only added to holds what was summed before the
    /// first block of the depth: the sums go on in it, and a tile adds to them as it does in every later block.
    #[inline(always)]
    pub(in crate::gemm) fn continuing(self) -> (Self, bool) {
        let plain = self.bias.is_none() && self.activation.is_none() && self.residual.is_none() && !self.gated;
        let continues = self.accumulate && plain && matches!(self.out, RawFloatsMut::F32(_));
        (Self { accumulate: self.accumulate && !continues, ..self }, continues)
    }

    /// Whether sums of several blocks of the depth need memory of their own: the output is too coarse for them, or
    /// holds what is added last.
    pub(in crate::gemm) fn needs_partial(&self) -> bool {
        self.gated || self.accumulate || !matches!(self.out, RawFloatsMut::F32(_))
    }

    /// The same with sums of `region` waiting at `partial`, rows of `cols` elements (whole tiles) apart.
    pub(in crate::gemm) fn with_partial(self, partial: *mut f32, region: Region, cols: usize) -> Self {
        let stride = (cols * self.factors()) as isize;
        let origin = partial.wrapping_offset(-(region.row as isize * stride + (region.col * self.factors()) as isize));
        Self { partial: origin, partial_stride: stride, ..self }
    }

    /// Where the sums of element `(row, col)` wait.
    #[inline(always)]
    fn waiting(&self, row: usize, col: usize) -> *mut f32 {
        self.partial.wrapping_offset(row as isize * self.partial_stride + (col * self.factors()) as isize)
    }

    /// Where a tile may be stored as it comes: the f32 address of element `(row, col)` and the row stride, unless the
    /// epilogue has something to do or the output is not f32.
    #[inline(always)]
    pub(in crate::gemm) fn plain(&self, row: usize, col: usize, depth_block: DepthBlock) -> Option<(*mut f32, isize)> {
        let partial = self.waiting(row, col);
        if !depth_block.last {
            return Some((partial, self.partial_stride));
        }
        let idle = self.bias.is_none() && self.activation.is_none() && self.residual.is_none() && !self.needs_partial();
        idle.then_some((partial, self.partial_stride))
    }

    /// Where results go that are sums and nothing more: the address of element `(row, col)` and the row stride.
    #[inline(always)]
    pub(in crate::gemm) fn sums_alone(&self, row: usize, col: usize) -> Option<(RawFloatsMut, isize)> {
        let idle = self.bias.is_none() && self.activation.is_none() && self.residual.is_none();
        let by = row as isize * self.out_stride + col as isize;
        (idle && !self.accumulate && !self.gated).then(|| (self.out.offset(by), self.out_stride))
    }

    /// Adds a tile to what `place` says was summed before, and stores the sum or, in the last block of the depth, the
    /// result.
    ///
    /// `tile` holds `region.rows` rows, `tile_stride` floats apart, of `region.cols` floats rounded up to whole
    /// registers; of a gated product the sums of the gate in the first half of each row, the others in the second.
    ///
    /// # Safety
    /// `tile` is readable for that; `region` lies within the output, this thread alone writes it now, and the partial
    /// sums of it are valid unless its block of the depth is both first and last.
    #[inline(always)]
    pub(in crate::gemm) unsafe fn finish<I: Isa>(
        &self,
        isa: I,
        tile: *const f32,
        tile_stride: usize,
        place: TilePlace,
    ) {
        if self.gated {
            // SAFETY: the `# Safety` clause of `Store::finish`.
            return unsafe { self.finish_gated(isa, tile, tile_stride, place) };
        }
        let TilePlace { region, depth_block } = place;
        for i in 0..region.rows {
            let row = (region.row + i) as isize;
            let mut j = 0;
            while j < region.cols {
                let lanes = I::LANES.min(region.cols - j);
                let col = region.col + j;
                // SAFETY: the `# Safety` clause of `Store::finish`; the bias has an element a column and the residual
                // is shaped like the output (`Epilogue::check`), and no more than `lanes` elements are touched.
                unsafe {
                    let mut sum = isa.load(tile.add(i * tile_stride + j));
                    let partial = self.waiting(region.row + i, col);
                    if !depth_block.first {
                        sum = isa.add(sum, load_up_to(isa, partial, lanes));
                    }
                    if depth_block.last {
                        self.store_register(isa, sum, row, col, lanes);
                    } else {
                        store_up_to(isa, partial, sum, lanes);
                    }
                }
                j += I::LANES;
            }
        }
    }

    /// [`Store::finish`] of a gated product. Sums that wait are whole registers, of the gate and of the other beside
    /// each other: a tile of several blocks is one register wide.
    ///
    /// # Safety
    /// As for [`Store::finish`].
    #[inline(always)]
    unsafe fn finish_gated<I: Isa>(&self, isa: I, tile: *const f32, tile_stride: usize, place: TilePlace) {
        let TilePlace { region, depth_block } = place;
        for i in 0..region.rows {
            for j in (0..region.cols).step_by(I::LANES) {
                let at = tile.wrapping_add(i * tile_stride + j);
                let partial = self.waiting(region.row + i, region.col + j);
                // SAFETY: the `# Safety` clause of `Store::finish`; partial sums have room for whole registers.
                unsafe {
                    let mut sums = [isa.load(at), isa.load(at.add(tile_stride / 2))];
                    for (half, sum) in sums.iter_mut().enumerate() {
                        let partial = partial.wrapping_add(half * I::LANES);
                        if !depth_block.first {
                            *sum = isa.add(*sum, isa.load(partial));
                        }
                        if !depth_block.last {
                            isa.store(partial, *sum);
                        }
                    }
                    if depth_block.last {
                        let product = isa.mul(silu(isa, sums[0]), sums[1]);
                        let (row, lanes) = ((region.row + i) as isize, I::LANES.min(region.cols - j));
                        self.store_register(isa, product, row, region.col + j, lanes);
                    }
                }
            }
        }
    }

    /// Applies the epilogue to one register and stores it.
    ///
    /// # Safety
    /// As for [`Store::finish`], for `lanes` elements from `(row, col)`.
    #[inline(always)]
    unsafe fn store_register<I: Isa>(&self, isa: I, sum: I::V, row: isize, col: usize, lanes: usize) {
        let mut sum = sum;
        // SAFETY: the `# Safety` clause of `Store::finish`.
        unsafe {
            if let Some(bias) = self.bias {
                sum = isa.add(sum, load_any(isa, bias.offset(col as isize), lanes));
            }
            if let Some(activation) = self.activation {
                sum = activate(isa, activation, sum);
            }
            if let Some((residual, stride)) = self.residual {
                sum = isa.add(sum, load_any(isa, residual.offset(row * stride + col as isize), lanes));
            }
            let by = row * self.out_stride + col as isize;
            match self.out {
                RawFloatsMut::F32(out) => self.store_as(isa, out.wrapping_offset(by), sum, lanes),
                RawFloatsMut::Bf16(out) => self.store_as(isa, out.wrapping_offset(by), sum, lanes),
                RawFloatsMut::F16(out) => self.store_as(isa, out.wrapping_offset(by), sum, lanes),
            }
        }
    }

    /// Adds what the output holds if asked to, and stores.
    ///
    /// # Safety
    /// `out` is readable and writable for `lanes` elements.
    #[inline(always)]
    unsafe fn store_as<I: Isa, S: Storage>(&self, isa: I, out: *mut S, sum: I::V, lanes: usize) {
        // SAFETY: `out` is readable and writable for `lanes` elements (`# Safety` of `Store::store_as`).
        unsafe {
            let sum = if self.accumulate { isa.add(sum, load_up_to(isa, out, lanes)) } else { sum };
            store_up_to(isa, out, sum, lanes);
        }
    }
}

/// [`Store::finish`] as a function of its own: it is called once a tile, and would crowd the registers of the loop
/// before it.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Finish<'a> {
    store: &'a Store,
    tile: *const f32,
    tile_stride: usize,
    place: TilePlace,
}

impl<'a> Finish<'a> {
    /// # Safety
    /// As for [`Store::finish`].
    #[inline(always)]
    pub(in crate::gemm) unsafe fn new(
        store: &'a Store,
        tile: *const f32,
        tile_stride: usize,
        place: TilePlace,
    ) -> Self {
        Self { store, tile, tile_stride, place }
    }
}

impl Kernel for Finish<'_> {
    type Out = ();
    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        // SAFETY: the `# Safety` clause of `new`.
        unsafe { self.store.finish(isa, self.tile, self.tile_stride, self.place) }
    }
}

/// Loads `n ≤ LANES` elements of any type.
///
/// # Safety
/// `p` is readable for `n` elements.
#[inline(always)]
unsafe fn load_any<I: Isa>(isa: I, p: RawFloats, n: usize) -> I::V {
    // SAFETY: `p` is readable for `n` elements (`# Safety` of `load_any`).
    unsafe {
        match p {
            RawFloats::F32(p) => load_up_to(isa, p, n),
            RawFloats::Bf16(p) => load_up_to(isa, p, n),
            RawFloats::F16(p) => load_up_to(isa, p, n),
        }
    }
}
