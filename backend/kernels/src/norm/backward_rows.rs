//! The kernel: gradients of a few rows at a time.

use crate::Storage;
use crate::rows::{RowReader, UNROLL, load, load_or, prefetch_block, store};
use crate::simd::{Isa, Kernel};

/// Rows of a batch, at most.
pub(super) const MOST_ROWS: usize = 4;

/// Rows of an operand.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    pub(super) reader: RowReader,
    /// Elements from one row to the next.
    pub(super) stride: usize,
    /// The row that is this thread's first.
    pub(super) first: usize,
}

impl Operand {
    #[inline(always)]
    fn read<I: Isa>(&self, isa: I, row: usize, slot: usize) -> *const f32 {
        self.reader.read_into(isa, (self.first + row) * self.stride, slot)
    }
}

/// How rows are walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) rows: usize,
    pub(super) d: usize,
    /// Rows of a batch, 1 to [`MOST_ROWS`].
    pub(super) batch: usize,
    /// Whether dx is stored non-temporally.
    pub(super) stream: bool,
    /// Elements ahead of which the first walk prefetches rows that only the second touches; 0 for none.
    pub(super) ahead: usize,
    /// Whether those of dx are such rows: they are neither streamed nor those of the gradient.
    pub(super) fetches_dx: bool,
}

/// Rows of one group; of a layer norm with `LAYER`, with a residual's gradient with `ADD`.
pub(super) struct BackwardRows<const LAYER: bool, const ADD: bool> {
    pub(super) x: Operand,
    pub(super) grad: Operand,
    pub(super) residual: Option<Operand>,
    /// Those of the group's rows, like `rstd`, `dx`.
    pub(super) mean: *const f32,
    pub(super) rstd: *const f32,
    pub(super) gamma: *const f32,
    pub(super) dx: *mut f32,
    /// d of gamma, then of a layer norm d of beta.
    pub(super) sums: *mut f32,
    pub(super) walk: Walk,
}

impl BackwardRows<false, false> {
    pub(super) fn of<const LAYER: bool, const ADD: bool>(self) -> BackwardRows<LAYER, ADD> {
        let Self { x, grad, residual, mean, rstd, gamma, dx, sums, walk } = self;
        BackwardRows { x, grad, residual, mean, rstd, gamma, dx, sums, walk }
    }
}

impl<const LAYER: bool, const ADD: bool> BackwardRows<LAYER, ADD> {
    /// The kernel.
    ///
    /// # Safety
    /// All hold the rows of `walk`; with `ADD` there is a residual. With `stream` each row of dx is a multiple of 64.
    pub(super) unsafe fn checked(self) -> Checked<LAYER, ADD> {
        Checked(self)
    }
}

/// [`BackwardRows`] whose promise was given.
pub(super) struct Checked<const LAYER: bool, const ADD: bool>(BackwardRows<LAYER, ADD>);

impl<const LAYER: bool, const ADD: bool> Kernel for Checked<LAYER, ADD> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        if self.0.walk.stream {
            self.0.run::<I, true>(isa);
            isa.fence();
        } else {
            self.0.run::<I, false>(isa);
        }
    }
}

/// A row's operands as f32, and its numbers.
#[derive(Debug, Clone, Copy)]
struct RowNumbers {
    x: *const f32,
    grad: *const f32,
    /// `grad` where there is none.
    residual: *const f32,
    mean: f32,
    rstd: f32,
    /// `mean(h · n)`.
    along: f32,
    /// `mean(h)`; of a layer norm.
    shift: f32,
}

impl RowNumbers {
    const NONE: Self = Self {
        x: core::ptr::null(),
        grad: core::ptr::null(),
        residual: core::ptr::null(),
        mean: 0.0,
        rstd: 0.0,
        along: 0.0,
        shift: 0.0,
    };
}

/// `n`.
#[inline(always)]
fn normalize<I: Isa, const LAYER: bool>(isa: I, x: I::V, mean: I::V, rstd: I::V) -> I::V {
    if LAYER { isa.mul(isa.sub(x, mean), rstd) } else { isa.mul(x, rstd) }
}

