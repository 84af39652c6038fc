//! The optimiser's state as data on the host.

use super::adamw::Moments;
use burn::record::{PrecisionSettings, Record};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, TensorData, read_sync};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The state of a parameter. Numbers are f32, bit for bit, whatever the precision that a recorder asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MomentsRecord {
    /// First moment.
    pub moment_1: TensorData,
    /// Second moment.
    pub moment_2: TensorData,
    /// The parameter, where it is held in fewer bits.
    pub master: Option<TensorData>,
    /// Steps that it took.
    pub step: u64,
}

/// The state of all parameters, by id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdamWRecord {
    /// By [`ParamId::serialize`](burn::module::ParamId::serialize).
    pub moments: BTreeMap<String, MomentsRecord>,
}

impl<B: Backend> Record<B> for AdamWRecord {
    type Item<S: PrecisionSettings> = Self;

    fn into_item<S: PrecisionSettings>(self) -> Self {
        self
    }

    fn from_item<S: PrecisionSettings>(item: Self, _device: &B::Device) -> Self {
        item
    }
}

/// A tensor of any rank on the host.
pub(super) fn read<B: Backend>(tensor: &B::FloatTensorPrimitive) -> TensorData {
    match read_sync(B::float_into_data(tensor.clone())) {
        Ok(data) => data,
        Err(error) => panic!("the optimiser's state cannot be read: {error:?}"),
    }
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
