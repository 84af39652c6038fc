//! The machine, measured in the same rounds as the engines: a clock that rises and neighbours who take bandwidth for
//! some seconds change the limit of a row, and what counts is how much of the limit of the same moment a kernel
//! reaches.
//!
//! - Arithmetic: the limit is the highest rate of the run and of the row's rounds. Noise only lowers it.
//! - Bandwidth: the limit is the median over the rounds, and the percent of it that Kiln reaches the median of the
//!   rounds' ratios.
//!
//! Each state of the cores has its own.

use crate::case::{Case, Op, Unit};
use crate::isa::Isa;
use crate::measure::{Engine, Failure, Sample, Samples, median};
use crate::peaks::{Arithmetic, CachedCopy, Memory, Peaks, Way, copy_in_cache};
use crate::roofline::{Limit, limit};
use crate::state::State;
use rayon::ThreadPool;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Turns of a loop of arithmetic in one call: about 0.4 ms.
const TURNS: usize = 1 << 18;

/// What a gauge measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Multiply-adds in registers.
    Arithmetic(Arithmetic),
    /// Memory beyond every cache.
    Memory(Way),
    /// A copy of so many bytes, source and destination, in cache.
    CachedCopy(usize),
}

/// The quantities that can limit `case` on an instruction set. Bandwidth of memory counts out of cache only.
pub fn choose(case: &Case, isa: Isa) -> Vec<Quantity> {
    let arithmetic = Quantity::Arithmetic(Arithmetic::of(isa.tier, case.dtype));
    let copies = [Way::Copy, Way::Stream].into_iter().filter(|way| way.is_available()).map(Quantity::Memory);
    match (case.unit(), case.op) {
        (Unit::Gflops, _) if !case.cold => vec![arithmetic],
        (Unit::Gflops, _) | (_, Op::Skinny) => vec![arithmetic, Quantity::Memory(Way::Read)],
        (_, Op::Gemv | Op::Decode) => vec![Quantity::Memory(Way::Read)],
        _ if case.cold => copies.collect(),
        _ => vec![Quantity::CachedCopy(case.bytes() as usize)],
    }
}

/// A quantity as an engine: it takes its turn like any other.
#[derive(Debug, Clone)]
pub struct Gauge {
    quantity: Quantity,
    pool: Arc<ThreadPool>,
    memory: Rc<RefCell<Memory>>,
}

impl Gauge {
    /// Measures `quantity` by the threads of `pool`.
    pub fn new(quantity: Quantity, pool: &Arc<ThreadPool>, memory: &Rc<RefCell<Memory>>) -> Self {
        Self { quantity, pool: Arc::clone(pool), memory: Rc::clone(memory) }
    }

    /// 10⁹ FLOP or bytes of one call.
    fn work(&self) -> f64 {
        let work = match self.quantity {
            Quantity::Arithmetic(arithmetic) => arithmetic.run(&self.pool, TURNS).0,
            Quantity::Memory(way) => way.bytes() as f64,
            Quantity::CachedCopy(bytes) => copy_in_cache(&self.pool, bytes, 1).0,
        };
        work / 1e9
    }
}

impl Engine for Gauge {
    fn name(&self) -> &str {
        match self.quantity {
            Quantity::Arithmetic(arithmetic) => arithmetic.name(),
            Quantity::Memory(way) => way.name(),
            Quantity::CachedCopy(_) => "cached copy",
        }
    }

    fn run(&mut self, calls: usize) -> Result<Duration, Failure> {
        Ok(match self.quantity {
            Quantity::Arithmetic(arithmetic) => arithmetic.run(&self.pool, calls * TURNS).1,
            Quantity::Memory(way) => {
                let memory = &mut *self.memory.borrow_mut();
                self.pool.install(|| {
                    let begin = std::time::Instant::now();
                    (0..calls).for_each(|_| memory.pass(way));
                    begin.elapsed()
                })
            }
            Quantity::CachedCopy(bytes) => copy_in_cache(&self.pool, bytes, calls).1,
        })
    }
}

