//! How one kernel runs.

use crate::config::KernelConfig;
use crate::simd::Tier;

/// How one kernel runs: its instruction set and how many threads may share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The instruction set.
    pub tier: Tier,
    /// At most this many parts run at one time; 1 never enters the thread pool.
    pub threads: usize,
}

impl Default for Launch {
    fn default() -> Self {
        Self { tier: Tier::best(), threads: rayon::current_num_threads() }
    }
}

impl From<&KernelConfig> for Launch {
    fn from(config: &KernelConfig) -> Self {
        let pool = rayon::current_num_threads();
        Self { tier: Tier::choose(config.simd.isa), threads: config.threads.max.map_or(pool, |max| max.clamp(1, pool)) }
    }
}

impl Launch {
    /// One thread on `tier`.
    pub fn single(tier: Tier) -> Self {
        Self { tier, threads: 1 }
    }

    /// The same with at most `threads` threads.
    pub fn limit(self, threads: usize) -> Self {
        Self { threads: self.threads.min(threads.max(1)), ..self }
    }

    /// Calls `work(begin..end)` over parts of `0..len`, each a multiple of `grain` but the last, on the current rayon pool;
    /// in the calling thread when one part is enough.
    pub fn split(self, len: usize, grain: usize, work: impl Fn(core::ops::Range<usize>) + Sync) {
        let grain = grain.max(1);
        let units = len.div_ceil(grain);
        let parts = self.threads.min(units);
        if parts <= 1 {
            if len > 0 {
                work(0..len);
            }
            return;
        }
        rayon::scope(|scope| {
            for part in 0..parts {
                let (begin, end) = (units * part / parts * grain, (units * (part + 1) / parts * grain).min(len));
                let work = &work;
                scope.spawn(move |_| work(begin..end));
            }
        });
    }
}
