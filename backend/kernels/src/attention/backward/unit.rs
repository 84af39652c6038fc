//! One block for one key head: tiles of rows against tiles of keys.

use super::super::packing::{TileRows, widen_keys};
use super::super::panel::{Panel, Right, panel_registers, panel_rows};
use super::super::panel_softmax::{PanelScores, RawScores, finish_scores};
use super::super::problem::{Problem, UnitRows};
use super::super::tiles::MAX_ROWS;
use super::blocks::{Block, RowCut};
use super::buffers::Buffers;
use super::operands::{GradTarget, Operand};
use super::packing::{BothForms, PanelRows, base_2, dot_rows};
use super::product::{Strided, TileProduct};
use super::weights::{PanelTile, Slopes, Weights};
use crate::Storage;
use crate::rows::{AnySource, Source, store};
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// Most panels of a tile of rows: the narrowest of all tiers has 16 rows.
const MAX_PANELS: usize = MAX_ROWS / 16;

/// One block for one key head of one sequence.
pub(super) struct BackwardUnit<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) q: Operand,
    pub(super) k: Operand,
    pub(super) v: Operand,
    pub(super) out: Operand,
    pub(super) grad: Operand,
    pub(super) lse: Source<f32>,
    /// Of queries, keys and values.
    pub(super) targets: [GradTarget; 3],
    pub(super) block: &'a Block,
    pub(super) cut: RowCut,
    /// Without the division by the soft cap.
    pub(super) scale: f32,
    pub(super) batch: usize,
    pub(super) kv_head: usize,
}

/// Rows of a tile in panels.
struct RowTile<'a> {
    span: UnitRows,
    visible: &'a [(usize, usize)],
    panels: &'a [Panel],
}

impl Kernel for BackwardUnit<'_> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Block { queries, keys, wanted } = self.block;
        if wanted.keys() {
            self.clear();
        }
        let (mut scratch, buffers) = Buffers::lay_out::<I>(self.problem, self.cut.rows());
        let first = self.kv_head * self.problem.group;
        for heads in (0..self.problem.group).step_by(self.cut.heads) {
            let heads = first + heads..first + (heads + self.cut.heads).min(self.problem.group);
            for begin in queries.clone().step_by(self.cut.queries) {
                let queries = begin..(begin + self.cut.queries).min(queries.end);
                let span = UnitRows { batch: self.batch, kv_head: self.kv_head, heads: heads.clone(), queries };
                self.run_rows(isa, span, keys, &buffers);
            }
        }
        // Kept until here for the addresses.
        let _ = scratch.as_mut_ptr();
    }
}

