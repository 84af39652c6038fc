//! Units that go through a ring of buffers.

use super::background::run;
use super::lease::Filled;
use super::{Files, Held, Lease, Ledger, PageBuffer, Predictor, PrefetchError, Unit};
use std::mem::replace;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long somebody waits for a buffer while nothing is read and every buffer is lent. Passes side by side give theirs back within one layer's
/// time; who keeps leases (a tape of gradients) never does.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens to a unit that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Its buffer takes what comes next in the order of use, which is read ahead.
    #[default]
    Ring,
    /// It stays until its buffer is the one used the longest time ago. Nothing is read ahead.
    Lru,
}

/// How units are streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamerOptions {
    /// Buffers, each as large as the largest unit. Of two, one is in use and one is being read into.
    pub buffers: usize,
    /// What happens to used units.
    pub keep: Keep,
}

/// What a streamer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamStats {
    /// Units asked for that were at hand.
    pub hits: u64,
    /// Units asked for that were being read, or next to be: predicted, and waited for.
    pub late: u64,
    /// Units asked for that nobody was about to read.
    pub misses: u64,
    /// Units that were read ahead, and whose buffer was taken for another before they were used.
    pub wasted: u64,
    /// Bytes read from files.
    pub bytes_read: u64,
    /// Time spent reading.
    pub reading: Duration,
    /// Time that somebody who asked has waited.
    pub stall: Duration,
}

impl StreamStats {
    /// Units asked for.
    pub fn asked(&self) -> u64 {
        self.hits + self.late + self.misses
    }

    /// The share of units asked for that were at hand or on their way; 1 where none was asked for.
    pub fn hit_rate(&self) -> f64 {
        match self.asked() {
            0 => 1.0,
            asked => (self.hits + self.late) as f64 / asked as f64,
        }
    }

    /// What happened since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            hits: self.hits - before.hits,
            late: self.late - before.late,
            misses: self.misses - before.misses,
            wasted: self.wasted - before.wasted,
            bytes_read: self.bytes_read - before.bytes_read,
            reading: self.reading - before.reading,
            stall: self.stall - before.stall,
        }
    }
}

/// Lends units, and reads ahead those that will be asked for. Dropping it ends its thread; leases stay good.
#[derive(Debug)]
pub struct Streamer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The ring's buffers.
    _held: Held,
}

/// What the asking threads and the reading one share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) files: Arc<Files>,
    pub(super) units: Vec<Arc<Unit>>,
    pub(super) options: StreamerOptions,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) units: Vec<Residence>,
    pub(super) free: Vec<PageBuffer>,
    pub(super) predictor: Predictor,
    /// Units that somebody waits for.
    pub(super) wanted: Vec<usize>,
    pub(super) stats: StreamStats,
    pub(super) stop: bool,
    /// Counts asks: the time of LRU.
    pub(super) clock: u64,
}

/// Where a unit is.
#[derive(Debug)]
pub(super) enum Residence {
    /// In its file only.
    Absent,
    /// Being read.
    Loading,
    /// In a buffer that nobody uses. `asked` is when it was used last, 0 for never.
    Ready { buffer: PageBuffer, asked: u64 },
    /// In a buffer that somebody uses.
    Lent(Weak<Filled>),
    /// Its read failed; whoever asks gets the error, and the next one another read.
    Failed(PrefetchError),
}