/// What a gauge read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What it measured.
    pub quantity: Quantity,
    /// 10⁹ FLOP or bytes of a call.
    pub work: f64,
    /// Its samples.
    pub samples: Vec<Sample>,
}

impl Reading {
    /// The samples of a gauge.
    pub fn new(gauge: &Gauge, samples: Samples) -> Self {
        Self { quantity: gauge.quantity, work: gauge.work(), samples: samples.unwrap_or_default() }
    }

    /// GFLOP/s or GB/s of each round in `state`.
    fn rates(&self, state: State) -> Vec<(usize, f64)> {
        let within = self.samples.iter().filter(|sample| sample.state == state);
        within.map(|sample| (sample.round, self.work / sample.seconds)).collect()
    }
}

/// The limit of a case, and of each round where bandwidth sets it.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredLimit {
    /// The limit.
    pub limit: Limit,
    /// Rounds and their limits, in the case's unit; `None` where one limit holds for all.
    pub rounds: Option<Vec<(usize, f64)>>,
}

/// What a reading says of one state.
struct Within {
    quantity: Quantity,
    rates: Vec<(usize, f64)>,
    median: f64,
}

/// The limit of `case` in `state` by what gauges read in its rounds, and by the peaks of the run where no gauge was.
/// Raises the arithmetic peaks of that state to what was read.
pub fn apply(case: &Case, peaks: &mut Peaks, readings: &[Reading], state: State) -> MeasuredLimit {
    let within = readings.iter().filter_map(|reading| {
        let rates = reading.rates(state);
        let median = median(&rates.iter().map(|(_, rate)| *rate).collect::<Vec<_>>())?;
        Some(Within { quantity: reading.quantity, rates, median })
    });
    let within: Vec<Within> = within.collect();
    for Within { quantity, rates, .. } in &within {
        if matches!(quantity, Quantity::Arithmetic(_)) {
            peaks.raise(case.dtype, state, rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max));
        }
    }
    let mut moment = peaks.within(state);
    for &Within { quantity, median, .. } in &within {
        match quantity {
            Quantity::Arithmetic(_) => {}
            Quantity::Memory(Way::Read) => moment.memory.read = median,
            Quantity::Memory(Way::Copy) => moment.memory.copy = median,
            Quantity::Memory(Way::Stream) => moment.memory.copy_streaming = Some(median),
            Quantity::CachedCopy(bytes) => moment.cached_copy = vec![CachedCopy { bytes, gbytes: median }],
        }
    }
    let limit = limit(case, &moment);
    let sets_it = |within: &&Within| match within.quantity {
        Quantity::Arithmetic(_) => false,
        Quantity::Memory(Way::Read) => limit.name == "read",
        Quantity::Memory(_) => limit.name == "copy",
        Quantity::CachedCopy(_) => limit.name == "cached copy",
    };
    let rounds = (within.iter().filter(sets_it))
        .max_by(|a, b| a.median.total_cmp(&b.median))
        .filter(|within| within.median > 0.0)
        .map(|within| within.rates.iter().map(|(round, rate)| (*round, limit.figure * rate / within.median)).collect());
    MeasuredLimit { limit, rounds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Dtype, Shape};
    use crate::peaks::Bandwidth;
    use kiln_kernels::simd::Tier;
    use std::collections::BTreeMap;

    fn peaks() -> Peaks {
        Peaks {
            isa: "avx2".into(),
            threads: 2,
            fma: 100.0,
            bf16: None,
            memory: Bandwidth { read: 10.0, copy: 10.0, copy_streaming: None },
            cached_copy: Vec::new(),
            states: BTreeMap::new(),
        }
    }

    fn reading_in(quantity: Quantity, rates: &[(f64, State)]) -> Reading {
        let sample =
            |(round, (rate, state)): (usize, &(f64, State))| Sample { round, seconds: 1.0 / rate, state: *state };
        Reading { quantity, work: 1.0, samples: rates.iter().enumerate().map(sample).collect() }
    }

    fn reading(quantity: Quantity, rates: &[f64]) -> Reading {
        reading_in(quantity, &rates.iter().map(|rate| (*rate, State::Unknown)).collect::<Vec<_>>())
    }

    /// Rounds and limits to whole numbers: rates come from times.
    fn rounded(measured: &MeasuredLimit) -> Option<Vec<(usize, f64)>> {
        Some(measured.rounds.as_ref()?.iter().map(|(round, limit)| (*round, limit.round())).collect())
    }

    #[test]
    fn the_highest_peak_counts_and_stays() {
        let case = Case { op: Op::Gemm, shape: Shape::Square { n: 64 }, dtype: Dtype::F32, cold: false };
        let fma = Quantity::Arithmetic(Arithmetic::Fma(Tier::best()));
        let mut peaks = peaks();
        let measured = apply(&case, &mut peaks, &[reading(fma, &[90.0, 125.0, 80.0])], State::Unknown);
        assert_eq!((measured.limit.figure, measured.rounds), (125.0, None));
        let measured = apply(&case, &mut peaks, &[reading(fma, &[90.0])], State::Unknown);
        assert_eq!((measured.limit.figure, peaks.fma), (125.0, 125.0));
    }

    #[test]
    fn the_better_copy_of_the_same_rounds_counts() {
        let case = Case { op: Op::Add, shape: Shape::Rows { rows: 1, d: 1 << 24 }, dtype: Dtype::F32, cold: true };
        let plain = reading(Quantity::Memory(Way::Copy), &[20.0, 10.0, 15.0]);
        let streaming = reading(Quantity::Memory(Way::Stream), &[20.0, 30.0, 40.0]);
        let measured = apply(&case, &mut peaks(), &[plain, streaming], State::Unknown);
        assert_eq!((measured.limit.figure.round(), measured.limit.name.as_str()), (30.0, "copy"));
        assert_eq!(rounded(&measured), Some(vec![(0, 20.0), (1, 30.0), (2, 40.0)]));
    }

    #[test]
    fn each_state_has_its_limit() {
        use State::{Alone, Mixed, Shared};
        let case = Case { op: Op::Gemm, shape: Shape::Square { n: 64 }, dtype: Dtype::F32, cold: false };
        let fma = Quantity::Arithmetic(Arithmetic::Fma(Tier::best()));
        let mut peaks = peaks();
        let read = [reading_in(fma, &[(125.0, Alone), (50.0, Shared), (200.0, Mixed), (40.0, Shared)])];
        let mut limit_in = |state| apply(&case, &mut peaks, &read, state).limit.figure.round();
        assert_eq!([Alone, Shared].map(&mut limit_in), [125.0, 50.0]);
        // The run's figure is that of its start where a state was not seen.
        assert_eq!(limit_in(State::Partly), 125.0);
        let gemv = Case { op: Op::Gemv, shape: Shape::Linear { m: 1, n: 8, k: 8 }, dtype: Dtype::F32, cold: true };
        let read = [reading_in(Quantity::Memory(Way::Read), &[(20.0, Alone), (5.0, Shared), (25.0, Alone)])];
        let measured = apply(&gemv, &mut peaks, &read, Alone);
        assert_eq!((measured.limit.figure.round(), rounded(&measured)), (23.0, Some(vec![(0, 20.0), (2, 25.0)])));
        assert_eq!(apply(&gemv, &mut peaks, &read, Shared).limit.figure.round(), 5.0);
    }

    #[test]
    fn without_gauges_the_peaks_of_the_run_count() {
        let case = Case { op: Op::Gemv, shape: Shape::Linear { m: 1, n: 8, k: 8 }, dtype: Dtype::F32, cold: true };
        let measured = apply(&case, &mut peaks(), &[], State::Unknown);
        assert_eq!((measured.limit.figure, measured.rounds), (10.0, None));
    }
}
