//! Whether cores are whole: a core that two hyperthreads share gives each of them half of its instructions.
//!
//! On a virtual machine the other hyperthread belongs to somebody else and cannot be seen, but it can be felt: `nop`s
//! need nothing but a place in the core's pipeline, so their rate halves when a sibling is busy (6 a cycle to 3 on
//! Golden Cove, 8 to 4 on Zen 5), while a chain of dependent multiplications takes its 3 cycles each in either state
//! and so counts the cycles. What a kernel loses there is between nothing and three quarters, so figures of both states
//! are kept apart: figures, limits and ratios are of one state.
//!
//! ```text
//! width.rs  nops a cycle, of each thread of a pool at one moment: about 40 µs
//! meter.rs  takes them before and after every sample; classifies; waits for a state that is wanted
//! watch.rs  takes them now and then beside a whole program
//! ```
//!
//! Two virtual cores on one physical core show as well: all threads are gauged at one moment, so each finds the other
//! busy.

mod meter;
mod watch;
mod width;

pub use meter::{Meter, Wait};
pub use watch::{Span, Watch, part_alone, ratio_of_near};
pub use width::{Widths, measure_widths};

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of the cores during a sample.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Every thread had a core of its own.
    Alone,
    /// Some threads had one, others shared theirs, as many before the sample as after it.
    Partly,
    /// Every thread shared its core with a busy hyperthread.
    Shared,
    /// Not the same after the sample as before it: the figure is of no state.
    #[value(skip)]
    Mixed,
    /// Not gauged: another architecture, or a peer that was not where the gauge was.
    #[default]
    #[value(skip)]
    Unknown,
}

impl State {
    /// Those that a sample as a whole can be in.
    pub const PURE: [Self; 3] = [Self::Alone, Self::Partly, Self::Shared];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alone => "alone",
            Self::Partly => "partly",
            Self::Shared => "shared",
            Self::Mixed => "mixed",
            Self::Unknown => "unknown",
        })
    }
}
