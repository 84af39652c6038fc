//! Counters and gauges that kernels report to: proof of what ran inside of one.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Something that a kernel does or leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Probe {
    /// A matrix product by `vdpbf16ps`.
    Bf16Dots,
    /// A matrix product by `tdpbf16ps`.
    Bf16Tiles,
    /// A kernel call that issues software prefetches.
    Prefetch,
    /// A call of a norm or a softmax, with the bytes of the block that it keeps in cache between its passes.
    Blocks,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 4] = [Self::Bf16Dots, Self::Bf16Tiles, Self::Prefetch, Self::Blocks];
}

static COUNTS: [AtomicU64; Probe::ALL.len()] = [const { AtomicU64::new(0) }; Probe::ALL.len()];
static LAST: [AtomicU64; Probe::ALL.len()] = [const { AtomicU64::new(0) }; Probe::ALL.len()];

/// How often kernels reported `probe` in this process.
pub fn count(probe: Probe) -> u64 {
    COUNTS[probe as usize].load(Relaxed)
}

/// The size that was reported last with `probe` in this process; 0 before the first, and for probes without a size.
pub fn last(probe: Probe) -> u64 {
    LAST[probe as usize].load(Relaxed)
}

/// Reports `probe` once, with a size.
pub(crate) fn report_size(probe: Probe, size: usize) {
    LAST[probe as usize].store(size as u64, Relaxed);
    report(probe);
}

/// Reports `probe` once.
pub(crate) fn report(probe: Probe) {
    COUNTS[probe as usize].fetch_add(1, Relaxed);
}
