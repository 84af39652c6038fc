//! Measuring candidates.
//!
//! ```text
//! every candidate, interleaved, some rounds; the best median
//! the best and the analytic plan alone, interleaved, again
//! the best is kept if it won both times by more than the noise
//! ```
//!
//! The second time is another sample: the best of several noisy medians is likely one that had luck.

use super::choice::Choice;
use crate::Caches;
use crate::ElementType;
use crate::gemm::{
    Blocking, Epilogue, GEMV_ROWS, Layout, Matrix, OutMatrix, PackedMatrix, Plan, ProductShape, Split, Variant, gemm,
    gemm_packed,
};
use crate::{Floats, FloatsMut, Launch};
use half::{bf16, f16};
use std::time::{Duration, Instant};

/// Rounds in which every candidate runs once; medians count.
const ROUNDS: usize = 5;

/// The longest that candidates are interleaved, about; each of the two times.
const BUDGET: Duration = Duration::from_millis(150);

/// What one candidate runs in a round at least, seconds: below, a clock and a wake-up are most of it.
const SAMPLE: f64 = 2e-4;

/// The most calls of a round.
const MOST_CALLS: usize = 1000;

/// The most multiply-adds of the product that is measured: larger ones are measured on fewer columns.
const LARGEST_WORK: usize = 1 << 31;

/// The most elements of B that are made up.
const LARGEST_B: usize = 1 << 24;

/// The most bytes of right operands that alternate where rows are few.
const LARGEST_COPIES: usize = 256 << 20;

/// Columns, and all sizes, up to which tiles of strided operands are tried.
const NARROW: usize = 64;
const SMALL: usize = 512;

/// A candidate must be faster than the analytic plan by this much: less is noise.
const GAIN: f64 = 1.05;

/// The fastest of the analytic plan and its neighbours; sizes that are `fixed` (mc, kc, nc) are kept.
pub(super) fn measure(shape: &ProductShape, analytic: &Plan, fixed: [bool; 3]) -> Choice {
    let usual = Choice::of(analytic, shape);
    let candidates = list_candidates(shape, usual, fixed);
    if candidates.len() == 1 || shape.work() == 0 {
        return usual;
    }
    let Some(mut trial) = Trial::new(shape) else { return usual };
    // The first run faults pages in and fills caches.
    trial.time(&usual.apply_to(*analytic), 1);
    let seconds = trial.time(&usual.apply_to(*analytic), 1);
    let calls = (SAMPLE / seconds.max(1e-9)) as usize;
    let calls = calls.clamp(1, MOST_CALLS);
    let mut run = |choice: &Choice| trial.time(&choice.apply_to(*analytic), calls);
    let medians = interleave(&candidates, &mut run);
    let best = (0..candidates.len()).min_by(|&i, &j| medians[i].total_cmp(&medians[j])).unwrap_or(0);
    if medians[0] <= GAIN * medians[best] {
        return usual;
    }
    let again = interleave(&[usual, candidates[best]], &mut run);
    tracing::debug!(?shape, %usual, best = %candidates[best], gain = again[0] / again[1], "measured");
    if again[0] > GAIN * again[1] { candidates[best] } else { usual }
}

/// The median seconds of each candidate.
fn interleave(candidates: &[Choice], run: &mut dyn FnMut(&Choice) -> f64) -> Vec<f64> {
    let began = Instant::now();
    let mut times = vec![Vec::new(); candidates.len()];
    for round in 1..=ROUNDS {
        for (candidate, times) in candidates.iter().zip(&mut times) {
            times.push(run(candidate));
        }
        if began.elapsed() > BUDGET && round >= 3 {
            break;
        }
    }
    times.iter_mut().map(|times| median(times)).collect()
}

/// The analytic choice first, then what could be better.
fn list_candidates(shape: &ProductShape, usual: Choice, [mc, kc, nc]: [bool; 3]) -> Vec<Choice> {
    let mut list = vec![usual];
    // What a choice comes to for this shape: blocks larger than it change nothing.
    let effect = |choice: &Choice| {
        let Blocking { mc, kc, nc } = choice.blocking;
        (choice.variant, [mc.min(shape.m), kc.min(shape.k), nc.min(shape.n)], choice.split)
    };
    let mut add = |choice: Choice| {
        if choice.is_valid() && list.iter().all(|other| effect(other) != effect(&choice)) {
            list.push(choice);
        }
    };
    let with = |blocking| Choice { blocking, ..usual };
    let Blocking { mc: rows, kc: depth, nc: cols } = usual.blocking;
    if shape.m > GEMV_ROWS {
        if !kc {
            add(with(Blocking { kc: depth / 2, ..usual.blocking }));
            add(with(Blocking { kc: depth * 3 / 2, ..usual.blocking }));
        }
        if !mc {
            add(with(Blocking { mc: rows / 2, ..usual.blocking }));
            add(with(Blocking { mc: rows * 2, ..usual.blocking }));
        }
        if !nc {
            add(with(Blocking { nc: cols / 2, ..usual.blocking }));
        }
    }
    for variant in [Variant::Dot, Variant::Axpy, Variant::Unpacked, Variant::Blocked] {
        // Tiles of strided operands are for products that the caches hold, or of few columns.
        let likely = variant != Variant::Unpacked || shape.n <= NARROW || shape.m.max(shape.n).max(shape.k) <= SMALL;
        if variant.applies(shape) && likely {
            add(Choice { variant, ..usual });
        }
    }
    for threads in [usual.split.threads / 2, 1] {
        if threads >= 1 && threads < usual.split.threads {
            let parts = usual.split.parts.div_ceil(usual.split.threads) * threads;
            add(Choice { split: Split { threads, parts }, ..usual });
        }
    }
    list
}