/// What was asked for, under the lock that it was found under.
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
        let state = State {
            units: units.iter().map(|_| Residence::Absent).collect(),
            free: (0..options.buffers).map(|_| PageBuffer::zeroed(size)).collect(),
            predictor: Predictor::new(units.len()),
            wanted: Vec::new(),
            stats: StreamStats::default(),
            stop: false,
            clock: 0,
        };
        let shared = Arc::new(Shared { files, units, options, state: Mutex::new(state), changed: Condvar::new() });
        let background = shared.clone();
        let thread = std::thread::Builder::new().name("kiln-prefetch".into()).spawn(move || run(&background));
        let thread = thread.map_err(|source| PrefetchError::Thread { source })?;
        Ok(Self { shared, thread: Some(thread), _held: held })
    }

    /// The unit `number`: at once where it is at hand, after its read where not.
    ///
    /// # Errors
    /// [`PrefetchError`] of its read; [`PrefetchError::InUse`] where all buffers are kept by others.
    ///
    /// # Panics
    /// Without such a unit.
    pub fn ask(&self, number: usize) -> Result<Lease, PrefetchError> {
        self.shared.ask(number)
    }

    /// What it did so far.
    pub fn stats(&self) -> StreamStats {
        self.shared.lock().stats
    }

    /// Bytes of all units, each read once.
    pub fn bytes(&self) -> u64 {
        self.shared.units.iter().map(|unit| unit.len() as u64).sum()
    }

    /// Bytes of one buffer, and how many there are.
    pub fn ring(&self) -> (usize, usize) {
        let size = self.shared.units.iter().map(|unit| unit.len()).max().unwrap_or(0);
        (PageBuffer::cost(size), self.shared.options.buffers)
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something changes.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Shared::wait`]; false where the time was over before.
    fn wait_for<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> (MutexGuard<'a, State>, bool) {
        let waited = self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
        (waited.0, !waited.1.timed_out())
    }

    /// Wakes everybody who waits.
    pub(super) fn tell(&self) {
        self.changed.notify_all();
    }

    fn ask(self: &Arc<Self>, number: usize) -> Result<Lease, PrefetchError> {
        let began = Instant::now();
        let mut state = self.lock();
        // Expected, and yet not begun: the thread is still busy with what comes before.
        let expected = state.predictor.observe(number) && self.options.keep == Keep::Ring;
        state.clock += 1;
        match &state.units[number] {
            Residence::Ready { .. } | Residence::Lent(_) => state.stats.hits += 1,
            Residence::Loading | Residence::Failed(_) => state.stats.late += 1,
            Residence::Absent if expected => state.stats.late += 1,
            Residence::Absent => state.stats.misses += 1,
        }
        state.wanted.push(number);
        // What is expected has changed.
        self.tell();
        let (mut state, outcome) = self.obtain(state, number);
        if let Some(place) = state.wanted.iter().position(|&wanted| wanted == number) {
            state.wanted.swap_remove(place);
        }
        state.stats.stall += began.elapsed();
        self.tell();
        outcome
    }

    /// Waits until `number`, which is wanted, is at hand.
    fn obtain<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>, number: usize) -> Obtained<'a> {
        loop {
            match replace(&mut state.units[number], Residence::Absent) {
                Residence::Ready { buffer, .. } => {
                    let lease = Lease::lend(self.units[number].clone(), buffer, self, number);
                    state.units[number] = Residence::Lent(Arc::downgrade(&lease.0));
                    return (state, Ok(lease));
                }
                Residence::Lent(lent) => {
                    let lease = lent.upgrade().map(Lease);
                    state.units[number] = Residence::Lent(lent);
                    if let Some(lease) = lease {
                        return (state, Ok(lease));
                    }
                    // Its last user waits for this lock, to give the buffer back.
                }
                Residence::Failed(error) => return (state, Err(error)),
                Residence::Loading => state.units[number] = Residence::Loading,
                Residence::Absent => {}
            }
            let (next, changed) = self.wait_for(state, PATIENCE);
            state = next;
            let all_lent = state.units.iter().filter(|unit| matches!(unit, Residence::Lent(_))).count();
            if !changed && all_lent == self.options.buffers {
                let what = self.units[number].name().to_owned();
                let error = PrefetchError::InUse { what, buffers: all_lent, waited_s: PATIENCE.as_secs() };
                return (state, Err(error));
            }
        }
    }

    /// Takes a buffer back from its last user.
    pub(super) fn give_back(&self, number: usize, buffer: PageBuffer) {
        let mut state = self.lock();
        match self.options.keep {
            Keep::Ring => {
                state.units[number] = Residence::Absent;
                state.free.push(buffer);
            }
            Keep::Lru => state.units[number] = Residence::Ready { buffer, asked: state.clock },
        }
        self.tell();
    }
}

impl Drop for Streamer {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.tell();
        if let Some(thread) = self.thread.take() {
            // It only ends by itself, or by a bug that has already been shown.
            let _ = thread.join();
        }
    }
}
