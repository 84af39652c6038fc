//! Bytes as they lie in a checkpoint's files.

use super::Checkpoint;
use crate::Result;

/// Where the stored bytes of a checkpoint's tensors are.
pub(crate) trait StoredBytes {
    /// The bytes of the tensor `name` as they lie in its file, without a copy.
    fn stored(&self, name: &str) -> Result<bytes::Bytes>;
}

impl StoredBytes for Checkpoint {
    fn stored(&self, name: &str) -> Result<bytes::Bytes> {
        self.bytes(name)
    }
}
