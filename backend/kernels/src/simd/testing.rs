//! What tests of this crate may pretend. Not part of its interface.

use core::sync::atomic::{AtomicBool, Ordering};

static ASSUME_AMX: AtomicBool = AtomicBool::new(false);

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
