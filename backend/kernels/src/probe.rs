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
    /// A kernel whose work was shared out to threads, with the number of parts that run at one time.
    Threads,
    /// A part of a product in packed blocks, with the rows of its blocks of A.
    BlockRows,
    /// The same with the depth of its blocks.
    BlockDepth,
    /// The same with the columns of its blocks of B.
    BlockColumns,
    /// A call of attention, with the rows of a unit.
    AttentionRows,
    /// The same with the keys of a tile.
    AttentionKeys,
    /// A call of attention whose keys are shared out to threads, with the parts that those of a unit are cut into.
    KeySplits,
    /// A unit of attention whose products are `tdpbf16ps`.
    AttentionTiles,
    /// A change of the algorithm that products run: to this [`Variant`](crate::gemm::Variant), as a number.
    Algorithm,
    /// A change of the instruction set that kernels enter: to that of this place in [`Tier::ALL`](crate::simd::Tier).
    Tier,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 14] = [
        Self::Bf16Dots,
        Self::Bf16Tiles,
        Self::Prefetch,
        Self::Blocks,
        Self::Threads,
        Self::BlockRows,
        Self::BlockDepth,
        Self::BlockColumns,
        Self::AttentionRows,
        Self::AttentionKeys,
        Self::KeySplits,
        Self::AttentionTiles,
        Self::Algorithm,
        Self::Tier,
    ];
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

/// Reports `probe` with a state, where it is another one than the last: one load where nothing changes.
#[inline]
pub(crate) fn report_state(probe: Probe, state: usize) {
    if LAST[probe as usize].load(Relaxed) != state as u64 {
        report_size(probe, state);
    }
}

/// Reports `probe` once.
pub(crate) fn report(probe: Probe) {
    COUNTS[probe as usize].fetch_add(1, Relaxed);
}
