//! The online softmax of a panel: a row is a lane, so maxima and sums run down the keys.

use super::arithmetic::Arithmetic;
use super::exponent::power_of_two;
use super::panel::MAX_PANEL_ROWS;
use super::problem::{CheckedScores, Problem, UnitRows};
use crate::math::tanh;
use crate::simd::Isa;
use core::f32::consts::LOG2_E;
use core::ops::Range;

/// Scores of a panel against keys: `[keys][REGS · LANES]`.
#[derive(Debug, Clone)]
pub(super) struct PanelScores {
    pub(super) data: *mut f32,
    /// Floats from one key to the next; an online softmax has nothing between them.
    pub(super) stride: usize,
    /// First row of the panel in its unit.
    pub(super) first: usize,
    /// The keys.
    pub(super) keys: Range<usize>,
}

/// Sums of a panel's rows, relative to `2^max`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PanelSums {
    /// Largest score of each row, times log₂ e.
    pub(super) max: *mut f32,
    /// `Σ 2^(score - max)`.
    pub(super) sum: *mut f32,
    /// `Σ 2^(score - max) · v`, transposed: `[columns][REGS · LANES]`.
    pub(super) out: *mut f32,
    pub(super) columns: usize,
}

/// Products of a panel that are to become scores.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawScores<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) span: &'a UnitRows,
    pub(super) scores: &'a PanelScores,
    /// Makes products scores where these are special.
    pub(super) factor: Option<f32>,
}

/// Finishes scores: softcap, bias, base 2 where they are special, and -∞ where a key is hidden. Returns the largest of
/// each row.
///
/// # Safety
/// The scores are writable; `visible` has the keys that causal order and segments leave to each row of the unit.
#[inline(always)]
pub(super) unsafe fn finish_scores<I: Isa, const REGS: usize>(
    isa: I,
    RawScores { problem, span, scores, factor }: RawScores<'_>,
    visible: &[(usize, usize)],
) -> [I::V; REGS] {
    let hidden = isa.splat(f32::NEG_INFINITY);
    let n = scores.keys.len();
    let mut most = [hidden; REGS];
    for (g, most) in most.iter_mut().enumerate() {
        // Bounds of the lanes, relative to the first key; a row that does not exist sees all.
        let (mut begins, mut ends) = ([0.0f32; 16], [f32::INFINITY; 16]);
        for lane in 0..I::LANES {
            if let Some(&(begin, end)) = visible.get(scores.first + g * I::LANES + lane) {
                begins[lane] = begin.saturating_sub(scores.keys.start).min(n) as f32;
                ends[lane] = end.saturating_sub(scores.keys.start).min(n) as f32;
            }
        }
        // SAFETY: arrays of 16 floats; the scores as the `# Safety` clause of `finish_scores` says.
        unsafe {
            let (begins, ends) = (isa.load(begins.as_ptr()), isa.load(ends.as_ptr()));
            for from in (0..n).step_by(I::LANES) {
                let keys = I::LANES.min(n - from);
                let square = Square { first: scores.first + g * I::LANES, keys: scores.keys.start + from, n: keys };
                let (mut bias, mut mask) = ([isa.splat(0.0); 16], [isa.splat(0.0); 16]);
                if let Some(scores) = &problem.bias {
                    square.read(isa, span, scores, &mut bias);
                }
                if let Some(scores) = &problem.mask {
                    square.read(isa, span, scores, &mut mask);
                }
                for i in 0..keys {
                    let at = scores.data.add((from + i) * scores.stride + g * I::LANES);
                    let mut score = isa.load(at);
                    if problem.is_special() {
                        score = scale(isa, score, factor);
                        if let Some(cap) = problem.softcap {
                            score = isa.mul(isa.splat(cap), tanh(isa, score));
                        }
                        if problem.bias.is_some() {
                            score = isa.add(score, bias[i]);
                        }
                        score = isa.mul(score, isa.splat(LOG2_E));
                    }
                    score = isa.select(isa.lt(isa.splat(0.0), mask[i]), hidden, score);
                    let key = isa.splat((from + i) as f32);
                    score = isa.select(isa.lt(key, begins), hidden, isa.select(isa.lt(key, ends), score, hidden));
                    isa.store(at, score);
                    *most = isa.max(score, *most);
                }
            }
        }
    }
    most
}

/// `LANES` rows of a unit against up to as many keys.
struct Square {
    first: usize,
    keys: usize,
    n: usize,
}

impl Square {
    /// Reads numbers of these scores: a register a key, a lane a row. Rows that do not exist have 0.
    #[inline(always)]
    fn read<I: Isa, T: Number>(&self, isa: I, span: &UnitRows, from: &CheckedScores<T>, square: &mut [I::V; 16]) {
        for (lane, to) in square[..I::LANES].iter_mut().enumerate() {
            if self.first + lane >= span.rows() {
                break;
            }
            let (head, query) = span.row(self.first + lane);
            let (data, stride) = from.row(span.batch, head, query, &(self.keys..self.keys + self.n));
            let mut row = [0.0f32; 16];
            for (j, x) in row[..self.n].iter_mut().enumerate() {
                // SAFETY: `row` checked the addresses of `n` keys.
                *x = unsafe { *data.add(j * stride) }.number();
            }
            // SAFETY: 16 floats.
            *to = unsafe { isa.load(row.as_ptr()) };
        }
        isa.transpose(square);
    }
}

