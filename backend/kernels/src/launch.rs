//! How one kernel runs.

use crate::Caches;
use crate::config::KernelConfig;
use crate::cores::limit_of_global_pool;
use crate::probe::{self, Probe};
use crate::simd::Tier;

/// How one kernel runs: its instruction set, how many threads may share it, and the sizes that row-wise kernels obey.
///
/// Results do not depend on any of it beyond rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The instruction set.
    pub tier: Tier,
    /// At most this many parts run at one time; 1 never enters the thread pool.
    pub threads: usize,
    /// How far software prefetch runs ahead of its use, bytes: 0 issues none, [`Launch::OWN_PREFETCH`] leaves the
    /// distance to each kernel.
    pub prefetch: usize,
    /// Bytes of the first-level cache that a row-wise kernel (norms, softmax) fills with a block between two passes
    /// over it: what is read, the results and the weights.
    pub block: usize,
}

impl Default for Launch {
    /// The best instruction set, the threads of the current pool, and the sizes of this machine.
    ///
    /// Outside of any pool the current one is rayon's global pool, of a thread for each logical CPU: of those, one for
    /// each physical core. In a pool ([`rayon::ThreadPool::install`]), and where `RAYON_NUM_THREADS` or
    /// `ThreadPoolBuilder::build_global` gave the global one a size of its own, somebody chose it, and all count.
    fn default() -> Self {
        Self { threads: default_threads(), ..Self::single(Tier::best()) }
    }
}

/// Threads where nothing says how many.
fn default_threads() -> usize {
    limit_of_global_pool().unwrap_or_else(rayon::current_num_threads)
}

impl From<&KernelConfig> for Launch {
    /// What a configuration says, the rest as [`Launch::default`].
    fn from(config: &KernelConfig) -> Self {
        let own = Self::single(Tier::choose(config.simd.isa));
        Self {
            threads: match config.threads.max {
                Some(max) => max.clamp(1, rayon::current_num_threads()),
                None => default_threads(),
            },
            prefetch: if config.prefetch.enabled { config.prefetch.distance.unwrap_or(own.prefetch) } else { 0 },
            block: config.blocking.rows.unwrap_or(own.block),
            ..own
        }
    }
}

impl Launch {
    /// The value of [`Launch::prefetch`] by which each kernel takes the distance that it was measured with.
    pub const OWN_PREFETCH: usize = usize::MAX;

    /// One thread on `tier`, with the sizes of this machine.
    pub fn single(tier: Tier) -> Self {
        Self { tier, threads: 1, prefetch: Self::OWN_PREFETCH, block: Self::block_of(Caches::detect()) }
    }

    /// [`Launch::block`] for these caches: the first level.
    pub const fn block_of(caches: Caches) -> usize {
        caches.l1d
    }

    /// The distance of software prefetch in a kernel whose own is `own`, bytes; 0 for none.
    pub(crate) fn prefetch_bytes(self, own: usize) -> usize {
        if self.prefetch == Self::OWN_PREFETCH { own } else { self.prefetch }
    }

    /// The same with at most `threads` threads.
    pub fn limit(self, threads: usize) -> Self {
        Self { threads: self.threads.min(threads.max(1)), ..self }
    }

    /// Calls `work(begin..end)` over parts of `0..len`, each a multiple of `grain` but the last, on the current rayon
    /// pool; in the calling thread when one part is enough.
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
        probe::report_size(Probe::Threads, parts);
        rayon::scope(|scope| {
            for part in 0..parts {
                let (begin, end) = (units * part / parts * grain, (units * (part + 1) / parts * grain).min(len));
                let work = &work;
                scope.spawn(move |_| work(begin..end));
            }
        });
    }
}