impl BackwardUnit<'_> {
    /// Nothing summed yet.
    fn clear(&self) {
        let keys = &self.block.keys;
        for target in &self.targets[1..] {
            for key in keys.clone() {
                let row = target.part(self.batch, self.kv_head, &(key..key + 1));
                // SAFETY: `part` checked the row; no other unit has these keys, and zero bits are 0.0.
                unsafe { row.write_bytes(0, target.d) };
            }
        }
    }

    /// All keys against the rows of one tile.
    #[inline(always)]
    fn run_rows<I: Isa>(&self, isa: I, span: UnitRows, keys: &Range<usize>, buffers: &Buffers) {
        let rows = span.rows();
        let mut visible = [(0, 0); MAX_ROWS];
        let mut end = keys.start;
        for (row, visible) in visible[..rows].iter_mut().enumerate() {
            let seen = self.problem.visible(span.row(row).1);
            let begin = seen.start.max(keys.start);
            *visible = (begin, seen.end.min(keys.end).max(begin));
            end = end.max(if visible.0 < visible.1 { visible.1 } else { 0 });
        }
        let visible = &visible[..rows];
        let (padded, whole) = (rows.next_multiple_of(I::LANES), panel_rows::<I>());
        let panels: [Panel; MAX_PANELS] = core::array::from_fn(|i| {
            let first = (i * whole).min(padded);
            Panel::new(first.min(rows), whole.min(padded - first), visible)
        });
        let tile = RowTile { span, visible, panels: &panels[..padded.div_ceil(whole)] };
        self.pack_rows(isa, &tile, buffers);
        for begin in (keys.start..end).step_by(self.problem.tiles.keys) {
            let keys = begin..(begin + self.problem.tiles.keys).min(end);
            self.widen(isa, self.k, self.problem.d, &keys, buffers.k, buffers.d_stride);
            self.widen(isa, self.v, self.problem.dv, &keys, buffers.v, buffers.dv_stride);
            for panel in tile.panels {
                self.run_panel(isa, &tile, panel, &keys, buffers);
            }
            if self.block.wanted.keys() {
                self.add_keys(isa, &tile, &keys, buffers);
            }
        }
        if self.block.wanted.queries() {
            self.write_queries(isa, &tile, buffers);
        }
    }

    /// Packs the query side of a tile and clears its sums.
    #[inline(always)]
    fn pack_rows<I: Isa>(&self, isa: I, tile: &RowTile<'_>, buffers: &Buffers) {
        let &Problem { d, dv, heads, queries, .. } = self.problem;
        let span = &tile.span;
        for &Panel { first, width, .. } in tile.panels {
            // SAFETY: the buffers were laid out for the rows of a tile.
            unsafe {
                let panel = PanelRows { operand: self.q, d, span, first, width };
                panel.pack(
                    isa,
                    BothForms {
                        panel: buffers.q[0].add(first * d),
                        panel_factor: self.problem.q_factor(),
                        rows: buffers.q[1].add(first * buffers.d_stride),
                        stride: buffers.d_stride,
                        rows_factor: self.scale,
                    },
                );
                PanelRows { operand: self.grad, d: dv, ..panel }.pack(
                    isa,
                    BothForms {
                        panel: buffers.grad[0].add(first * dv),
                        panel_factor: 1.0,
                        rows: buffers.grad[1].add(first * buffers.dv_stride),
                        stride: buffers.dv_stride,
                        rows_factor: 1.0,
                    },
                );
                buffers.dq.add(first * buffers.columns).write_bytes(0, width * buffers.columns);
                for row in first..first + width {
                    let (mut lse, mut delta) = (0.0, 0.0);
                    if row < span.rows() {
                        let (head, query) = span.row(row);
                        lse = base_2(self.lse, (span.batch * heads + head) * queries + query);
                        let at = [self.grad.row(span, row), self.out.row(span, row)];
                        delta = dot_rows(isa, [self.grad.data, self.out.data], at, dv);
                    }
                    buffers.lse.add(row).write(lse);
                    buffers.delta.add(row).write(delta);
                }
            }
        }
    }

    /// Keys or values of a tile as rows of f32.
    #[inline(always)]
    fn widen<I: Isa>(&self, isa: I, from: Operand, d: usize, keys: &Range<usize>, to: *mut f32, to_stride: usize) {
        match from.data {
            AnySource::F32(data) => self.widen_typed(isa, (data, from.strides), d, keys, (to, to_stride)),
            AnySource::Bf16(data) => self.widen_typed(isa, (data, from.strides), d, keys, (to, to_stride)),
            AnySource::F16(data) => self.widen_typed(isa, (data, from.strides), d, keys, (to, to_stride)),
        }
    }

    #[inline(always)]
    fn widen_typed<I: Isa, S: Storage>(
        &self,
        isa: I,
        (data, [batch, head, position]): (Source<S>, [usize; 3]),
        d: usize,
        keys: &Range<usize>,
        (to, to_stride): (*mut f32, usize),
    ) {
        let at = self.batch * batch + self.kv_head * head + keys.start * position;
        let n = keys.len();
        let rows = TileRows { data: data.part(&(at..at + (n - 1) * position + d)), stride: position, n, d };
        // SAFETY: `part` checked the rows; the buffer was laid out for a tile of keys.
        unsafe { widen_keys(isa, rows, to, to_stride) };
    }

    /// Weights of a panel, gradients of its scores, and sums of its queries' gradients.
    #[inline(always)]
    fn run_panel<I: Isa>(&self, isa: I, tile: &RowTile<'_>, panel: &Panel, keys: &Range<usize>, buffers: &Buffers) {
        let problem = self.problem;
        let &Problem { d, dv, .. } = problem;
        let &Panel { first, width, .. } = panel;
        let seen = count_seen(panel, keys);
        if seen == 0 {
            return;
        }
        let stride = buffers.rows_stride;
        let size = PanelTile { keys: seen, stride, width };
        // SAFETY: the buffers were laid out for the rows and keys of a tile, and hold those of this one.
        unsafe {
            let [p, ds, slopes] = [buffers.p, buffers.ds, buffers.slopes].map(|tile| tile.add(first));
            let product = TileProduct {
                left: Strided { data: buffers.k, row: buffers.d_stride, column: 1 },
                right: Right { data: buffers.q[0].add(first * d), step: width },
                out: p,
                out_row: stride,
                rows: seen,
                columns: width,
                depth: d,
                adds: false,
            };
            isa.run(product.promise());
            let capped = problem.softcap.is_some();
            if capped {
                isa.run(Slopes::new(size, p, slopes));
            }
            // Keys that need no finishing: all rows see them.
            let plain =
                if problem.is_plain() { panel.all.end.clamp(keys.start, keys.start + seen) - keys.start } else { 0 };
            if plain < seen {
                let keys = keys.start + plain..keys.start + seen;
                let scores = PanelScores { data: p.add(plain * stride), stride, first, keys };
                let raw = RawScores { problem, span: &tile.span, scores: &scores, factor: None };
                finish(isa, raw, width, tile.visible);
            }
            let left = Strided { data: buffers.v, row: buffers.dv_stride, column: 1 };
            let right = Right { data: buffers.grad[0].add(first * dv), step: width };
            isa.run(TileProduct { left, right, out: ds, depth: dv, ..product }.promise());
            let sums = [buffers.lse.add(first).cast_const(), buffers.delta.add(first).cast_const()];
            isa.run(Weights::new(size, [p, ds], capped.then_some(slopes.cast_const()), sums));
            if self.block.wanted.queries() {
                let left = Strided { data: buffers.k, row: 1, column: buffers.d_stride };
                let right = Right { data: ds, step: stride };
                let out = buffers.dq.add(first * buffers.columns);
                let sums =
                    TileProduct { left, right, out, out_row: width, rows: d, depth: seen, adds: true, ..product };
                isa.run(sums.promise());
            }
        }
    }

    /// Adds what a tile of rows gives to the gradients of a tile of keys and values.
    #[inline(always)]
    fn add_keys<I: Isa>(&self, isa: I, tile: &RowTile<'_>, keys: &Range<usize>, buffers: &Buffers) {
        let rows = tile.span.rows();
        let [_, dk, dv] = &self.targets;
        let sides =
            [(buffers.p, buffers.grad[1], buffers.dv_stride, dv), (buffers.ds, buffers.q[1], buffers.d_stride, dk)];
        // Later rows see more keys, or the same: keys `from .. seen` are seen from the panel's first row on.
        let mut from = 0;
        for panel in tile.panels {
            let seen = count_seen(panel, keys);
            if seen <= from {
                continue;
            }
            for (weights, operand, operand_stride, target) in sides {
                let part = keys.start + from..keys.start + seen;
                let out = target.part(self.batch, self.kv_head, &part);
                let mut column = 0;
                while column < target.d {
                    let columns = columns_beside::<I>(target.d - column);
                    // SAFETY: `part` checked the keys, which no other unit has; the buffers hold the rows and keys of
                    // this tile.
                    unsafe {
                        let left = weights.add(from * buffers.rows_stride + panel.first);
                        let right = operand.add(panel.first * operand_stride + column);
                        let product = TileProduct {
                            left: Strided { data: left, row: buffers.rows_stride, column: 1 },
                            right: Right { data: right, step: operand_stride },
                            out: out.add(column),
                            out_row: target.stride(),
                            rows: seen - from,
                            columns,
                            depth: rows - panel.first,
                            adds: true,
                        };
                        isa.run(product.promise());
                    }
                    column += columns;
                }
            }
            from = seen;
        }
    }

    /// Writes the gradients of a tile's queries.
    #[inline(always)]
    fn write_queries<I: Isa>(&self, isa: I, tile: &RowTile<'_>, buffers: &Buffers) {
        let (d, span) = (self.problem.d, &tile.span);
        let scale = isa.splat(self.scale);
        for &Panel { first, width, .. } in tile.panels {
            for column in (0..width).step_by(I::LANES) {
                for at in (0..d).step_by(I::LANES) {
                    let mut square = [isa.splat(0.0); 16];
                    for (i, x) in square[..I::LANES].iter_mut().enumerate() {
                        // SAFETY: the buffers were laid out for the rows of a tile and whole registers of columns.
                        *x = unsafe { isa.load(buffers.dq.add(first * buffers.columns + (at + i) * width + column)) };
                    }
                    isa.transpose(&mut square);
                    for (i, &x) in square[..I::LANES].iter().enumerate() {
                        let row = first + column + i;
                        if row < span.rows() {
                            let (head, query) = span.row(row);
                            let to = self.targets[0].part(self.batch, head, &(query..query + 1));
                            // SAFETY: `part` checked the row, which no other unit has; `at < d`.
                            unsafe { store(isa, to.add(at), isa.mul(x, scale), I::LANES.min(d - at)) };
                        }
                    }
                }
            }
        }
    }
}

