//! One thread's share of a product: the five loops around the register tile.

use super::axpy;
use super::blocking::{Blocking, Tile};
use super::gemv;
use super::left::LeftOperand;
use super::microkernel::{Ahead, Left, Right, TileProduct, UNROLL, unpacked_rows};
use super::packed_gemv;
use super::packing::{SLACK, pack};
use super::pairs::PairPanels;
use super::plan::Variant;
use super::raw::{RawFloats, RawMatrix};
use super::shared_left::SharedLeft;
use super::sink::{Region, Sink, Turn};
use crate::Storage;
use crate::scratch::{Scratch, round_to_line};
use crate::simd::{Isa, Kernel, PANEL};

/// The right operand.
#[derive(Debug, Clone, Copy)]
pub(super) enum RightOperand {
    /// A strided matrix `[k, n]`.
    View(RawMatrix),
    /// Panels of a [`super::PackedMatrix`]: `[n / 16][k][16]`, of bf16 `[n / 16][k / 2][16][2]`.
    Panels(RawFloats),
    /// Panels of a gate and of what it opens, of one element type and shape: the product is `silu(A·gate) ⊙ (A·up)`, and the sink gated.
    Gated([RawFloats; 2]),
}

impl RightOperand {
    /// Elements of A·B that an element of the output is made of.
    pub(super) fn factors(&self) -> usize {
        if let Self::Gated(_) = self { 2 } else { 1 }
    }
}

/// A rectangle of one product, over the whole depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) a: LeftOperand,
    pub(super) b: RightOperand,
    /// Where A was packed for all parts; none packs for itself.
    pub(super) left: Option<SharedLeft>,
    pub(super) depth: usize,
    pub(super) sink: Sink,
    pub(super) region: Region,
    pub(super) variant: Variant,
    pub(super) blocking: Blocking,
    pub(super) prefetch: usize,
}

impl Part {
    /// The work as a kernel.
    ///
    /// # Safety
    /// `a` is readable for the rows of the region, measured where it has scales (`variant` is blocked then), `b` for its columns, both over `depth`; a region of panels begins at a whole panel;
    /// the region is as [`Sink::finish`] asks; `variant` applies to the operands.
    pub(super) unsafe fn kernel(self) -> PartKernel {
        PartKernel(self)
    }
}

/// A [`Part`] whose operands are promised.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartKernel(Part);

impl Kernel for PartKernel {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let part = &self.0;
        // SAFETY: the promise of `Part::kernel`.
        unsafe {
            match (part.variant, part.b) {
                (Variant::Dot, RightOperand::View(b)) => gemv::multiply_dots(isa, part, b),
                (Variant::Axpy, RightOperand::View(b)) => axpy::multiply_axpys(isa, part, b),
                (Variant::Unpacked, RightOperand::View(b)) => part.multiply_unpacked(isa, b),
                (Variant::Dot | Variant::Axpy, RightOperand::Panels(b)) => {
                    packed_gemv::multiply_panels(isa, part, [b; 2])
                }
                (Variant::Dot | Variant::Axpy, RightOperand::Gated(b)) => packed_gemv::multiply_panels(isa, part, b),
                (Variant::Blocked | Variant::Unpacked, _) => part.multiply_blocked(isa),
            }
        }
    }
}

/// A block of A and B that is in the caches: one turn of the three outer loops.
#[derive(Debug, Clone, Copy)]
struct Block<'a> {
    a: *const f32,
    /// Floats from one panel of A to the next.
    a_stride: usize,
    depth: usize,
    region: Region,
    turn: Turn,
    sink: &'a Sink,
}

