//! Who holds how many bytes of the limit.

use super::PrefetchError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes held under a limit. Clones count together.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    counts: Mutex<Counts>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    held: u64,
    high_water: u64,
}

/// Bytes that are counted until it is dropped.
#[derive(Debug)]
pub struct Held {
    ledger: Ledger,
    bytes: u64,
}

impl Ledger {
    /// Nothing held of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Shared { limit, counts: Mutex::default(), freed: Condvar::new() }))
    }

    /// Counts `bytes` more.
    ///
    /// # Errors
    /// [`PrefetchError::LimitTooSmall`] where that would exceed the limit; nothing is counted then.
    pub fn hold(&self, bytes: usize) -> Result<Held, PrefetchError> {
        self.hold_within(bytes, Duration::ZERO)
    }

    /// [`Ledger::hold`], waiting up to `patience` for others to let go of theirs.
    ///
    /// # Errors
    /// As there.
    pub fn hold_within(&self, bytes: usize, patience: Duration) -> Result<Held, PrefetchError> {
        let (limit, bytes) = (self.0.limit, bytes as u64);
        let exceeds = |counts: &mut Counts| counts.held.checked_add(bytes).is_none_or(|sum| sum > limit);
        let waited = self.0.freed.wait_timeout_while(self.lock(), patience, exceeds);
        let (mut counts, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if exceeds(&mut counts) {
            return Err(PrefetchError::LimitTooSmall { limit, least: counts.held.saturating_add(bytes) });
        }
        counts.held += bytes;
        counts.high_water = counts.high_water.max(counts.held);
        Ok(Held { ledger: self.clone(), bytes })
    }

    /// The most that may be held, bytes.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.lock().held
    }

    /// The most bytes that were held at one time.
    pub fn high_water(&self) -> u64 {
        self.lock().high_water
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.lock().held -= self.bytes;
        self.ledger.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_gets_what_is_let_go_of() {
        let ledger = Ledger::new(10);
        let first = ledger.hold(6).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| ledger.hold_within(5, Duration::from_secs(60)).map(drop));
            std::thread::sleep(Duration::from_millis(20));
            drop(first);
            second.join().unwrap().unwrap();
        });
        assert_eq!((ledger.held(), ledger.high_water()), (0, 6));
    }

    #[test]
    fn the_limit_is_never_exceeded() {
        let ledger = Ledger::new(100);
        let first = ledger.hold(60).unwrap();
        let error = ledger.hold(41).unwrap_err();
        assert!(matches!(error, PrefetchError::LimitTooSmall { limit: 100, least: 101 }), "{error}");
        let second = ledger.hold(40).unwrap();
        drop(first);
        assert_eq!((ledger.held(), ledger.high_water()), (40, 100));
        drop(second);
        assert_eq!(ledger.held(), 0);
        assert!(ledger.hold(usize::MAX).is_err());
    }
}
