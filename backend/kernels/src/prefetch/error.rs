//! What can go wrong while weights are read.

use std::io;
use std::path::PathBuf;

/// Bytes that cannot be had within the limit, or at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrefetchError {
    /// The limit is less than what must be in memory at one time.
    #[error("a memory limit of {limit} bytes is too small: at least {least} bytes are needed at one time")]
    LimitTooSmall {
        /// The limit, bytes.
        limit: u64,
        /// The least that would do, bytes.
        least: u64,
    },
    /// A file cannot be opened.
    #[error("cannot open {}: {source}", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A read failed.
    #[error("cannot read {what} from {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What was read.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file ends before what should be in it.
    #[error("{} was truncated: {what} ends at byte {needed}, and the file at byte {found}", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// What was read.
        what: String,
        /// Where that ends, bytes.
        needed: u64,
        /// Bytes that the file has.
        found: u64,
    },
    /// The file was written to since it was opened.
    #[error("{} was changed while it was in use (reading {what})", file.display())]
    Changed {
        /// The file.
        file: PathBuf,
        /// What was read.
        what: String,
    },
    /// Every buffer is held by somebody who does not let go of it.
    #[error("{what} cannot be read: all {buffers} buffers are in use, and none was given back for {waited_s} s")]
    InUse {
        /// What was requested.
        what: String,
        /// Buffers that there are.
        buffers: usize,
        /// How long was waited, seconds.
        waited_s: u64,
    },
    /// There are no addresses for an array, of which only a part would be in memory.
    #[error("cannot reserve addresses for the {bytes} bytes of {what}: {source}")]
    Space {
        /// The array.
        what: String,
        /// Its size.
        bytes: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The thread that reads cannot be started.
    #[error("cannot start the thread that reads ahead: {source}")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}
