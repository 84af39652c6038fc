//! One unit: the tiles of keys that its rows see, one after the other.

use super::few::{add_values, scores};
use super::merge::Block;
use super::online::{Running, finish_scores};
use super::packing::{TileRows, pack_keys, pack_values};
use super::problem::{Problem, Span};
use super::product::{Rows, multiply, pad_columns, tile_rows};
use super::tiles::{FEW_ROWS, MAX_ROWS};
use crate::kernels::Storage;
use crate::kernels::gemm::scratch::{Scratch, round_to_line};
use crate::kernels::rows::{AnySource, AnyTarget, Source, Target};
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// Rows of one unit against part of the keys.
#[derive(Debug, Clone)]
pub(super) struct Unit<'a, S> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) q: AnySource,
    pub(super) k: Source<S>,
    pub(super) v: Source<S>,
    pub(super) out: AnyTarget,
    pub(super) lse: Option<Target<f32>>,
    pub(super) span: Span,
    pub(super) keys: Range<usize>,
    /// Where sums go that are to be merged; none writes the result.
    pub(super) partial: Option<Block>,
}

/// Addresses of a unit's operands in its scratch memory.
#[derive(Debug, Clone, Copy)]
struct Buffers {
    q: Rows<*mut f32>,
    s: Rows<*mut f32>,
    k: *mut f32,
    v: *mut f32,
    running: Running,
}

impl<S: Storage> Kernel for Unit<'_, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let rows = self.span.rows();
        let few = rows <= FEW_ROWS;
        let (mut visible, mut begin, mut end) = ([(0, 0); MAX_ROWS], self.keys.end, self.keys.start);
        for (row, visible) in visible[..rows].iter_mut().enumerate() {
            let keys = self.problem.visible(self.span.row(row).1);
            *visible = (keys.start, keys.end);
            if !keys.is_empty() {
                (begin, end) = (begin.min(keys.start), end.max(keys.end));
            }
        }
        let (begin, end) = (begin.max(self.keys.start), end.min(self.keys.end));

        let padded_rows = rows.next_multiple_of(tile_rows::<I>());
        let (mut scratch, buffers) = self.lay_out(padded_rows, few);
        // SAFETY: the buffers were laid out for these rows.
        unsafe {
            self.pack_queries(isa, buffers.q, padded_rows);
            buffers.running.clear(padded_rows);
        }
        let mut first = begin;
        while first < end {
            let keys = first..(first + self.problem.tiles.keys).min(end);
            // SAFETY: as above; the keys are within the problem's.
            unsafe { self.run_tile(isa, keys.clone(), &visible[..rows], buffers, few) };
            first = keys.end;
        }
        if self.partial.is_none() {
            // SAFETY: as above.
            unsafe { self.write(isa, buffers.running) };
        }
        // Kept until here for the addresses.
        let _ = scratch.as_mut_ptr();
    }
}

