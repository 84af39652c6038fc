//! What tests of this crate may pretend. Not part of its interface.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

static ASSUME_AMX: AtomicBool = AtomicBool::new(false);

/// 0 for no, 1 for yes, anything else for what was measured.
static ASSUME_BF16_DOTS: AtomicU8 = AtomicU8::new(u8::MAX);

/// From now on this process takes its CPU to have AMX with bf16, which a CPU without will answer with SIGILL at the
/// first instruction of tiles: the caller has a handler that executes them. The other extensions of the tier are still
/// looked for.
pub fn assume_amx() {
    ASSUME_AMX.store(true, Ordering::SeqCst);
}

/// Whether [`assume_amx`] was called.
pub(super) fn assumes_amx() -> bool {
    ASSUME_AMX.load(Ordering::Relaxed)
}

/// From now on this process takes `vdpbf16ps` to be worth it or not, or asks its rate again (`None`).
pub fn assume_bf16_dots(preferred: Option<bool>) {
    ASSUME_BF16_DOTS.store(preferred.map_or(u8::MAX, u8::from), Ordering::SeqCst);
}

/// What [`assume_bf16_dots`] was called with.
#[cfg(target_arch = "x86_64")]
pub(super) fn assumed_bf16_dots() -> Option<bool> {
    match ASSUME_BF16_DOTS.load(Ordering::Relaxed) {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