impl<const LAYER: bool, const ADD: bool> BackwardRows<LAYER, ADD> {
    #[inline(always)]
    fn run<I: Isa, const STREAM: bool>(&self, isa: I) {
        let Walk { rows, batch, .. } = self.walk;
        let mut numbers = [RowNumbers::NONE; MOST_ROWS];
        for begin in (0..rows).step_by(batch) {
            let end = (begin + batch).min(rows);
            // SAFETY: these rows exist (`# Safety` of `BackwardRows::checked`), no more than a batch.
            unsafe {
                for row in begin..end {
                    numbers[row - begin] = self.measure(isa, row, row - begin);
                }
                self.write_columns::<I, STREAM>(isa, begin, &numbers[..end - begin]);
            }
        }
    }

    /// The numbers of a row, which is number `slot` of its batch.
    ///
    /// # Safety
    /// The row exists.
    #[inline(always)]
    unsafe fn measure<I: Isa>(&self, isa: I, row: usize, slot: usize) -> RowNumbers {
        let Walk { d, ahead, .. } = self.walk;
        let (x, grad) = (self.x.read(isa, row, slot), self.grad.read(isa, row, slot));
        let residual = match &self.residual {
            Some(residual) if ADD => residual.read(isa, row, slot),
            _ => grad,
        };
        // SAFETY: the row exists (`# Safety` of `measure`).
        let [mean, rstd] = unsafe { [if LAYER { *self.mean.add(row) } else { 0.0 }, *self.rstd.add(row)] };
        let (means, rstds) = (isa.splat(mean), isa.splat(rstd));
        let (mut along, mut shift) = ([isa.splat(0.0); UNROLL], [isa.splat(0.0); UNROLL]);
        let rest = d / (UNROLL * I::LANES) * (UNROLL * I::LANES);
        // SAFETY: readers checked that rows hold d elements; gamma does (`# Safety` of `checked`); a block ends at
        // `rest` or before, and at + lanes ≤ d. In empty lanes `n` and `h` are 0.
        unsafe {
            for at in (0..rest).step_by(UNROLL * I::LANES) {
                // The second walk goes from row to row, which no hardware sees coming.
                if ADD && ahead > 0 {
                    prefetch_block(isa, residual.wrapping_add(at + ahead));
                }
                if self.walk.fetches_dx && ahead > 0 {
                    prefetch_block(isa, self.dx.wrapping_add(row * d + at + ahead));
                }
                for (i, along) in along.iter_mut().enumerate() {
                    let at = at + i * I::LANES;
                    let n = normalize::<I, LAYER>(isa, isa.load(x.add(at)), means, rstds);
                    let h = isa.mul(isa.load(grad.add(at)), isa.load(self.gamma.add(at)));
                    *along = isa.mul_add(h, n, *along);
                    if LAYER {
                        shift[i] = isa.add(shift[i], h);
                    }
                }
            }
            for at in (rest..d).step_by(I::LANES) {
                let lanes = I::LANES.min(d - at);
                let n = normalize::<I, LAYER>(isa, load_or(isa, x.add(at), lanes, mean), means, rstds);
                let h = isa.mul(load(isa, grad.add(at), lanes), load(isa, self.gamma.add(at), lanes));
                along[0] = isa.mul_add(h, n, along[0]);
                if LAYER {
                    shift[0] = isa.add(shift[0], h);
                }
            }
        }
        let (along, shift) = (add_up(isa, along) / d as f32, add_up(isa, shift) / d as f32);
        RowNumbers { x, grad, residual, mean, rstd, along, shift }
    }

