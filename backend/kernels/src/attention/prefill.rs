//! A unit of many rows: panels of rows against tiles of keys, both products in the register tile.

#[cfg(target_arch = "x86_64")]
use super::arithmetic::Bf16Pairs;
use super::arithmetic::{Arithmetic, F32Words};
use super::packing::{PanelQueries, pack_queries, pack_values, widen_keys};
use super::panel::{Left, Panel, Right, left_columns, multiply, panel_rows};
use super::panel_softmax::{PanelScores, RawScores, finish_scores};
use super::prefill_buffers::PrefillBuffers;
use super::schedule::Schedule;
use super::tiles::MAX_ROWS;
use super::unit::Unit;
#[cfg(target_arch = "x86_64")]
use super::{amx, multiplies_pairs};
use crate::Storage;
use crate::rows::AnySource;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx512Bf16, Bf16Kernel};
use crate::simd::{Isa, Kernel, Tier};
use core::ops::Range;
use half::bf16;

/// Rows of a unit in panels.
pub(super) struct PrefillUnit<'a, S>(pub(super) Unit<'a, S>);

/// A tile of keys as the products read it.
#[derive(Debug, Clone)]
struct KeyTile {
    keys: Range<usize>,
    k: *const u8,
    /// Bytes from one key to the next.
    k_stride: usize,
    v: *const u8,
}

impl<S: Storage> Kernel for PrefillUnit<'_, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        self.run(F32Words(isa));
    }
}

#[cfg(target_arch = "x86_64")]
impl Bf16Kernel for PrefillUnit<'_, bf16> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        self.run(Bf16Pairs(isa));
    }
}

/// Runs in f32.
pub(super) fn run_f32<S: Storage>(unit: PrefillUnit<'_, S>, tier: Tier, _schedule: &Schedule) {
    tier.run(unit);
}

/// Runs by tiles where the schedule says so, in bf16 where the tier multiplies pairs and the queries are bf16 as well,
/// in f32 elsewhere.
pub(super) fn run_bf16(unit: PrefillUnit<'_, bf16>, tier: Tier, schedule: &Schedule) {
    #[cfg(target_arch = "x86_64")]
    if schedule.amx {
        return amx::run(unit.0, schedule.keys);
    }
    #[cfg(target_arch = "x86_64")]
    if multiplies_pairs(tier, unit.0.problem.d)
        && matches!(unit.0.q, AnySource::Bf16(_))
        && let Some(isa) = Avx512Bf16::detect()
    {
        return isa.run(unit);
    }
    run_f32(unit, tier, schedule);
}

