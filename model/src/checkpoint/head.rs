//! A checkpoint that has a head though its configuration ties it to the embedding.

use super::Checkpoint;
use super::expected::{EMBEDDING, HEAD};
use crate::Result;
use crate::config::Qwen3VlConfig;

impl Checkpoint {
    /// Unties `config` if it is tied and the checkpoint nevertheless has a head that differs from the embedding; says
    /// whether it did.
    ///
    /// HF (from version 5) ties two stored tensors only if they are equal, and warns otherwise: such a model was
    /// trained untied and its configuration is wrong. The comparison reads both tensors, up to the first difference.
    ///
    /// # Errors
    /// [`CheckpointError::StoredDtype`](super::CheckpointError::StoredDtype) of either.
    pub fn untie_distinct_head(&self, config: &mut Qwen3VlConfig) -> Result<bool> {
        // Without an embedding there is nothing to compare with, and `check` says that it is missing.
        if !config.text.tie_word_embeddings || !self.contains(HEAD) || !self.contains(EMBEDDING) {
            return Ok(false);
        }
        let equal = self.dtype(HEAD)? == self.dtype(EMBEDDING)? && self.bytes(HEAD)? == self.bytes(EMBEDDING)?;
        self.release(HEAD)?;
        if !equal {
            tracing::warn!(
                dir = %self.dir().display(),
                "tie_word_embeddings is true, but {HEAD} differs from the embedding; it is used as the head"
            );
            config.text.tie_word_embeddings = false;
        }
        Ok(!equal)
    }
}
