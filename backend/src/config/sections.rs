//! The sections that only this crate reads; those that kernels read are in [`burn_kiln_fusion::config`].

use burn_kiln_fusion::config::GpuKernelConfig;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// Reuse of the buffers of results. The process has one pool: the section is applied to it by
/// [`OptimizationConfig::apply_to_process`](crate::OptimizationConfig::apply_to_process), which
/// `apply_low_level_optimizations`, `optimize` and the optimized blocks and modules call. A scope does not change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Off: each buffer comes from the system and goes back to it.
    pub enabled: bool,
    /// The most bytes that may lie free (`"512 MiB"` or a number). `None` is an eighth of the machine's memory, at most
    /// 1 GiB.
    pub cap: Option<ByteSize>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { enabled: true, cap: None }
    }
}

/// How a model's constant weights are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightsConfig {
    /// Off: weights stay in the checkpoint's rows.
    pub pack: bool,
}

impl Default for WeightsConfig {
    fn default() -> Self {
        Self { pack: true }
    }
}

/// Models that are larger than the memory they may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamingConfig {
    /// The most bytes that weights may take in memory (`"2 GiB"` or a number): what is beyond is read from the
    /// checkpoint ahead of its use, at each pass. `None` keeps all of them. Read when a model is loaded
    /// ([`kiln_kernels::prefetch`]); there is nothing to size: buffers and what is pinned follow from the limit.
    pub memory_limit: Option<ByteSize>,
    /// Off: what is beyond a limit, of host memory or of a card's, is read or sent when it is asked for, and whoever
    /// asks waits. Read when a model is loaded.
    pub read_ahead: bool,
}

impl Default for StreamingConfig {
    fn default() -> Self {
        Self { memory_limit: None, read_ahead: true }
    }
}

/// Models on a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GpuConfig {
    /// Off: every op on a card runs as the decorated backend runs it. On: as the sections above say.
    pub enabled: bool,
    /// `planning.tune` for kernels of cards alone: those that can be cut in more than one good way are measured on the
    /// card at their first use, and the fastest is kept, in `planning.folder`. Not with planning off, and never where
    /// results must be deterministic.
    pub tune: bool,
    /// The most bytes of the card's memory that weights may take (`"2 GiB"` or a number): what is beyond stays in host
    /// memory and is sent to the card ahead of its use, at each pass. `None` keeps all of them there. Read when a model
    /// is loaded. Keys, values and activations come on top.
    pub memory_limit: Option<ByteSize>,
}

impl Default for GpuConfig {
    fn default() -> Self {
        let GpuKernelConfig { enabled, tune } = GpuKernelConfig::default();
        Self { enabled, tune, memory_limit: None }
    }
}

impl GpuConfig {
    /// What kernels read of it.
    pub fn kernels(&self) -> GpuKernelConfig {
        GpuKernelConfig { enabled: self.enabled, tune: self.tune }
    }
}
