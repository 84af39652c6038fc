//! [`OptimizationConfig`]: every technique in one place, each with its switch and its sizes.
//!
//! A model takes its configuration along (`apply_low_level_optimizations` in `qwen3-vl-burn`); plain Burn ops take it
//! for a while by [`OptimizationConfig::scope`]. No setting changes what a result means, only how it is reached:
//! numbers agree to rounding.

mod error;
mod file;
mod sections;
mod technique;
mod validate;

pub use error::ConfigError;
pub use sections::{GpuConfig, PoolConfig, StreamingConfig, WeightsConfig};
pub use technique::Technique;

use burn_kiln_fusion::KernelConfig;
use burn_kiln_fusion::config::{
    BlockingConfig, FusionConfig, IsaChoice, PlanningConfig, PrefetchConfig, SimdConfig, ThreadsConfig, TilingConfig,
};
use kiln_kernels::memory::Pool;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which optimizations run, and how large they may be. The default uses everything, sized for the machine that it runs
/// on.
///
/// As a file (TOML; JSON has the same fields), every section and field may be left out:
///
/// ```toml
/// deterministic = true
/// [simd]
/// isa = "avx2"
/// [threads]
/// max = 4
/// [pool]
/// cap = "512 MiB"
/// [gpu]
/// memory_limit = "2 GiB"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizationConfig {
    /// Results do not depend on the number of threads or on measured plans.
    pub deterministic: bool,
    /// Loop tiling of matrix products and attention.
    pub tiling: TilingConfig,
    /// Cache-sized blocks in norms and softmax.
    pub blocking: BlockingConfig,
    /// Instruction set of the CPU kernels.
    pub simd: SimdConfig,
    /// Software prefetch inside streaming kernels.
    pub prefetch: PrefetchConfig,
    /// Which groups of operations run as one kernel.
    pub fusion: FusionConfig,
    /// How many threads one operation may use.
    pub threads: ThreadsConfig,
    /// Reuse of the buffers of results.
    pub pool: PoolConfig,
    /// How kernels, tiles and splits are chosen.
    pub planning: PlanningConfig,
    /// How a model's constant weights are held.
    pub weights: WeightsConfig,
    /// Models that are larger than the memory they may use.
    pub streaming: StreamingConfig,
    /// Models on a card.
    pub gpu: GpuConfig,
}

impl OptimizationConfig {
    /// Everything, sized for this machine: the same as the default.
    pub fn detect() -> Self {
        Self::default()
    }

    /// What runs on an Intel i5-10210U (AVX2 and FMA; 32 KB of L1d, 256 KB of L2 a core, 6 MB of L3; 4 cores), wherever
    /// it runs: the sizes that are detected there, written down. Eight hardware threads share four FMA units a pair, so
    /// kernels take four.
    pub fn i5_10210u() -> Self {
        Self {
            tiling: TilingConfig { mc: Some(126), kc: Some(256), nc: Some(768), ..TilingConfig::default() },
            blocking: BlockingConfig { rows: Some(32 << 10), ..BlockingConfig::default() },
            simd: SimdConfig { isa: IsaChoice::Avx2, ..SimdConfig::default() },
            threads: ThreadsConfig { max: Some(4) },
            ..Self::default()
        }
    }

    /// Everything off: each op runs as the decorated backend runs it.
    pub fn none() -> Self {
        let KernelConfig { tiling, blocking, simd, prefetch, fusion, threads, planning, gpu, deterministic } =
            KernelConfig::none();
        Self {
            deterministic,
            tiling,
            blocking,
            simd,
            prefetch,
            fusion,
            threads,
            pool: PoolConfig { enabled: false, ..PoolConfig::default() },
            planning,
            weights: WeightsConfig { pack: false },
            streaming: StreamingConfig { read_ahead: false, ..StreamingConfig::default() },
            gpu: GpuConfig { enabled: gpu.enabled, tune: gpu.tune, ..GpuConfig::default() },
        }
    }

    /// The sections that kernels read.
    pub fn kernels(&self) -> KernelConfig {
        KernelConfig {
            tiling: self.tiling.clone(),
            blocking: self.blocking.clone(),
            simd: self.simd.clone(),
            prefetch: self.prefetch.clone(),
            fusion: self.fusion.clone(),
            threads: self.threads.clone(),
            planning: self.planning.clone(),
            gpu: self.gpu.kernels(),
            deterministic: self.deterministic,
        }
    }

    /// Sets what the process has one of: how many bytes the pool of buffers keeps. The last call counts, for every
    /// model; results do not depend on it. [`crate::Optimized`] calls it, and so does all that optimizes a model of
    /// `qwen3-vl-burn`; who runs plain Burn ops calls it once. Buffers that other threads have at hand go back to the
    /// system when these next take or drop one.
    pub fn apply_to_process(&self) {
        let pool = &self.pool;
        match (pool.enabled, pool.cap) {
            (false, _) => Pool::global().set_cap(0),
            (true, Some(cap)) => Pool::global().set_cap(usize::try_from(cap.as_u64()).unwrap_or(usize::MAX)),
            (true, None) => Pool::global().set_cap(Pool::default_cap()),
        }
    }

    /// Runs `work` with this configuration for the plain Burn ops that this thread starts in it.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        crate::scope(&Arc::new(self.kernels()), work)
    }
}