impl Part {
    /// The blocked algorithm (see [`super`]).
    ///
    /// # Safety
    /// As for [`Part::kernel`].
    #[inline(always)]
    unsafe fn multiply_blocked<I: Isa>(&self, isa: I) {
        let Region { row, col, rows, cols } = self.region;
        let tile = Tile { mr: I::MR, nr: I::PANELS * PANEL };
        let factors = self.b.factors();
        let blocking = Blocking { nc: (self.blocking.nc / factors).max(1), ..self.blocking };
        let Blocking { mc, kc, nc } = blocking.fit(tile, rows, cols, self.depth);
        let a_len = if self.left.is_some() { 0 } else { round_to_line(mc * kc + SLACK) };
        let b_len = if self.packs_b(tile) { round_to_line(nc * kc + SLACK) } else { 0 };
        let partial_len = if self.depth > kc && self.sink.needs_partial() { rows * nc * factors } else { 0 };
        let mut scratch = Scratch::take(a_len + b_len * factors + partial_len);
        let a_buffer = scratch.as_mut_ptr();
        let b_buffer = a_buffer.wrapping_add(a_len);
        let (up_buffer, partial) = (b_buffer.wrapping_add(b_len), b_buffer.wrapping_add(b_len * factors));

        for jc in (0..cols).step_by(nc) {
            let wide = Region { row, col: col + jc, rows, cols: nc.min(cols - jc) };
            let sink = if partial_len == 0 { self.sink } else { self.sink.with_partial(partial, wide, nc) };
            let mut pc = 0;
            loop {
                let depth = kc.min(self.depth - pc);
                let turn = Turn { first: pc == 0, last: pc + depth == self.depth };
                let depths = pc..pc + depth;
                // SAFETY: the buffers have `nc` x `kc` floats and slack each; the caller's promise for B.
                let (b, up) = unsafe {
                    match self.b {
                        RightOperand::Gated([gate, up]) => (
                            self.prepare_panels(isa, gate, wide, depths.clone(), b_buffer),
                            Some(self.prepare_panels(isa, up, wide, depths, up_buffer)),
                        ),
                        RightOperand::Panels(b) => (self.prepare_panels(isa, b, wide, depths, b_buffer), None),
                        RightOperand::View(b) => {
                            let from = LeftOperand::plain(b.from(pc, wide.col).transposed());
                            pack(isa, from, [wide.cols, depth], PANEL, b_buffer);
                            (Prepared::F32(Panels::packed(b_buffer, depth)), None)
                        }
                    }
                };
                for ic in (0..rows).step_by(mc) {
                    let region = Region { row: row + ic, rows: mc.min(rows - ic), ..wide };
                    let (a, a_stride) = match self.left {
                        Some(left) => left.block(region.row, pc, depth),
                        None => (a_buffer.cast_const(), I::MR * depth),
                    };
                    let block = Block { a, a_stride, depth, region, turn, sink: &sink };
                    // SAFETY: the buffer has `mc` x `kc` floats and slack; the caller's promise for A and the region.
                    unsafe {
                        if self.left.is_none() {
                            pack(isa, self.a.from(region.row, pc), [region.rows, depth], I::MR, a_buffer);
                        }
                        match (b, up) {
                            (Prepared::F32(b), None) => block.multiply(isa, b, None),
                            (Prepared::F16(b), None) => block.multiply(isa, b, None),
                            (Prepared::F32(b), Some(Prepared::F32(up))) => block.multiply(isa, b, Some(up)),
                            (Prepared::F16(b), Some(Prepared::F16(up))) => block.multiply(isa, b, Some(up)),
                            // Both are of one type.
                            _ => return,
                        }
                    }
                }
                pc += depth;
                // A depth of 0 takes one turn, of nothing: the epilogue still runs.
                if pc >= self.depth {
                    break;
                }
            }
        }
    }

    /// Whether a block of B goes through the packing buffer: a strided one, and 16-bit panels that enough rows of A share to widen them
    /// once instead of once a tile.
    #[inline(always)]
    fn packs_b(&self, tile: Tile) -> bool {
        match self.b {
            RightOperand::View(_) => true,
            RightOperand::Panels(RawFloats::F32(_)) | RightOperand::Gated([RawFloats::F32(_), _]) => false,
            // The register tile reads no pairs.
            RightOperand::Panels(RawFloats::Bf16(_)) | RightOperand::Gated([RawFloats::Bf16(_), _]) => true,
            RightOperand::Panels(_) | RightOperand::Gated(_) => self.region.rows > 2 * tile.mr,
        }
    }

