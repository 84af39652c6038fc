//! Loading one tensor after another, with somebody watching.

use super::{Checkpoint, LoadProgress, LoadStep};
use crate::Result;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};

/// Loads tensors of a checkpoint onto one device and tells a [`LoadProgress`] of each.
pub struct Loader<'a, B: Backend> {
    checkpoint: &'a Checkpoint,
    device: B::Device,
    progress: &'a mut dyn LoadProgress,
    done: u64,
    total: u64,
}

impl<'a, B: Backend> Loader<'a, B> {
    /// A loader that has loaded nothing.
    pub fn new(checkpoint: &'a Checkpoint, device: &B::Device, progress: &'a mut dyn LoadProgress) -> Self {
        Self { checkpoint, device: device.clone(), progress, done: 0, total: checkpoint.total_bytes() }
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }

    /// The device.
    pub fn device(&self) -> &B::Device {
        &self.device
    }

    /// [`Checkpoint::tensor`], counted.
    ///
    /// # Errors
    /// As there.
    pub fn load<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        dtype: Option<DType>,
    ) -> Result<Tensor<B, D>> {
        let tensor = self.checkpoint.tensor(name, shape, dtype, &self.device)?;
        self.done += self.checkpoint.stored_len(name)?;
        self.progress.advance(LoadStep { done: self.done, total: self.total, tensor: name });
        Ok(tensor)
    }
}
