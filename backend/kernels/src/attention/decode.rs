//! A unit of few rows: tiles of keys read in their own layout.

use super::decode_products::{PaddedRows, ScoredTile, WeightedTile, add_values, arrange, arrange_back, scores};
use super::decode_softmax::{RowOfTile, Running, finish_scores};
use super::packing::{TileRows, pad_columns};
use super::problem::Problem;
use super::tiles::DECODE_ROWS;
use super::unit::Unit;
use crate::scratch::{Scratch, round_to_line};
use crate::simd::{Isa, Kernel};
use crate::{Launch, Storage};
use core::ops::Range;

/// Keys and values are prefetched so many rows ahead of their use: what arrives while memory answers. (4096 keys, 16
/// heads on 8 of 128, one and two threads of a Granite Rapids, which read 15.7 and 30.5 GB/s: bf16 11.3 to 13.4 and 21
/// to 24 where values prefetched while keys are multiplied, and the other way round, gave 10.1 and 20.1; f32 12.2 to
/// 13.1 and 23.8 to 26.7 for 13.1 and 24.6; bf16 16 rows ahead 11.7 and 21.8. Not measured on AMD.)
const ROWS_AHEAD: usize = 8;

/// At most [`DECODE_ROWS`] rows.
pub(super) struct DecodeUnit<'a, S>(pub(super) Unit<'a, S>);

/// Addresses of a unit's operands in its scratch memory.
#[derive(Debug, Clone, Copy)]
struct DecodeBuffers {
    q: PaddedRows<*mut f32>,
    s: PaddedRows<*mut f32>,
    running: Running,
}

impl<S: Storage> Kernel for DecodeUnit<'_, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let unit = &self.0;
        let rows = unit.span.rows();
        let (mut visible, mut begin, mut end) = ([(0, 0); DECODE_ROWS], unit.keys.end, unit.keys.start);
        for (row, visible) in visible[..rows].iter_mut().enumerate() {
            let keys = unit.problem.visible(unit.span.row(row).1);
            *visible = (keys.start, keys.end);
            if !keys.is_empty() {
                (begin, end) = (begin.min(keys.start), end.max(keys.end));
            }
        }
        let (begin, end) = (begin.max(unit.keys.start), end.min(unit.keys.end));
        let (mut scratch, buffers) = self.lay_out(rows);
        // SAFETY: the buffers were laid out for these rows.
        unsafe {
            self.pack_queries(isa, buffers.q, rows);
            buffers.running.clear(rows);
        }
        let mut first = begin;
        while first < end {
            let keys = first..(first + unit.problem.tiles.keys).min(end);
            // SAFETY: the buffers were laid out for these rows; the keys are within the problem's.
            unsafe { self.run_tile(isa, keys.clone(), &visible[..rows], buffers) };
            first = keys.end;
        }
        // SAFETY: the buffers were laid out for these rows.
        unsafe {
            for row in 0..rows {
                arrange_back::<I, S>(buffers.running.out.add(row * buffers.running.columns), unit.problem.dv);
            }
            if unit.partial.is_none() {
                unit.write(isa, buffers.running);
            }
        }
        // Kept until here for the addresses.
        let _ = scratch.as_mut_ptr();
    }
}

impl<S: Storage> DecodeUnit<'_, S> {
    /// Takes this thread's scratch memory and divides it.
    #[inline(always)]
    fn lay_out(&self, rows: usize) -> (Scratch, DecodeBuffers) {
        let Problem { d, dv, tiles, .. } = *self.0.problem;
        let (q_stride, columns) = (pad_columns(d), pad_columns(dv));
        let line = round_to_line(rows);
        let sizes = [rows * q_stride, rows * tiles.keys, rows * columns, line, line];
        let total: usize = sizes.iter().map(|&floats| round_to_line(floats)).sum();
        let mut scratch = Scratch::take(total);
        let mut at = scratch.as_mut_ptr();
        let [q, s, out, max, sum] = sizes.map(|floats| {
            let begin = at;
            at = at.wrapping_add(round_to_line(floats));
            begin
        });
        let own = Running { max, sum, out, columns };
        let running = self.0.partial.map_or(own, |block| block.running(columns));
        (
            scratch,
            DecodeBuffers {
                q: PaddedRows { data: q, stride: q_stride },
                s: PaddedRows { data: s, stride: tiles.keys },
                running,
            },
        )
    }

    /// Q, scaled, as f32, padded with zeros, in the order of [`arrange`].
    ///
    /// # Safety
    /// `to` is writable for `rows` rows.
    #[inline(always)]
    unsafe fn pack_queries<I: Isa>(&self, isa: I, to: PaddedRows<*mut f32>, rows: usize) {
        let unit = &self.0;
        let Problem { d, q_strides: [batch, head, position], .. } = *unit.problem;
        let scale = isa.splat(unit.problem.q_factor());
        for row in 0..rows {
            let (h, query) = unit.span.row(row);
            let from = unit.span.batch * batch + h * head + query * position;
            for at in (0..to.stride).step_by(I::LANES) {
                let mut x = isa.splat(0.0);
                if at < d {
                    x = isa.mul(scale, unit.q.load(isa, from + at, I::LANES.min(d - at)));
                }
                // SAFETY: `to` is writable for `rows` rows (`# Safety` of `DecodeUnit::pack_queries`); a stride is a
                // whole number of registers.
                unsafe { isa.store(to.data.add(row * to.stride + at), x) };
            }
            // SAFETY: the row was just written.
            unsafe { arrange::<I, S>(isa, to.data.add(row * to.stride), d) };
        }
    }

    /// Takes a tile of keys in.
    ///
    /// # Safety
    /// The buffers are laid out for this unit, and `keys` are at most a tile of the problem's.
    #[inline(always)]
    unsafe fn run_tile<I: Isa>(&self, isa: I, keys: Range<usize>, visible: &[(usize, usize)], buffers: DecodeBuffers) {
        let unit = &self.0;
        let problem = unit.problem;
        let (rows, n) = (visible.len(), keys.len());
        let padded = pad_columns(n);
        let k: TileRows<S> = unit.rows_of(unit.k, problem.k_strides, problem.d, &keys);
        let v = unit.rows_of(unit.v, problem.v_strides, problem.dv, &keys);
        let DecodeBuffers { q, s, running } = buffers;
        let ahead = |d: usize| match unit.prefetch {
            Launch::OWN_PREFETCH => ROWS_AHEAD,
            bytes => bytes.div_ceil(size_of::<S>() * d.max(1)),
        };
        // SAFETY: the tiles of K and V were checked; the buffers hold padded columns.
        unsafe {
            scores(isa, q.cast_const(), ScoredTile { keys: k, ahead: ahead(problem.d) }, s, rows);
            for (row, &(begin, end)) in visible.iter().enumerate() {
                let s = s.data.add(row * s.stride);
                if begin.max(keys.start) >= end.min(keys.end) {
                    s.write_bytes(0, padded);
                    continue;
                }
                let place = RowOfTile { row, keys: keys.clone(), visible: begin..end, padded };
                finish_scores(isa, problem, &unit.span, place, s);
                running.take(isa, row, s, padded);
            }
            let out = PaddedRows { data: running.out, stride: running.columns };
            add_values(isa, s.cast_const(), WeightedTile { values: v, ahead: ahead(problem.dv) }, out, rows);
        }
    }
}
