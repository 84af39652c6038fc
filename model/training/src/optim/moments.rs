//! What the optimiser keeps of a parameter.

use super::record::{MomentsRecord, read};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, TensorData};

/// What is kept of a parameter between steps. Tensors are f32.
#[derive(Debug, Clone)]
pub(super) struct Moments<B: Backend> {
    pub moment_1: B::FloatTensorPrimitive,
    pub moment_2: B::FloatTensorPrimitive,
    /// The parameter itself, where it is held in fewer bits: an update may be smaller than what those can tell.
    pub master: Option<B::FloatTensorPrimitive>,
    /// Steps that it took: a parameter without a gradient takes none, as in PyTorch.
    pub step: u64,
}

impl<B: Backend> Moments<B> {
    pub(super) fn to_record(&self) -> MomentsRecord {
        MomentsRecord {
            moment_1: read::<B>(&self.moment_1),
            moment_2: read::<B>(&self.moment_2),
            master: self.master.as_ref().map(read::<B>),
            step: self.step,
        }
    }

    pub(super) fn load(record: MomentsRecord, device: &B::Device) -> Self {
        let put = |data: TensorData| B::float_from_data(data.convert_dtype(DType::F32), device);
        Self {
            moment_1: put(record.moment_1),
            moment_2: put(record.moment_2),
            master: record.master.map(put),
            step: record.step,
        }
    }
}
