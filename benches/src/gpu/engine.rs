//! Calls that are enqueued on a card and waited for.

use super::work::Work;
use crate::engines::catch;
use crate::measure::{Engine, Failure};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Waits until the card has done all that was asked of it, and tells what went wrong on it.
pub type Wait = Rc<dyn Fn() -> Result<(), Failure>>;

/// An engine of this process.
pub struct Queued {
    name: &'static str,
    work: Work,
    wait: Wait,
    sets: usize,
    next: usize,
    note: Option<String>,
}

impl Queued {
    /// `work` on each of `sets` sets in turn.
    pub fn new(name: &'static str, work: Work, sets: usize, wait: &Wait) -> Self {
        Self { name, work, wait: Rc::clone(wait), sets, next: 0, note: None }
    }

    /// With something to say about how it runs.
    pub fn with_note(self, note: Option<String>) -> Self {
        Self { note, ..self }
    }
}

impl Engine for Queued {
    fn name(&self) -> &str {
        self.name
    }

    /// Seconds from the first call to the end of the last: the card works while the host enqueues.
    fn run(&mut self, calls: usize) -> Result<Duration, Failure> {
        let Self { work, wait, sets, next, .. } = self;
        catch(|| {
            wait()?;
            let begin = Instant::now();
            for _ in 0..calls {
                work(*next % *sets);
                *next += 1;
            }
            wait()?;
            Ok(begin.elapsed())
        })?
    }

    fn note(&self) -> Option<String> {
        self.note.clone()
    }
}
