//! The ring: its buffers, where each unit is, and what the asking threads and the reading one share.

use super::{Files, Held, PageBuffer, Predictor, PrefetchError, Unit};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

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
    /// Whether what is expected next is read before somebody asks for it. [`Keep::Lru`] never does.
    pub read_ahead: bool,
}

impl StreamerOptions {
    /// Whether anything is read before somebody asks for it.
    pub(super) fn reads_ahead(&self) -> bool {
        self.read_ahead && self.keep == Keep::Ring
    }
}

/// What a streamer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamStats {
    /// Requested units that were in memory.
    pub hits: u64,
    /// Requested units that were being read, or next to be: predicted, and waited for.
    pub late: u64,
    /// Requested units that nobody was about to read.
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
    /// Requested units.
    pub fn asked(&self) -> u64 {
        self.hits + self.late + self.misses
    }

    /// The share of requested units that were in memory or on their way; 1 where none was requested.
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

/// What the asking threads and the reading one share.
#[derive(Debug)]
pub(super) struct Ring {
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
    Leased(Weak<Filled>),
    /// Its read failed; whoever asks gets the error, and the next one another read.
    Failed(PrefetchError),
}

/// A buffer with a unit in it.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) unit: Arc<Unit>,
    /// `None` only while it is dropped.
    pub(super) buffer: Option<PageBuffer>,
    pub(super) home: Home,
}

/// Where a buffer goes afterwards.
#[derive(Debug)]
pub(super) enum Home {
    /// Back to the ring that leased it, as the unit of this number.
    Ring(Weak<Ring>, usize),
    /// To the system.
    Own(#[allow(dead_code, reason = "counts until it is dropped")] Held),
}

impl Ring {
    /// Nothing read yet; buffers of `size` bytes.
    pub(super) fn new(files: Arc<Files>, units: Vec<Arc<Unit>>, options: StreamerOptions, size: usize) -> Self {
        let state = State {
            units: units.iter().map(|_| Residence::Absent).collect(),
            free: (0..options.buffers).map(|_| PageBuffer::zeroed(size)).collect(),
            predictor: Predictor::new(units.len()),
            wanted: Vec::new(),
            stats: StreamStats::default(),
            stop: false,
            clock: 0,
        };
        Self { files, units, options, state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something changes.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Ring::wait`]; false where the time was over before.
    pub(super) fn wait_for<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> (MutexGuard<'a, State>, bool) {
        let waited = self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
        (waited.0, !waited.1.timed_out())
    }

    /// Wakes everybody who waits.
    pub(super) fn tell(&self) {
        self.changed.notify_all();
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

impl Drop for Filled {
    fn drop(&mut self) {
        if let (Home::Ring(ring, number), Some(buffer)) = (&self.home, self.buffer.take())
            && let Some(ring) = ring.upgrade()
        {
            ring.give_back(*number, buffer);
        }
    }
}