impl<S: Storage> Unit<'_, S> {
    /// Takes this thread's scratch memory and divides it.
    #[inline(always)]
    fn lay_out(&self, padded_rows: usize, few: bool) -> (Scratch, Buffers) {
        let Problem { d, dv, tiles, .. } = *self.problem;
        let (q_stride, columns) = (pad_columns(d), pad_columns(dv));
        let line = round_to_line(padded_rows);
        let packed = if few { [0, 0] } else { [tiles.keys * d, tiles.keys * columns] };
        let sizes = [padded_rows * q_stride, padded_rows * tiles.keys, padded_rows * columns, line, line];
        let total: usize = sizes.iter().chain(&packed).map(|&floats| round_to_line(floats)).sum();
        let mut scratch = Scratch::take(total);
        let mut at = scratch.as_mut_ptr();
        let mut next = |floats: usize| {
            let begin = at;
            at = at.wrapping_add(round_to_line(floats));
            begin
        };
        let [q, s, out, max, sum] = sizes.map(&mut next);
        let [k, v] = packed.map(&mut next);
        let own = Running { max, sum, out: Rows { data: out, stride: columns }, columns };
        let running = self.partial.map_or(own, |block| block.running(columns));
        let buffers =
            Buffers { q: Rows { data: q, stride: q_stride }, s: Rows { data: s, stride: tiles.keys }, k, v, running };
        (scratch, buffers)
    }

    /// Q, scaled, as f32, padded with zeros.
    ///
    /// # Safety
    /// `to` is writable for `padded_rows` rows.
    #[inline(always)]
    unsafe fn pack_queries<I: Isa>(&self, isa: I, to: Rows<*mut f32>, padded_rows: usize) {
        let Problem { d, scale, q_strides: [batch, head, position], .. } = *self.problem;
        let scale = isa.splat(scale);
        for row in 0..padded_rows {
            for at in (0..to.stride).step_by(I::LANES) {
                let mut x = isa.splat(0.0);
                if row < self.span.rows() && at < d {
                    let (h, query) = self.span.row(row);
                    let from = self.span.batch * batch + h * head + query * position;
                    x = isa.mul(scale, self.q.load(isa, from + at, I::LANES.min(d - at)));
                }
                // SAFETY: the caller's promise; a stride is a whole number of registers.
                unsafe { isa.store(to.data.add(row * to.stride + at), x) };
            }
        }
    }

    /// Takes a tile of keys in.
    ///
    /// # Safety
    /// The buffers are laid out for this unit, and `keys` are at most a tile of the problem's.
    #[inline(always)]
    unsafe fn run_tile<I: Isa>(
        &self,
        isa: I,
        keys: Range<usize>,
        visible: &[(usize, usize)],
        buffers: Buffers,
        few: bool,
    ) {
        let problem = self.problem;
        let (rows, n) = (visible.len(), keys.len());
        let padded_rows = rows.next_multiple_of(tile_rows::<I>());
        let padded = pad_columns(n);
        let tile = |source: Source<S>, [batch, head, position]: [usize; 3], d: usize| {
            let at = self.span.batch * batch + self.span.kv_head * head + keys.start * position;
            TileRows { data: source.part(&(at..at + (n - 1) * position + d)), stride: position, n, d }
        };
        let k = tile(self.k, problem.k_strides, problem.d);
        let v = tile(self.v, problem.v_strides, problem.dv);
        let Buffers { q, s, running, .. } = buffers;
        let (q, weights) = (q.cast_const(), s.cast_const());
        // SAFETY: the tiles of K and V were checked; the buffers hold padded rows and columns.
        unsafe {
            if few {
                scores(isa, q, k, v, s, rows);
            } else {
                pack_keys(isa, k, buffers.k);
                multiply::<I, false>(isa, q, buffers.k, s, [padded_rows, padded, problem.d]);
            }
            for (row, &(begin, end)) in visible.iter().enumerate() {
                let s = s.data.add(row * s.stride);
                if begin.max(keys.start) >= end.min(keys.end) {
                    s.write_bytes(0, padded);
                    continue;
                }
                finish_scores(isa, problem, &self.span, row, (keys.clone(), begin..end), s, padded);
                running.take(isa, row, s, padded);
            }
            if few {
                add_values(isa, weights, v, running.out, rows);
            } else {
                pack_values(isa, v, buffers.v);
                multiply::<I, true>(isa, weights, buffers.v, running.out, [padded_rows, running.columns, n]);
            }
        }
    }

    /// Writes `out = O / l` and `lse = m + ln l`.
    ///
    /// # Safety
    /// `running` holds the rows of this unit.
    #[inline(always)]
    pub(super) unsafe fn write<I: Isa>(&self, isa: I, running: Running) {
        let Problem { heads, queries, dv, .. } = *self.problem;
        for row in 0..self.span.rows() {
            let (head, query) = self.span.row(row);
            let index = (self.span.batch * heads + head) * queries + query;
            // SAFETY: the caller's promise; the result's elements are checked, and no other unit has this row.
            unsafe {
                let (max, sum) = (*running.max.add(row), *running.sum.add(row));
                // Nothing seen: O is 0 already.
                let by = isa.splat(if sum == 0.0 { 0.0 } else { 1.0 / sum });
                let from = running.out.data.add(row * running.out.stride);
                for at in (0..dv).step_by(I::LANES) {
                    let y = isa.mul(isa.load(from.add(at)), by);
                    self.out.store(isa, index * dv + at, y, I::LANES.min(dv - at));
                }
                if let Some(lse) = self.lse {
                    lse.part(&(index..index + 1)).write(max + sum.ln());
                }
            }
        }
    }
}
