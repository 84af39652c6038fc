//! One unit: rows of one key head against part of the keys.

use super::decode_softmax::Running;
use super::packing::{TileRows, pad_columns};
use super::panel::MAX_PANEL_ROWS;
use super::panel_softmax::PanelSums;
use super::partials::PartialSums;
use super::problem::{Problem, UnitRows};
use crate::Storage;
use crate::rows::{AnySource, AnyTarget, Source, Target};
use crate::simd::Isa;
use core::f32::consts::LN_2;
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
    pub(super) span: UnitRows,
    pub(super) keys: Range<usize>,
    /// Where sums go that are to be merged; none writes the result.
    pub(super) partial: Option<PartialSums>,
    /// How far ahead a decode prefetches, bytes of a head; 0 for not at all,
    /// [`OWN_PREFETCH`](crate::Launch::OWN_PREFETCH) as it suits it.
    pub(super) prefetch: usize,
}

impl<S: Storage> Unit<'_, S> {
    /// `keys` of K or V, of `d` elements each; checked.
    #[inline(always)]
    pub(super) fn rows_of(
        &self,
        source: Source<S>,
        [batch, head, position]: [usize; 3],
        d: usize,
        keys: &Range<usize>,
    ) -> TileRows<S> {
        let at = self.span.batch * batch + self.span.kv_head * head + keys.start * position;
        let n = keys.len();
        TileRows { data: source.part(&(at..at + (n - 1) * position + d)), stride: position, n, d }
    }

    /// The keys of this unit that causal order and segments leave to each row, in the first of `bounds`.
    #[inline(always)]
    pub(super) fn visible<'a>(&self, bounds: &'a mut [(usize, usize)]) -> &'a [(usize, usize)] {
        let bounds = &mut bounds[..self.span.rows()];
        for (row, bounds) in bounds.iter_mut().enumerate() {
            let keys = self.problem.visible(self.span.row(row).1);
            let begin = keys.start.max(self.keys.start);
            *bounds = (begin, keys.end.min(self.keys.end).max(begin));
        }
        bounds
    }

    /// The row's place in the lse.
    #[inline(always)]
    fn index(&self, row: usize) -> usize {
        let Problem { heads, queries, .. } = *self.problem;
        let (head, query) = self.span.row(row);
        (self.span.batch * heads + head) * queries + query
    }

    /// Element of the result where a row begins.
    #[inline(always)]
    fn start(&self, row: usize) -> usize {
        let Problem { heads, queries, dv, by_position, .. } = *self.problem;
        if !by_position {
            return self.index(row) * dv;
        }
        let (head, query) = self.span.row(row);
        ((self.span.batch * queries + query) * heads + head) * dv
    }

    /// Writes `out = O / l` and `lse = m + ln l` of rows beside each other.
    ///
    /// # Safety
    /// `running` holds the rows of this unit.
    #[inline(always)]
    pub(super) unsafe fn write<I: Isa>(&self, isa: I, running: Running) {
        let dv = self.problem.dv;
        for row in 0..self.span.rows() {
            // SAFETY: `running` holds the rows of this unit (`# Safety` of `Unit::write`); the result's elements are
            // checked, and no other unit has this row.
            unsafe {
                let by = isa.splat(self.finish(row, *running.max.add(row), *running.sum.add(row)));
                let from = running.out.add(row * running.columns);
                for at in (0..dv).step_by(I::LANES) {
                    let y = isa.mul(isa.load(from.add(at)), by);
                    self.out.store(isa, self.start(row) + at, y, I::LANES.min(dv - at));
                }
            }
        }
    }

    /// Writes a panel's rows, or hands its sums over to be merged.
    ///
    /// # Safety
    /// `sums` are those of the panel of `width` rows at `first`.
    #[inline(always)]
    pub(super) unsafe fn write_panel<I: Isa>(&self, isa: I, [first, width]: [usize; 2], sums: PanelSums) {
        let dv = self.problem.dv;
        let live = width.min(self.span.rows() - first);
        let columns = pad_columns(dv);
        let (mut by, mut starts) = ([0.0f32; MAX_PANEL_ROWS], [0; MAX_PANEL_ROWS]);
        // SAFETY: `sums` are those of the panel of `width` rows at `first` (`# Safety` of `Unit::write_panel`); the
        // result's elements are checked, and no other unit has these rows.
        unsafe {
            for (row, (by, start)) in by[..live].iter_mut().zip(&mut starts).enumerate() {
                *start = self.start(first + row);
                let (max, sum) = (*sums.max.add(row), *sums.sum.add(row));
                *by = match self.partial {
                    Some(block) => block.set(first + row, max, sum),
                    None => self.finish(first + row, max, sum),
                };
            }
            for column in (0..live).step_by(I::LANES) {
                for at in (0..dv).step_by(I::LANES) {
                    let mut square = [isa.splat(0.0); 16];
                    for (i, row) in square[..I::LANES].iter_mut().enumerate() {
                        *row = isa.load(sums.out.add((at + i) * width + column));
                    }
                    isa.transpose(&mut square);
                    for (i, &row) in square[..I::LANES.min(live - column)].iter().enumerate() {
                        let index = first + column + i;
                        match self.partial {
                            Some(block) => isa.store(block.running(columns).out.add(index * columns + at), row),
                            None => {
                                let y = isa.mul(row, isa.splat(by[column + i]));
                                self.out.store(isa, starts[column + i] + at, y, I::LANES.min(dv - at));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Writes a row's lse and returns `1 / l`: 0 for a row that saw nothing, whose O is 0 already, and NaN for one that
    /// saw +∞.
    #[inline(always)]
    fn finish(&self, row: usize, max: f32, sum: f32) -> f32 {
        let sum = if max == f32::INFINITY { f32::NAN } else { sum };
        if let Some(lse) = self.lse {
            let index = self.index(row);
            // SAFETY: `part` checks the index; no other unit has this row.
            unsafe { lse.part(&(index..index + 1)).write((max + sum.log2()) * LN_2) };
        }
        if sum == 0.0 { 0.0 } else { 1.0 / sum }
    }
}
