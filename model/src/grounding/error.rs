//! What can be wrong with an answer that should say where something is.

use thiserror::Error;

/// Why no detections could be had from an answer, or what is wrong with one of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroundingError {
    /// The answer speaks of neither `bbox_2d` nor `point_2d`.
    #[error("the answer has no `bbox_2d` and no `point_2d`")]
    NotFound,
    /// The answer ends before its first detection does.
    #[error("the answer ends inside its first detection")]
    Truncated,
    /// An object with coordinates that is no value at all (a missing comma, say).
    #[error("the detection at byte {offset} of the answer is not JSON: {reason}")]
    Malformed {
        /// Where the object begins.
        offset: usize,
        /// What the parser said.
        reason: String,
    },
    /// Coordinates that are no list.
    #[error("`{key}` of detection {index} is {found}, not a list of {expected} numbers")]
    NotAList {
        /// `bbox_2d` or `point_2d`, or `bbox` or `point`.
        key: &'static str,
        /// Which detection of the answer, from 0.
        index: usize,
        /// Numbers that are needed.
        expected: usize,
        /// What stands there, shortened.
        found: String,
    },
    /// A list with too few or too many numbers.
    #[error("`{key}` of detection {index} has {found} numbers, not {expected}")]
    Count {
        /// `bbox_2d` or `point_2d`, or `bbox` or `point`.
        key: &'static str,
        /// Which detection of the answer, from 0.
        index: usize,
        /// Numbers that are needed.
        expected: usize,
        /// Numbers that are there.
        found: usize,
    },
    /// A coordinate that is no number.
    #[error("`{key}` of detection {index} holds {found}, which is no number")]
    NotANumber {
        /// `bbox_2d` or `point_2d`, or `bbox` or `point`.
        key: &'static str,
        /// Which detection of the answer, from 0.
        index: usize,
        /// What stands there, shortened.
        found: String,
    },
    /// An answer far longer than the model can write.
    #[error("the answer has {found} bytes, more than the {limit} that are read")]
    TooLong {
        /// Its length.
        found: usize,
        /// The longest that is read.
        limit: usize,
    },
}