    /// Panels of the columns of `region`, over the part of the depth.
    ///
    /// # Safety
    /// `buffer` has room for them and for the slack if [`Part::packs_b`]; as for [`Part::kernel`].
    #[inline(always)]
    unsafe fn prepare_panels<I: Isa>(
        &self,
        isa: I,
        data: RawFloats,
        region: Region,
        depths: core::ops::Range<usize>,
        buffer: *mut f32,
    ) -> Prepared {
        let (step, depth) = (PANEL as isize, depths.len());
        if let RawFloats::Bf16(data) = data {
            let panels = PairPanels::new(data, self.depth).from(region.col, depths.start);
            // SAFETY: the caller's promise; blocks begin at even depths (`Blocking::fit`).
            unsafe { panels.widen(isa, [region.cols, depth], buffer) };
            return Prepared::F32(Panels::packed(buffer, depth));
        }
        let panel_stride = (self.depth * PANEL) as isize;
        let data = data.offset((region.col / PANEL * self.depth + depths.start) as isize * step);
        if self.packs_b(Tile { mr: I::MR, nr: I::PANELS * PANEL }) {
            for panel in 0..region.cols.div_ceil(PANEL) {
                let lanes =
                    RawMatrix { data: data.offset(panel as isize * panel_stride), row_stride: 1, col_stride: step };
                let out = buffer.wrapping_add(panel * depth * PANEL);
                // SAFETY: the caller's promise: whole panels are readable, and the buffer holds them all.
                unsafe { pack(isa, LeftOperand::plain(lanes), [PANEL, depth], PANEL, out) };
            }
            return Prepared::F32(Panels::packed(buffer, depth));
        }
        match data {
            RawFloats::F16(data) => Prepared::F16(Panels { data, stride: panel_stride }),
            RawFloats::F32(data) => Prepared::F32(Panels { data, stride: panel_stride }),
            RawFloats::Bf16(_) => unreachable!("widened above"),
        }
    }

    /// The register tile over A where it lies. B is packed only in columns that do not fill a tile, or where it is not contiguous
    /// f32 along its rows.
    ///
    /// # Safety
    /// As for [`Part::kernel`].
    #[inline(always)]
    unsafe fn multiply_unpacked<I: Isa>(&self, isa: I, b: RawMatrix) {
        let Region { row, col, rows, cols } = self.region;
        let RawFloats::F32(_) = self.a.matrix.data else { return };
        let nr = I::PANELS * PANEL;
        let whole = matches!(b.data, RawFloats::F32(_)) && b.col_stride == 1;
        // Half a tile is a register.
        let fills = |columns: usize| whole && (columns == nr || columns == I::LANES);
        let buffer_len = if cols.is_multiple_of(nr) && whole || fills(cols % nr) { 0 } else { nr * self.depth + SLACK };
        let mut scratch = (buffer_len > 0).then(|| Scratch::take(buffer_len));
        for jr in (0..cols).step_by(nr) {
            let columns = nr.min(cols - jr);
            let from = b.from(0, col + jr);
            let (data, depth_stride, next) = match (&mut scratch, from.data) {
                (None, RawFloats::F32(data)) => (data, b.row_stride, I::LANES),
                (Some(_), RawFloats::F32(data)) if fills(columns) => (data, b.row_stride, I::LANES),
                (Some(scratch), _) => {
                    let data = scratch.as_mut_ptr();
                    // SAFETY: the buffer has `nr` x `depth` floats and slack; the caller's promise for B.
                    unsafe {
                        pack(isa, LeftOperand::plain(from.transposed()), [columns, self.depth], PANEL, data);
                    }
                    (data.cast_const(), PANEL as isize, if I::LANES == PANEL { PANEL * self.depth } else { I::LANES })
                }
                (None, _) => return,
            };
            let right = Right { data: [data, data.wrapping_add(next)], depth_stride };
            let mut ir = 0;
            while ir < rows {
                let tall = unpacked_rows::<I>(rows - ir);
                let RawMatrix { data, row_stride, col_stride } = self.a.matrix.from(row + ir, 0);
                let RawFloats::F32(data) = data else { return };
                let left = Left { data, row_stride, depth_stride: col_stride };
                let region = Region { row: row + ir, col: col + jr, rows: tall, cols: columns };
                let place = (region, Turn::WHOLE);
                // SAFETY: the caller's promise; B is readable for `nr` columns, packed where it has fewer.
                isa.run(unsafe { TileProduct::<f32, false>::new(left, right, self.depth, place, &self.sink) });
                ir += tall;
            }
        }
    }
}

