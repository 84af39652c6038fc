//! Units that go through a ring of buffers.

use super::background::run;
use super::ring::{Residence, Ring, State, StreamStats, StreamerOptions};
use super::{Files, Held, Lease, Ledger, PageBuffer, PrefetchError, Unit};
use std::mem::replace;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long somebody waits for a buffer while nothing is read and every buffer is leased. Passes side by side give
/// theirs back within one layer's time; who keeps leases (a tape of gradients) never does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Leases units, and reads ahead those that will be requested. Dropping it ends its thread; leases stay good.
#[derive(Debug)]
pub struct Streamer {
    ring: Arc<Ring>,
    thread: Option<JoinHandle<()>>,
    /// The ring's buffers.
    _held: Held,
}

/// What was requested, under the lock that it was found under.
type Obtained<'a> = (MutexGuard<'a, State>, Result<Lease, PrefetchError>);

impl Streamer {
    /// A streamer of `units`, numbered in the order in which they should come to be used.
    ///
    /// # Errors
    /// [`PrefetchError::LimitTooSmall`] where the buffers don't fit `ledger`, [`PrefetchError::Thread`].
    pub fn start(
        files: Arc<Files>,
        units: Vec<Arc<Unit>>,
        options: StreamerOptions,
        ledger: &Ledger,
    ) -> Result<Self, PrefetchError> {
        let options = StreamerOptions { buffers: options.buffers.clamp(1, units.len().max(1)), ..options };
        let size = units.iter().map(|unit| unit.len()).max().unwrap_or(0);
        let held = ledger.hold(PageBuffer::cost(size) * options.buffers)?;
        let ring = Arc::new(Ring::new(files, units, options, size));
        let background = ring.clone();
        let thread = std::thread::Builder::new().name("kiln-prefetch".into()).spawn(move || run(&background));
        let thread = thread.map_err(|source| PrefetchError::Thread { source })?;
        Ok(Self { ring, thread: Some(thread), _held: held })
    }

    /// The unit `number`: at once where it is in memory, after its read where not.
    ///
    /// # Errors
    /// [`PrefetchError`] of its read; [`PrefetchError::InUse`] where all buffers are kept by others.
    ///
    /// # Panics
    /// Without such a unit.
    pub fn ask(&self, number: usize) -> Result<Lease, PrefetchError> {
        ask(&self.ring, number)
    }

    /// What it did so far.
    pub fn stats(&self) -> StreamStats {
        self.ring.lock().stats
    }

    /// Bytes of all units, each read once.
    pub fn bytes(&self) -> u64 {
        self.ring.units.iter().map(|unit| unit.len() as u64).sum()
    }

    /// Bytes of one buffer, and how many there are.
    pub fn ring(&self) -> (usize, usize) {
        let size = self.ring.units.iter().map(|unit| unit.len()).max().unwrap_or(0);
        (PageBuffer::cost(size), self.ring.options.buffers)
    }
}

impl Drop for Streamer {
    fn drop(&mut self) {
        self.ring.lock().stop = true;
        self.ring.tell();
        if let Some(thread) = self.thread.take() {
            // It only ends by itself, or by a bug that has already been shown.
            let _ = thread.join();
        }
    }
}

/// The unit `number`, and what that tells the predictor and the statistics.
fn ask(ring: &Arc<Ring>, number: usize) -> Result<Lease, PrefetchError> {
    let began = Instant::now();
    let mut state = ring.lock();
    // Expected, and yet not begun: the thread is still busy with what comes before.
    let expected = state.predictor.observe(number) && ring.options.reads_ahead();
    state.clock += 1;
    match &state.units[number] {
        Residence::Ready { .. } | Residence::Leased(_) => state.stats.hits += 1,
        Residence::Loading | Residence::Failed(_) => state.stats.late += 1,
        Residence::Absent if expected => state.stats.late += 1,
        Residence::Absent => state.stats.misses += 1,
    }
    state.wanted.push(number);
    // What is expected has changed.
    ring.tell();
    let (mut state, outcome) = obtain(ring, state, number);
    if let Some(place) = state.wanted.iter().position(|&wanted| wanted == number) {
        state.wanted.swap_remove(place);
    }
    state.stats.stall += began.elapsed();
    ring.tell();
    outcome
}

/// Waits until `number`, which is wanted, is in memory.
fn obtain<'a>(ring: &'a Arc<Ring>, mut state: MutexGuard<'a, State>, number: usize) -> Obtained<'a> {
    loop {
        match replace(&mut state.units[number], Residence::Absent) {
            Residence::Ready { buffer, .. } => {
                let lease = Lease::lend(ring.units[number].clone(), buffer, ring, number);
                state.units[number] = Residence::Leased(Arc::downgrade(&lease.0));
                return (state, Ok(lease));
            }
            Residence::Leased(leased) => {
                let lease = leased.upgrade().map(Lease);
                state.units[number] = Residence::Leased(leased);
                if let Some(lease) = lease {
                    return (state, Ok(lease));
                }
                // Its last user waits for this lock, to give the buffer back.
            }
            Residence::Failed(error) => return (state, Err(error)),
            Residence::Loading => state.units[number] = Residence::Loading,
            Residence::Absent => {}
        }
        let (next, changed) = ring.wait_for(state, PATIENCE);
        state = next;
        let all_leased = state.units.iter().filter(|unit| matches!(unit, Residence::Leased(_))).count();
        if !changed && all_leased == ring.options.buffers {
            let what = ring.units[number].name().to_owned();
            let error = PrefetchError::InUse { what, buffers: all_leased, waited_s: PATIENCE.as_secs() };
            return (state, Err(error));
        }
    }
}