    /// All columns of the rows from `first` on.
    ///
    /// # Safety
    /// `numbers` are those of rows that exist.
    #[inline(always)]
    unsafe fn write_columns<I: Isa, const STREAM: bool>(&self, isa: I, first: usize, numbers: &[RowNumbers]) {
        // Weights and sums of so many registers stay in registers.
        let block = if I::LANES == 16 { 4 } else { 2 } * I::LANES;
        let d = self.walk.d;
        let rest = d / block * block;
        // SAFETY: the rows exist (`# Safety` of `write_columns`); a register ends at d or before.
        unsafe {
            for at in (0..rest).step_by(block) {
                if I::LANES == 16 {
                    self.write_block::<I, 4, STREAM>(isa, first, numbers, at, I::LANES);
                } else {
                    self.write_block::<I, 2, STREAM>(isa, first, numbers, at, I::LANES);
                }
            }
            for at in (rest..d).step_by(I::LANES) {
                self.write_block::<I, 1, false>(isa, first, numbers, at, I::LANES.min(d - at));
            }
        }
    }

    /// `C` registers of columns from `at` on, of `n` lanes each, of the rows from `first` on.
    ///
    /// # Safety
    /// The rows and columns exist, and n is `LANES` for more than one register and for `STREAM`.
    #[inline(always)]
    unsafe fn write_block<I: Isa, const C: usize, const STREAM: bool>(
        &self,
        isa: I,
        first: usize,
        numbers: &[RowNumbers],
        at: usize,
        n: usize,
    ) {
        let d = self.walk.d;
        let zero = isa.splat(0.0);
        let (mut gamma, mut gamma_sums, mut beta_sums) = ([zero; C], [zero; C], [zero; C]);
        // SAFETY: rows and columns exist (`# Safety` of `write_block`), in gamma and sums too (`# Safety` of
        // `checked`). An element of the gradient is read before dx is written in its place. With `STREAM` a row of dx
        // is a multiple of 64, and `at` one of a whole block.
        unsafe {
            for (i, gamma) in gamma.iter_mut().enumerate() {
                let at = at + i * I::LANES;
                *gamma = load(isa, self.gamma.add(at), n);
                gamma_sums[i] = load(isa, self.sums.add(at), n);
                if LAYER {
                    beta_sums[i] = load(isa, self.sums.add(d + at), n);
                }
            }
            for (row, numbers) in numbers.iter().enumerate() {
                let (mean, rstd) = (isa.splat(numbers.mean), isa.splat(numbers.rstd));
                let (along, shift) = (isa.splat(numbers.along), isa.splat(numbers.shift));
                let (x, grad, residual) = (numbers.x.add(at), numbers.grad.add(at), numbers.residual.add(at));
                let mut dx = [zero; C];
                for (i, dx) in dx.iter_mut().enumerate() {
                    let at = i * I::LANES;
                    let normed = normalize::<I, LAYER>(isa, load(isa, x.add(at), n), mean, rstd);
                    let g = load(isa, grad.add(at), n);
                    gamma_sums[i] = isa.mul_add(g, normed, gamma_sums[i]);
                    let mut h = isa.mul(g, gamma[i]);
                    if LAYER {
                        beta_sums[i] = isa.add(beta_sums[i], g);
                        h = isa.sub(h, shift);
                    }
                    let across = isa.neg_mul_add(normed, along, h);
                    *dx = if ADD {
                        isa.mul_add(across, rstd, load(isa, residual.add(at), n))
                    } else {
                        isa.mul(across, rstd)
                    };
                }
                let to = self.dx.add((first + row) * d + at);
                if n == I::LANES {
                    f32::store_block::<I, C, STREAM>(isa, to, dx);
                } else {
                    store(isa, to, dx[0], n);
                }
            }
            for (i, sum) in gamma_sums.into_iter().enumerate() {
                let at = at + i * I::LANES;
                store(isa, self.sums.add(at), sum, n);
                if LAYER {
                    store(isa, self.sums.add(d + at), beta_sums[i], n);
                }
            }
        }
    }
}

/// The sum of all lanes.
#[inline(always)]
fn add_up<I: Isa>(isa: I, v: [I::V; UNROLL]) -> f32 {
    isa.reduce_add(isa.add(isa.add(v[0], v[1]), isa.add(v[2], v[3])))
}