/// Keys of a tile that a panel sees, from the first one on: causal order hides the last ones alone.
#[inline(always)]
fn count_seen(panel: &Panel, keys: &Range<usize>) -> usize {
    if panel.any.is_empty() { 0 } else { panel.any.end.clamp(keys.start, keys.end) - keys.start }
}

/// Columns of the next product, of `left`: whole panels, and two of two registers in place of one of three and one of
/// one, whose sums would be too few to hide the latency of a multiply-add.
#[inline(always)]
fn columns_beside<I: Isa>(left: usize) -> usize {
    let (most, registers) = (panel_registers::<I>(), left.div_ceil(I::LANES));
    let beside = if registers == most + 1 && most > 2 { 2 } else { registers.min(most) };
    left.min(beside * I::LANES)
}

/// [`finish_scores`] of a panel of any width.
///
/// # Safety
/// As for it.
#[inline(always)]
unsafe fn finish<I: Isa>(isa: I, raw: RawScores<'_>, width: usize, visible: &[(usize, usize)]) {
    // SAFETY: as the `# Safety` clause says; panels have up to three registers.
    unsafe {
        match width / I::LANES {
            3 => drop(finish_scores::<I, 3>(isa, raw, visible)),
            2 => drop(finish_scores::<I, 2>(isa, raw, visible)),
            _ => drop(finish_scores::<I, 1>(isa, raw, visible)),
        }
    }
}
