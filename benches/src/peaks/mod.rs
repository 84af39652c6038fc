//! What this machine can do at most, measured in the same run as the kernels.

mod arithmetic;
mod bandwidth;
mod memory;
mod together;

use crate::case::Dtype;
use crate::state::{Meter, State};
use kiln_kernels::simd::Tier;
use rayon::ThreadPool;
use serde::Serialize;
use std::collections::BTreeMap;

pub use arithmetic::Arithmetic;
pub use bandwidth::{CachedCopy, copy_in_cache, measure_cached_copy};
pub use memory::{Memory, REGION, Way};
pub use together::run_together;

/// The machine's peaks with one instruction set and one number of threads.
#[derive(Debug, Clone, Serialize)]
pub struct Peaks {
    /// The instruction set.
    pub isa: String,
    /// Threads that ran at one time.
    pub threads: usize,
    /// Multiply-adds of f32 in registers, GFLOP/s.
    pub fma: f64,
    /// Multiply-adds of bf16 pairs, where the instruction set has them, GFLOP/s.
    pub bf16: Option<Bf16Peak>,
    /// Bandwidth of memory.
    #[serde(flatten)]
    pub memory: Bandwidth,
    /// Copies within caches, by size.
    pub cached_copy: Vec<CachedCopy>,
    /// Multiply-adds within each state of the cores, GFLOP/s of f32 and of bf16 pairs, as far as they were measured.
    pub states: BTreeMap<State, [Option<f64>; 2]>,
}

/// Peak of the instruction that multiplies bf16.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bf16Peak {
    /// The instruction.
    pub instruction: &'static str,
    /// GFLOP/s.
    pub gflops: f64,
}

/// Bandwidth of memory beyond every cache, GB/s. A copy of `n` bytes counts `2 n`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bandwidth {
    /// Reading.
    pub read: f64,
    /// Copying with plain stores, which read the line that they write.
    pub copy: f64,
    /// Copying with non-temporal stores, where there are some.
    pub copy_streaming: Option<f64>,
}

impl Bandwidth {
    /// The better way to copy.
    pub fn best_copy(&self) -> f64 {
        self.copy_streaming.map_or(self.copy, |streaming| streaming.max(self.copy))
    }
}

impl Peaks {
    /// Measures everything for `tier` on the threads of `pool`, whose cores `meter` gauges.
    pub fn measure(tier: Tier, pool: &ThreadPool, memory: &mut Memory, meter: &mut Meter) -> Self {
        let pairs = Arithmetic::of(tier, Dtype::Bf16);
        let has_pairs = !matches!(pairs, Arithmetic::Fma(_));
        let mut peaks = Self {
            isa: tier.to_string(),
            threads: pool.current_num_threads(),
            fma: 0.0,
            bf16: has_pairs.then(|| Bf16Peak { instruction: pairs.name(), gflops: 0.0 }),
            memory: memory.measure(pool),
            cached_copy: measure_cached_copy(pool),
            states: BTreeMap::new(),
        };
        for dtype in Dtype::ALL.into_iter().filter(|dtype| has_pairs || *dtype == Dtype::F32) {
            for (state, gflops) in Arithmetic::of(tier, dtype).measure(pool, meter) {
                peaks.raise(dtype, state, gflops);
            }
        }
        peaks
    }

    /// The same in one state of the cores, where that was measured.
    pub fn within(&self, state: State) -> Self {
        let mut peaks = self.clone();
        let [fma, bf16] = self.states.get(&state).copied().unwrap_or_default();
        peaks.fma = fma.unwrap_or(peaks.fma);
        if let (Some(peak), Some(gflops)) = (&mut peaks.bf16, bf16) {
            peak.gflops = gflops;
        }
        peaks
    }

    /// The peak of arithmetic on operands of `dtype`, GFLOP/s, and its name.
    pub fn arithmetic(&self, dtype: Dtype) -> (f64, &'static str) {
        match &self.bf16 {
            Some(peak) if dtype == Dtype::Bf16 => (peak.gflops, peak.instruction),
            _ => (self.fma, "fma"),
        }
    }

    /// Raises the peak of arithmetic on operands of `dtype` to `gflops`, in general and in `state`, if it is lower.
    pub fn raise(&mut self, dtype: Dtype, state: State, gflops: f64) {
        let is_pairs = self.bf16.is_some() && dtype == Dtype::Bf16;
        match &mut self.bf16 {
            Some(peak) if is_pairs => peak.gflops = peak.gflops.max(gflops),
            _ => self.fma = self.fma.max(gflops),
        }
        if State::PURE.contains(&state) {
            let peak = &mut self.states.entry(state).or_default()[usize::from(is_pairs)];
            *peak = Some(peak.map_or(gflops, |peak| peak.max(gflops)));
        }
    }

    /// The bandwidth of a copy that works on `bytes` again and again, GB/s: that of the next larger size measured.
    pub fn copy_within(&self, bytes: f64) -> Option<f64> {
        self.cached_copy.iter().find(|copy| copy.bytes as f64 >= bytes).map(|copy| copy.gbytes)
    }
}
