//! The part of a model that goes to a card and away from it again at each pass.
//!
//! ```text
//! card, in order   send(i + 1)  kernels of i   free i   send(i + 2)  kernels of i + 1   ..
//! host             while the card copies and computes that, part i + 2 is read (its pages, or the ring of files) and copied for sending
//! ```
//!
//! What is asked for is followed by what came after it the last time, or comes next by number ([`Predictor`]), and that
//! is sent before the kernels of what was asked for are even queued. One stream of work does everything, so that a
//! freed place is written only after the kernels that read it, without anybody waiting; passes of several threads take
//! turns.

use super::error::CardError;
use super::slots::{Slot, Slots};
use crate::Result;
use burn::tensor::StreamId;
use kiln_kernels::prefetch::Predictor;
use std::any::Any;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a card holds of a model, and the order in which it gets the rest.
#[derive(Debug)]
pub(super) struct Card {
    limit: u64,
    /// Bytes that stay there.
    pinned: u64,
    /// Whether the next part is sent before it is asked for.
    sends_ahead: bool,
    /// Bytes of each tensor of each streamed part.
    sizes: Vec<Vec<u64>>,
    slots: Slots,
    /// The stream of work that weights were sent on.
    stream: StreamId,
    turn: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    predictor: Predictor,
    ahead: Option<Sent>,
    stats: CardStats,
}

/// A part on the card that nobody has asked for yet. The slot is dropped last.
struct Sent {
    number: usize,
    part: Box<dyn Any + Send>,
    slot: Slot,
}

/// What was sent to a card since the model was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CardStats {
    /// Parts asked for that had been sent ahead.
    pub hits: u64,
    /// Parts asked for that were sent then.
    pub misses: u64,
    /// Parts that were sent ahead, and not used.
    pub wasted: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Time in which the host read and copied parts for sending.
    pub sending: Duration,
    /// The part of it that somebody waited for, who had asked.
    pub stall: Duration,
}

impl CardStats {
    /// The share of parts asked for that had been sent ahead; 1 where none was asked for.
    pub fn hit_rate(&self) -> f64 {
        match self.hits + self.misses {
            0 => 1.0,
            asked => self.hits as f64 / asked as f64,
        }
    }

    /// What happened since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            hits: self.hits - before.hits,
            misses: self.misses - before.misses,
            wasted: self.wasted - before.wasted,
            bytes_sent: self.bytes_sent - before.bytes_sent,
            sending: self.sending - before.sending,
            stall: self.stall - before.stall,
        }
    }
}

/// How a model gets on whose weights don't fit its card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardReport {
    /// The limit, bytes.
    pub limit: u64,
    /// Bytes of weights on the card now: those that stay, and the slots of the others whether used or not.
    pub held: u64,
    /// The most that they were at one time.
    pub high_water: u64,
    /// Bytes that stay.
    pub pinned: u64,
    /// Bytes that a pass over all parts sends.
    pub streamed: u64,
    /// What was sent since the model was loaded.
    pub stats: CardStats,
}

impl Card {
    /// With `pinned` bytes of the limit in use, and `ring` for parts of these sizes. Unless it `sends_ahead`, a part is
    /// sent when it is asked for.
    pub(super) fn new(limit: u64, (pinned, ring): (u64, u64), sizes: Vec<Vec<u64>>, sends_ahead: bool) -> Self {
        let state = State { predictor: Predictor::new(sizes.len()), ahead: None, stats: CardStats::default() };
        Self {
            limit,
            pinned,
            sends_ahead,
            sizes,
            slots: Slots::new(ring),
            stream: StreamId::current(),
            turn: Mutex::new(()),
            state: Mutex::new(state),
        }
    }

    /// The streamed part `number`, and the next one on its way. `make` sends a part; `clean` makes the card's allocator
    /// let go of what is free.
    ///
    /// # Errors
    /// Those of `make`; [`CardError::InUse`] where parts are in use that should not be.
    pub(super) fn take<T: 'static>(
        &self,
        number: usize,
        make: &dyn Fn(usize) -> Result<Box<dyn Any + Send>>,
        clean: &dyn Fn(),
    ) -> Result<(Box<T>, Slot)> {
        let began = Instant::now();
        let mut state = self.lock();
        let ahead = state.ahead.take();
        let was_ahead = ahead.is_some();
        let expected = ahead.filter(|sent| sent.number == number).and_then(|Sent { part, slot, .. }| {
            // Of another type where the model moved to another backend.
            part.downcast::<T>().ok().map(|part| (part, slot))
        });
        let (part, slot) = match expected {
            Some(found) => {
                state.stats.hits += 1;
                found
            }
            None => {
                state.stats.wasted += u64::from(was_ahead);
                state.stats.misses += 1;
                let Sent { part, slot, .. } = self.send(number, make, clean, &mut state.stats)?;
                state.stats.stall += began.elapsed();
                let Ok(part) = part.downcast::<T>() else { unreachable!("a part is made as its kind") };
                (part, slot)
            }
        };
        state.predictor.observe(number);
        let next = state.predictor.following().filter(|_| self.sends_ahead);
        // What goes wrong ahead of use is told to whoever asks for it.
        state.ahead = next.and_then(|next| self.send(next, make, clean, &mut state.stats).ok());
        Ok((part, slot))
    }

    fn send(
        &self,
        number: usize,
        make: &dyn Fn(usize) -> Result<Box<dyn Any + Send>>,
        clean: &dyn Fn(),
        stats: &mut CardStats,
    ) -> Result<Sent> {
        let began = Instant::now();
        let sizes = &self.sizes[number];
        let (slot, must_clean) = self.slots.take(sizes).ok_or(CardError::InUse { limit: self.limit })?;
        if must_clean {
            clean();
        }
        let part = make(number)?;
        stats.bytes_sent += sizes.iter().sum::<u64>();
        stats.sending += began.elapsed();
        Ok(Sent { number, part, slot })
    }

    /// Runs a pass: alone, and on the stream of the weights.
    pub(super) fn run_pass<T>(&self, pass: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.on_stream(pass)
    }

    /// Runs `work` on the stream of the weights.
    pub(super) fn on_stream<T>(&self, work: impl FnOnce() -> T) -> T {
        self.stream.executes(work)
    }

    /// How it gets on.
    pub(super) fn report(&self) -> CardReport {
        let (held, high_water) = self.slots.held();
        CardReport {
            limit: self.limit,
            held: self.pinned + held,
            high_water: self.pinned + high_water,
            pinned: self.pinned,
            streamed: self.sizes.iter().flatten().sum(),
            stats: self.lock().stats,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ahead = self.ahead.as_ref().map(|sent| sent.number);
        f.debug_struct("State").field("ahead", &ahead).field("stats", &self.stats).finish_non_exhaustive()
    }
}
