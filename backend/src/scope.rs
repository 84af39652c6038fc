//! Which configuration plain Burn ops use: that of the innermost [`scope`] on the calling thread, else the process
//! default.
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

/// A scope of this thread, left when this is dropped: also when what runs in it panics.
struct Entered;

impl Entered {
    fn new(config: Arc<KernelConfig>) -> Self {
        SCOPES.with_borrow_mut(|scopes| scopes.push(config));
        Self
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        SCOPES.with_borrow_mut(|scopes| scopes.pop());
    }
}

/// Runs `work` with `config` for the plain Burn ops that this thread starts in it.
pub fn scope<T>(config: &Arc<KernelConfig>, work: impl FnOnce() -> T) -> T {
    let _entered = Entered::new(Arc::clone(config));
    work()
}

/// The same for a configuration that nobody shares. Nothing is entered where it is that of the innermost scope already,
/// as in the composition of an op that a model calls in its own scope.
pub(crate) fn scope_of<T>(config: &KernelConfig, work: impl FnOnce() -> T) -> T {
    let is_innermost = SCOPES.with_borrow(|scopes| scopes.last().is_some_and(|innermost| **innermost == *config));
    let _entered = (!is_innermost).then(|| Entered::new(Arc::new(config.clone())));
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