/// Scores that are not yet exponents of 2. (A fused `score · factor - max` would not be 0 for the largest one.)
#[inline(always)]
fn scale<I: Isa>(isa: I, score: I::V, factor: Option<f32>) -> I::V {
    match factor {
        Some(factor) => isa.mul(score, isa.splat(factor)),
        None => score,
    }
}

/// What a bias and a mask hold.
trait Number: Copy {
    fn number(self) -> f32;
}

impl Number for f32 {
    #[inline(always)]
    fn number(self) -> f32 {
        self
    }
}

impl Number for u8 {
    #[inline(always)]
    fn number(self) -> f32 {
        f32::from(self)
    }
}

impl PanelSums {
    /// Nothing seen yet.
    ///
    /// # Safety
    /// All are writable for `width` rows.
    pub(super) unsafe fn clear(self, width: usize) {
        // SAFETY: all are writable for `width` rows (`# Safety` of `PanelSums::clear`); zero bits are 0.0.
        unsafe {
            self.clear_rows(width);
            self.out.write_bytes(0, width * self.columns);
        }
    }

    /// The same without `out`, for who writes it before it is read.
    ///
    /// # Safety
    /// Maxima and sums are writable for `width` rows.
    pub(super) unsafe fn clear_rows(self, width: usize) {
        debug_assert!(width <= MAX_PANEL_ROWS);
        // SAFETY: writable for `width` rows (`# Safety` of `PanelSums::clear_rows`); zero bits are 0.0.
        unsafe {
            for row in 0..width {
                self.max.add(row).write(f32::NEG_INFINITY);
            }
            self.sum.write_bytes(0, width);
        }
    }

    /// Takes scores in: turns them into weights `2^(factor · score - max)`, words of them
    /// `[keys in words][REGS · LANES]`, and makes what came before relative to the new maximum. `most` are the largest
    /// scores of the rows; no factor is 1.
    ///
    /// # Safety
    /// The scores are writable; `self` holds a panel of `REGS` registers.
    #[inline(always)]
    pub(super) unsafe fn take<A: Arithmetic, const REGS: usize>(
        self,
        arithmetic: A,
        scores: &PanelScores,
        factor: Option<f32>,
        most: [<A::Isa as Isa>::V; REGS],
    ) {
        let isa = arithmetic.isa();
        let lanes = <A::Isa as Isa>::LANES;
        let zero = isa.splat(0.0);
        let (mut shift, mut grown) = ([zero; REGS], zero);
        // SAFETY: the scores are writable; `self` holds a panel of `REGS` registers (`# Safety` of `PanelSums::take`).
        unsafe {
            let mut old = [zero; REGS];
            for g in 0..REGS {
                old[g] = isa.load(self.max.add(g * lanes));
                let max = isa.max(scale(isa, most[g], factor), old[g]);
                isa.store(self.max.add(g * lanes), max);
                grown = isa.select(isa.lt(old[g], max), isa.splat(1.0), grown);
                // A row that has seen nothing but -∞ subtracts a finite number, and its weights are 0.
                shift[g] = isa.max(isa.splat(f32::MIN), max);
            }
            if isa.reduce_max(grown) > 0.0 {
                self.rescale(isa, old, shift);
            }
            let mut sums = [zero; REGS];
            let n = scores.keys.len();
            for (word, j) in (0..n).step_by(A::DEPTH).enumerate() {
                for (g, sum) in sums.iter_mut().enumerate() {
                    let score = isa.load(scores.data.add((j * REGS + g) * lanes));
                    let even = power_of_two(isa, isa.sub(scale(isa, score, factor), shift[g]));
                    *sum = isa.add(*sum, even);
                    let mut odd = zero;
                    if A::DEPTH == 2 && j + 1 < n {
                        let score = isa.load(scores.data.add(((j + 1) * REGS + g) * lanes));
                        odd = power_of_two(isa, isa.sub(scale(isa, score, factor), shift[g]));
                        *sum = isa.add(*sum, odd);
                    }
                    // Word by word behind what was read.
                    isa.store(scores.data.add((word * REGS + g) * lanes), arithmetic.pair(even, odd));
                }
            }
            for (g, &sum) in sums.iter().enumerate() {
                let to = self.sum.add(g * lanes);
                isa.store(to, isa.add(isa.load(to), sum));
            }
        }
    }

    /// Sums relative to `old` become relative to `new`.
    ///
    /// # Safety
    /// As [`PanelSums::take`].
    #[inline(always)]
    pub(super) unsafe fn rescale<I: Isa, const REGS: usize>(self, isa: I, old: [I::V; REGS], new: [I::V; REGS]) {
        let mut by = old;
        for (by, &new) in by.iter_mut().zip(&new) {
            *by = power_of_two(isa, isa.sub(*by, new));
        }
        // SAFETY: the scores are writable; `self` holds a panel of `REGS` registers (`# Safety` of `PanelSums::take`).
        unsafe {
            for (g, &by) in by.iter().enumerate() {
                let to = self.sum.add(g * I::LANES);
                isa.store(to, isa.mul(isa.load(to), by));
            }
            for column in 0..self.columns {
                for (g, &by) in by.iter().enumerate() {
                    let to = self.out.add((column * REGS + g) * I::LANES);
                    isa.store(to, isa.mul(isa.load(to), by));
                }
            }
        }
    }
}
