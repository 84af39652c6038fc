//! Which configuration plain Burn ops use: that of the innermost [`scope`] on the calling thread, else the process default.
//!
//! A model's own configuration travels with it through the fused ops and is not looked up here.

use burn_kiln_fusion::KernelConfig;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

static DEFAULT: OnceLock<Arc<KernelConfig>> = OnceLock::new();

thread_local! {
    static SCOPES: RefCell<Vec<Arc<KernelConfig>>> = const { RefCell::new(Vec::new()) };
}

/// The process default was set already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the default configuration is set already: set it once, before the first tensor operation")]
pub struct DefaultIsSet;

/// Sets the configuration that plain Burn ops use outside of any [`scope`].
///
/// # Errors
/// [`DefaultIsSet`] on a second call, and after the first op used the built-in default.
pub fn set_default(config: KernelConfig) -> Result<(), DefaultIsSet> {
    DEFAULT.set(Arc::new(config)).map_err(|_| DefaultIsSet)
}

/// Runs `work` with `config` for the plain Burn ops that this thread starts in it.
pub fn scope<T>(config: &Arc<KernelConfig>, work: impl FnOnce() -> T) -> T {
    /// Leaves the scope, also when `work` panics.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            SCOPES.with_borrow_mut(|scopes| scopes.pop());
        }
    }
    SCOPES.with_borrow_mut(|scopes| scopes.push(Arc::clone(config)));
    let _leave = Leave;
    work()
}

/// The configuration of an op that starts here.
pub fn current() -> Arc<KernelConfig> {
    let inner = SCOPES.with_borrow(|scopes| scopes.last().cloned());
    inner.unwrap_or_else(|| Arc::clone(DEFAULT.get_or_init(Arc::default)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_nest_and_end_on_panic() {
        let outer = Arc::new(KernelConfig { deterministic: true, ..KernelConfig::default() });
        let inner = Arc::new(KernelConfig::none());
        scope(&outer, || {
            assert!(current().deterministic);
            let panicked = std::panic::catch_unwind(|| scope(&inner, || panic!("out of the inner scope")));
            assert!(panicked.is_err());
            assert!(current().deterministic && current().tiling.enabled);
        });
        assert!(!current().deterministic);
    }
}
