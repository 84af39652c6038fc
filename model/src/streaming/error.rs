//! What can be wrong with a limit of a card's memory.

/// Weights that cannot be on a card as they were asked to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The backend computes in host memory.
    #[error("{backend} keeps its tensors in host memory: a limit of a card's memory needs a backend of a card")]
    NoCard {
        /// The backend.
        backend: String,
    },
    /// The limit is less than what must be on the card at one time.
    #[error(
        "a limit of {limit} bytes of weights on the card is too small: at least {least} bytes are needed at one time"
    )]
    LimitTooSmall {
        /// The limit, bytes.
        limit: u64,
        /// The least that would do, bytes.
        least: u64,
    },
    /// Parts of the model are used outside of its passes.
    #[error("no place for the next part within {limit} bytes on the card: others are in use")]
    InUse {
        /// The limit, bytes.
        limit: u64,
    },
}