/// Panels of one element type, `[depth][16]` each.
#[derive(Debug, Clone, Copy)]
struct Panels<S> {
    data: *const S,
    /// Elements from one panel to the next.
    stride: isize,
}

impl Panels<f32> {
    /// Panels of a packing buffer, `depth` deep.
    fn packed(data: *const f32, depth: usize) -> Self {
        Self { data, stride: (depth * PANEL) as isize }
    }
}

impl<S> Panels<S> {
    /// Column `col` of the block.
    #[inline(always)]
    fn at(self, col: usize) -> *const S {
        self.data.wrapping_offset((col / PANEL) as isize * self.stride).wrapping_add(col % PANEL)
    }
}

/// Panels that the register tile reads.
#[derive(Debug, Clone, Copy)]
enum Prepared {
    F32(Panels<f32>),
    F16(Panels<half::f16>),
}

impl Block<'_> {
    /// The two inner loops: a micropanel of B stays in the L1 cache while those of A pass by. With `up`, a tile has a register of each operand.
    ///
    /// # Safety
    /// The packed A holds the rows of the region, `b` and `up` its columns.
    #[inline(always)]
    unsafe fn multiply<I: Isa, S: Storage>(&self, isa: I, b: Panels<S>, up: Option<Panels<S>>) {
        let Region { row, col, rows, cols } = self.region;
        let width = if up.is_some() { I::LANES } else { I::PANELS * PANEL };
        let registers = |jr: usize| match up {
            Some(up) => [b.at(jr), up.at(jr)],
            None => [b.at(jr), b.at(jr + I::LANES)],
        };
        let turns = (self.depth / UNROLL).max(1);
        // The tiles of these columns share the bytes of the next ones.
        let share = self.depth * PANEL * size_of::<S>() / rows.div_ceil(I::MR);
        for jr in (0..cols).step_by(width) {
            let right = Right { data: registers(jr), depth_stride: PANEL as isize };
            let next = registers(jr + width).map(|p| p.cast::<u8>());
            for (turn, ir) in (0..rows).step_by(I::MR).enumerate() {
                let left = Left {
                    data: self.a.wrapping_add(ir / I::MR * self.a_stride),
                    row_stride: 1,
                    depth_stride: I::MR as isize,
                };
                let region =
                    Region { row: row + ir, col: col + jr, rows: I::MR.min(rows - ir), cols: width.min(cols - jr) };
                let ahead = Ahead { at: next.map(|p| p.wrapping_add(turn * share)), step: share / turns };
                let ahead = if jr + width < cols { ahead } else { Ahead::none(next[0]) };
                let place = (region, self.turn);
                // SAFETY: the caller's promise; panels are padded to whole ones.
                let tile = unsafe { TileProduct::<S, true>::new(left, right, self.depth, place, self.sink) };
                isa.run(tile.with_ahead(ahead));
            }
        }
    }
}
