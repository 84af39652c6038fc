//! Counters that kernels report to: proof of what ran inside of one.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Something that a kernel does or leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Probe {
    /// A matrix product by `vdpbf16ps`.
    Bf16Dots,
    /// A matrix product by `tdpbf16ps`.
    Bf16Tiles,
    /// A run of a kernel that prefetches what it reads next: one for each thread's share of the work.
    Prefetch,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 3] = [Self::Bf16Dots, Self::Bf16Tiles, Self::Prefetch];
}

static COUNTS: [AtomicU64; Probe::ALL.len()] = [const { AtomicU64::new(0) }; Probe::ALL.len()];

/// How often kernels reported `probe` in this process.
pub fn count(probe: Probe) -> u64 {
    COUNTS[probe as usize].load(Relaxed)
}

/// Reports `probe` once.
pub(crate) fn report(probe: Probe) {
    COUNTS[probe as usize].fetch_add(1, Relaxed);
}
