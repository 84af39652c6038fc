//! Modules whose parameters are not each other's.

/// Why a module cannot take over the parameters of another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The target has a parameter that the source lacks.
    #[error("the target's parameter {path} is not in the source: both must be made from the same sizes")]
    Missing {
        /// Where it is in the target.
        path: String,
    },
    /// The source has a parameter that the target lacks.
    #[error("the source's parameter {path} is not in the target: both must be made from the same sizes")]
    Left {
        /// Where it is in the source.
        path: String,
    },
    /// A parameter has another shape, or another kind (float, int, bool), in the target.
    #[error("the parameter {path} is {found} in the source and {expected} in the target")]
    Shape {
        /// Where it is.
        path: String,
        /// Kind and shape in the source.
        found: String,
        /// Kind and shape in the target.
        expected: String,
    },
}
