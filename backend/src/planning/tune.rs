//! Measuring candidates.

use super::choice::Choice;
use super::key::{Layout, ProductShape};
use crate::kernels::gemm::{
    Blocking, Epilogue, GEMV_ROWS, Matrix, OutMatrix, PackedMatrix, Plan, Variant, gemm, gemm_packed,
};
use crate::kernels::{Floats, FloatsMut, Launch};
use burn_backend::DType;
use half::{bf16, f16};
use std::time::{Duration, Instant};

/// Rounds in which every candidate runs once; medians count.
const ROUNDS: usize = 5;

/// The longest that one plan is measured, about.
const BUDGET: Duration = Duration::from_millis(200);

/// The most multiply-adds of the product that is measured: larger ones are measured on fewer columns.
const LARGEST_WORK: usize = 1 << 31;

/// The most elements of B that are made up.
const LARGEST_B: usize = 1 << 24;

/// A candidate must be faster than the analytic plan by this much: less is noise.
const GAIN: f64 = 1.05;

/// The fastest of the analytic plan and its neighbours; sizes that are `fixed` (mc, kc, nc) are kept.
pub(super) fn measure(shape: &ProductShape, analytic: &Plan, fixed: [bool; 3]) -> Choice {
    let usual = Choice::of(analytic);
    let candidates = list_candidates(shape, usual, fixed);
    if candidates.len() == 1 || shape.work() == 0 {
        return usual;
    }
    let Some(trial) = Trial::new(shape) else { return usual };
    let run = |choice: &Choice| trial.time(&choice.apply_to(*analytic));
    // The first runs fault pages in and fill caches.
    run(&usual);
    let began = Instant::now();
    let mut times = vec![Vec::new(); candidates.len()];
    for _ in 0..ROUNDS {
        for (candidate, times) in candidates.iter().zip(&mut times) {
            times.push(run(candidate));
        }
        if began.elapsed() > BUDGET && times[0].len() >= 3 {
            break;
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    let best = (0..candidates.len()).min_by(|&i, &j| medians[i].total_cmp(&medians[j])).unwrap_or(0);
    tracing::debug!(?shape, usual = %candidates[0], best = %candidates[best], gain = medians[0] / medians[best], "measured");
    if medians[0] > GAIN * medians[best] { candidates[best] } else { usual }
}

/// The analytic choice first, then what could be better.
fn list_candidates(shape: &ProductShape, usual: Choice, [mc, kc, nc]: [bool; 3]) -> Vec<Choice> {
    let mut list = vec![usual];
    let mut add = |choice: Choice| {
        if choice.is_valid() && !list.contains(&choice) {
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
    } else if shape.layout != Layout::Packed {
        add(Choice { variant: Some(Variant::Blocked), ..usual });
    }
    if usual.threads > 1 {
        add(Choice { threads: usual.threads / 2, ..usual });
        add(Choice { threads: 1, ..usual });
    }
    list
}

/// A product of made-up numbers.
struct Trial {
    a: Numbers,
    b: Right,
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
    /// Small numbers, different ones; `None` for a type that is not multiplied.
    fn new(dtype: DType, len: usize) -> Option<Self> {
        let numbers = (0..len).map(|i| (i % 251) as f32 * 0.01 - 1.0);
        Some(match dtype {
            DType::F32 => Self::F32(numbers.collect()),
            DType::BF16 => Self::Bf16(numbers.map(bf16::from_f32).collect()),
            DType::F16 => Self::F16(numbers.map(f16::from_f32).collect()),
            _ => return None,
        })
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
        let right = Numbers::new(b, n * k)?;
        let right = match layout {
            Layout::Packed => Right::Packed(PackedMatrix::pack(Launch::default(), right.floats(), [n, k]).ok()?),
            layout => Right::Plain(right, layout),
        };
        Some(Self { a: Numbers::new(a, m * k)?, b: right, shape: [m, n, k] })
    }

    /// Seconds of one product.
    fn time(&self, plan: &Plan) -> f64 {
        let [m, n, k] = self.shape;
        let mut out = vec![0.0; m * n];
        let began = Instant::now();
        let done = (|| {
            let a = Matrix::row_major(self.a.floats(), m, k)?;
            let mut c = OutMatrix::row_major(FloatsMut::F32(&mut out), m, n)?;
            match &self.b {
                Right::Packed(panels) => gemm_packed(plan, &a, panels, &mut c, &Epilogue::default()),
                Right::Plain(b, layout) => {
                    let strides = if *layout == Layout::Columns { [1, k as isize] } else { [n as isize, 1] };
                    let b = Matrix::new(b.floats(), 0, [k, n], strides)?;
                    gemm(plan, &a, &b, &mut c, &Epilogue::default())
                }
            }
        })();
        // A product that is refused is never chosen.
        done.map_or(f64::INFINITY, |()| began.elapsed().as_secs_f64())
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
