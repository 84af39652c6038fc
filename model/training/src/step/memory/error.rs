//! Why a step cannot be planned.

use super::table::format_bytes;

/// Why a step cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The budget is too small even where every layer runs twice.
    #[error(
        "a step takes {} with every layer computed twice, and the limit is {}: give it that much, shorter samples, \
         smaller pictures, or train less of the model",
        format_bytes(*.least), format_bytes(*.budget)
    )]
    Budget {
        /// As given, bytes.
        budget: u64,
        /// The least that would do, bytes.
        least: u64,
    },
    /// Every parameter is frozen.
    #[error("every parameter is frozen: nothing trains")]
    NothingTrains,
}