impl<S: Storage> PrefillUnit<'_, S> {
    #[inline(always)]
    fn run<A: Arithmetic>(self, arithmetic: A) {
        let isa = arithmetic.isa();
        let unit = &self.0;
        let problem = unit.problem;
        let rows = unit.span.rows();
        let mut visible = [(0, 0); MAX_ROWS];
        let visible = unit.visible(&mut visible);
        let padded = rows.next_multiple_of(<A::Isa as Isa>::LANES);
        let (mut scratch, buffers) = PrefillBuffers::lay_out::<A>(problem, padded, Self::reads_keys::<A>());
        let whole = panel_rows::<A::Isa>();
        let (mut begin, mut end) = (unit.keys.end, unit.keys.start);
        for first in (0..padded).step_by(whole) {
            let panel = Panel::new(first, whole.min(padded - first), visible);
            if !panel.any.is_empty() {
                (begin, end) = (begin.min(panel.any.start), end.max(panel.any.end));
            }
            // SAFETY: the buffers were laid out for these rows.
            unsafe {
                let q = buffers.q.add(first * (problem.d / A::DEPTH));
                let width = panel.width;
                pack_queries(arithmetic, PanelQueries { problem, span: &unit.span, q: unit.q, first, width }, q);
                buffers.sums::<A::Isa>(problem, first).clear(panel.width);
            }
        }
        // Tiles begin at multiples of their size, so that a row's sums do not depend on the rows beside it.
        let size = problem.tiles.keys;
        let mut at = begin;
        while at < end {
            let keys = at / size * size..(at / size * size + size).min(problem.keys).min(end);
            // SAFETY: the buffers were laid out for these rows; the keys are within the problem's.
            unsafe {
                let tile = self.prepare(arithmetic, keys.clone(), &buffers);
                for first in (0..padded).step_by(whole) {
                    let panel = Panel::new(first, whole.min(padded - first), visible);
                    self.run_panel(arithmetic, &panel, &tile, &buffers, visible);
                }
            }
            at = keys.end;
        }
        for first in (0..padded).step_by(whole) {
            let panel = Panel::new(first, whole.min(padded - first), visible);
            // SAFETY: the buffers were laid out for these rows, and hold the sums of all of them.
            unsafe { unit.write_panel(isa, [first, panel.width], buffers.sums::<A::Isa>(problem, first)) };
        }
        // Kept until here for the addresses.
        let _ = scratch.as_mut_ptr();
    }

    /// Whether words of keys are read in their own layout.
    const fn reads_keys<A: Arithmetic>() -> bool {
        size_of::<S>() * A::DEPTH == 4
    }

    /// Packs what of a tile is not read in its own layout.
    ///
    /// # Safety
    /// The buffers are laid out for this unit, and `keys` are at most a tile of the problem's.
    #[inline(always)]
    unsafe fn prepare<A: Arithmetic>(&self, arithmetic: A, keys: Range<usize>, buffers: &PrefillBuffers) -> KeyTile {
        let unit = &self.0;
        let problem = unit.problem;
        let k = unit.rows_of(unit.k, problem.k_strides, problem.d, &keys);
        let v = unit.rows_of(unit.v, problem.v_strides, problem.dv, &keys);
        // SAFETY: `rows_of` checked K and V; the buffers hold a tile.
        unsafe {
            pack_values(arithmetic, v, buffers.v);
            let (data, stride) = if Self::reads_keys::<A>() {
                (k.data.cast(), k.stride * size_of::<S>())
            } else {
                widen_keys(arithmetic.isa(), k, buffers.k, k.d);
                (buffers.k.cast_const().cast(), k.d * 4)
            };
            KeyTile { keys, k: data, k_stride: stride, v: buffers.v.cast_const().cast() }
        }
    }

    /// # Safety
    /// As [`PrefillUnit::prepare`], which made the tile.
    #[inline(always)]
    unsafe fn run_panel<A: Arithmetic>(
        &self,
        arithmetic: A,
        panel: &Panel,
        tile: &KeyTile,
        buffers: &PrefillBuffers,
        visible: &[(usize, usize)],
    ) {
        // SAFETY: the buffers are laid out for this unit, and `keys` are at most a tile of the problem's (`# Safety` of
        // `PrefillUnit::prepare`).
        unsafe {
            match (<A::Isa as Isa>::TIER, panel.width / <A::Isa as Isa>::LANES) {
                (Tier::Portable, 2) => self.run_tile::<A, 2, 2>(arithmetic, panel, tile, buffers, visible),
                (Tier::Portable, _) => self.run_tile::<A, 2, 1>(arithmetic, panel, tile, buffers, visible),
                (Tier::Avx2, 2) => self.run_tile::<A, 6, 2>(arithmetic, panel, tile, buffers, visible),
                (Tier::Avx2, _) => self.run_tile::<A, 6, 1>(arithmetic, panel, tile, buffers, visible),
                (_, 3) => self.run_tile::<A, 8, 3>(arithmetic, panel, tile, buffers, visible),
                (_, 2) => self.run_tile::<A, 8, 2>(arithmetic, panel, tile, buffers, visible),
                (_, _) => self.run_tile::<A, 8, 1>(arithmetic, panel, tile, buffers, visible),
            }
        }
    }

    /// Takes a tile of keys in, for a panel of `REGS` registers.
    ///
    /// # Safety
    /// As [`PrefillUnit::run_panel`].
    #[inline(always)]
    unsafe fn run_tile<A: Arithmetic, const HEIGHT: usize, const REGS: usize>(
        &self,
        arithmetic: A,
        panel: &Panel,
        tile: &KeyTile,
        buffers: &PrefillBuffers,
        visible: &[(usize, usize)],
    ) {
        let isa = arithmetic.isa();
        let unit = &self.0;
        let problem = unit.problem;
        // A word of keys is not cut.
        let begin = panel.any.start.max(tile.keys.start) - tile.keys.start;
        let begin = begin / A::DEPTH * A::DEPTH;
        let end = panel.any.end.min(tile.keys.end).saturating_sub(tile.keys.start);
        if begin >= end {
            return;
        }
        let keys = tile.keys.start + begin..tile.keys.start + end;
        let width = REGS * <A::Isa as Isa>::LANES;
        let words = problem.d / A::DEPTH;
        let scores = PanelScores { data: buffers.s, stride: width, first: panel.first, keys: keys.clone() };
        let sums = buffers.sums::<A::Isa>(self.0.problem, panel.first);
        // Keys that need no finishing: all rows see them. They end with a register tile, or with all keys.
        let mut plain = 0;
        if problem.is_plain() && panel.all.start <= keys.start {
            plain = panel.all.end.min(keys.end).saturating_sub(keys.start);
            if plain < keys.len() {
                plain = plain / HEIGHT * HEIGHT;
            }
        }
        // Queries that are widened are scaled on the way.
        let scale = (A::DEPTH == 2).then_some(problem.q_factor());
        let factor = if problem.is_special() { None } else { scale };
        // SAFETY: the `# Safety` clause of `PrefillUnit::run_panel`; scores have room for a whole register tile more
        // than the keys.
        unsafe {
            let mut most = [isa.splat(f32::NEG_INFINITY); REGS];
            for j in (begin..end).step_by(HEIGHT) {
                let data = tile.k.add(j * tile.k_stride);
                let left = Left { data, row: tile.k_stride, step: 4, live: HEIGHT.min(end - j) };
                let q = Right::panel::<A::Isa, REGS>(buffers.q.add(panel.first * words));
                let products = multiply::<A, HEIGHT, REGS>(arithmetic, left, q, words);
                if j - begin < plain {
                    for products in &products {
                        for (most, &x) in most.iter_mut().zip(products) {
                            *most = isa.max(x, *most);
                        }
                    }
                }
                for (r, products) in products.iter().enumerate() {
                    for (g, &x) in products.iter().enumerate() {
                        isa.store(buffers.s.add((j - begin + r) * width + g * <A::Isa as Isa>::LANES), x);
                    }
                }
            }
            if plain < keys.len() {
                let data = scores.data.add(plain * width);
                let rest = PanelScores { data, keys: keys.start + plain..keys.end, ..scores };
                let raw = RawScores { problem, span: &unit.span, scores: &rest, factor: scale };
                let others: [_; REGS] = finish_scores(isa, raw, visible);
                for (most, &x) in most.iter_mut().zip(&others) {
                    *most = isa.max(x, *most);
                }
            }
            sums.take(arithmetic, &scores, factor, most);
            let beside = left_columns::<A::Isa>();
            let tile_words = tile.keys.len().div_ceil(A::DEPTH);
            for column in (0..problem.dv).step_by(HEIGHT) {
                let at = column / beside * tile_words * beside + begin / A::DEPTH * beside + column % beside;
                let left = Left { data: tile.v.add(at * 4), row: 4, step: beside * 4, live: HEIGHT };
                let weights = Right::panel::<A::Isa, REGS>(buffers.s);
                let depth = (end - begin).div_ceil(A::DEPTH);
                let products = multiply::<A, HEIGHT, REGS>(arithmetic, left, weights, depth);
                for (r, products) in products.iter().enumerate() {
                    for (g, &x) in products.iter().enumerate() {
                        let to = sums.out.add((column + r) * width + g * <A::Isa as Isa>::LANES);
                        isa.store(to, isa.add(isa.load(to), x));
                    }
                }
            }
        }
    }
}