/// A product of made-up numbers.
struct Trial {
    a: Numbers,
    /// Where rows are few, as many as no cache holds: a weight comes from memory then, and what is best in a cache is
    /// not best there (4 x 2560 x 9728, bf16 rows: packed blocks, chosen in cache, had 0.85 of the speed of dot
    /// products).
    b: Vec<Right>,
    /// Of them.
    next: usize,
    out: Vec<f32>,
    shape: [usize; 3],
}

enum Right {
    Plain(Numbers, Layout),
    Packed(PackedMatrix),
}

/// Elements of one type.
enum Numbers {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Numbers {
    /// Small numbers, different ones.
    fn new(dtype: ElementType, len: usize) -> Self {
        let numbers = (0..len).map(|i| (i % 251) as f32 * 0.01 - 1.0);
        match dtype {
            ElementType::F32 => Self::F32(numbers.collect()),
            ElementType::Bf16 => Self::Bf16(numbers.map(bf16::from_f32).collect()),
            ElementType::F16 => Self::F16(numbers.map(f16::from_f32).collect()),
        }
    }

    fn floats(&self) -> Floats<'_> {
        match self {
            Self::F32(numbers) => Floats::F32(numbers),
            Self::Bf16(numbers) => Floats::Bf16(numbers),
            Self::F16(numbers) => Floats::F16(numbers),
        }
    }
}

impl Trial {
    fn new(shape: &ProductShape) -> Option<Self> {
        let &ProductShape { m, n, k, a, b, layout } = shape;
        let most = (LARGEST_WORK / m.checked_mul(k)?.max(1)).min(LARGEST_B / k.max(1)).max(16);
        let n = n.min(most);
        if m.checked_mul(k)? > LARGEST_B || n.checked_mul(k)? > 2 * LARGEST_B {
            return None;
        }
        let right = || {
            let right = Numbers::new(b, n * k);
            Some(match layout {
                Layout::Packed => Right::Packed(PackedMatrix::pack(Launch::default(), right.floats(), [n, k]).ok()?),
                layout => Right::Plain(right, layout),
            })
        };
        let cold = if m <= GEMV_ROWS { (2 * Caches::detect().l3).min(LARGEST_COPIES) } else { 0 };
        let copies = cold.div_ceil((n * k * b.size()).max(1)).max(1);
        let b = (0..copies).map(|_| right()).collect::<Option<_>>()?;
        Some(Self { a: Numbers::new(a, m * k), b, next: 0, out: vec![0.0; m.checked_mul(n)?], shape: [m, n, k] })
    }

    /// Seconds of one of `calls` products.
    fn time(&mut self, plan: &Plan, calls: usize) -> f64 {
        let Self { a, b, next, out, shape: [m, n, k] } = self;
        let (m, n, k) = (*m, *n, *k);
        let mut multiply = || {
            let a = Matrix::row_major(a.floats(), m, k)?;
            let mut c = OutMatrix::row_major(FloatsMut::F32(out), m, n)?;
            *next = (*next + 1) % b.len();
            match &b[*next] {
                Right::Packed(panels) => gemm_packed(plan, &a, panels, &mut c, &Epilogue::default()),
                Right::Plain(b, layout) => {
                    let strides = if *layout == Layout::Columns { [1, k as isize] } else { [n as isize, 1] };
                    let b = Matrix::new(b.floats(), 0, [k, n], strides)?;
                    gemm(plan, &a, &b, &mut c, &Epilogue::default())
                }
            }
        };
        let began = Instant::now();
        let done = (0..calls).try_for_each(|_| multiply());
        // A product that is refused is never chosen.
        done.map_or(f64::INFINITY, |()| began.elapsed().as_secs_f64() / calls as f64)
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
