//! Tensors out of a checkpoint: the mapping itself where it can be used as it lies, a converted copy where not.

use super::convert::{Float, OutOfRange, convert};
use super::fp8::dequantize;
use super::{Checkpoint, CheckpointError};
use crate::Result;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use burn_std::{AllocationProperty, Bytes};
use safetensors::Dtype;

impl Checkpoint {
    /// The tensor `name` as data of shape `expected_shape` and dtype `target` (`None`: as it is stored).
    ///
    /// Where the stored dtype is the wanted one and its bytes lie aligned, the data *is* the mapping: nothing is copied, and
    /// pages come from the file when they are first read. Otherwise this one tensor is copied, converted (rounded to nearest
    /// even), and its pages of the file are [released](Checkpoint::release). HF's files align tensors; the format doesn't ask it.
    ///
    /// An FP8 matrix of a checkpoint [with scales](Checkpoint::with_quantization) is dequantised, `weight · scale` in f32 and then
    /// rounded, as HF does; to bf16 where `target` is `None`.
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`], [`Shape`](CheckpointError::Shape), [`StoredDtype`](CheckpointError::StoredDtype),
    /// [`TargetDtype`](CheckpointError::TargetDtype), [`OutOfRange`](CheckpointError::OutOfRange); of scales,
    /// [`MissingScale`](CheckpointError::MissingScale), [`Shape`](CheckpointError::Shape) and
    /// [`ScaleValue`](CheckpointError::ScaleValue).
    pub fn tensor_data(&self, name: &str, expected_shape: &[usize], target: Option<DType>) -> Result<TensorData> {
        let entry = self.entry(name)?;
        if entry.shape != expected_shape {
            return Err(CheckpointError::Shape {
                tensor: name.to_owned(),
                file: self.file_of(entry).path().to_owned(),
                expected: expected_shape.to_vec(),
                found: entry.shape.clone(),
            }
            .into());
        }
        let stored = self.dtype(name)?;
        let target = target.unwrap_or(stored);
        let refuse = || CheckpointError::TargetDtype { tensor: name.to_owned(), target };
        let from = to_float(stored).ok_or_else(refuse)?;
        let to = to_float(target).ok_or_else(refuse)?;

        let source = self.file_of(entry).slice(entry.range.clone());
        let lose = |lost: OutOfRange| CheckpointError::OutOfRange {
            tensor: name.to_owned(),
            target,
            index: lost.index,
            value: lost.value,
        };
        let bytes = if entry.dtype == Dtype::F8_E4M3 {
            let scales = self.scales(name, entry)?;
            let weights = dequantize(&source, &scales, to).map_err(lose)?;
            self.release(name)?;
            weights
        } else if from == to && source.as_ptr().addr().is_multiple_of(from.size()) {
            Bytes::from_shared(source, AllocationProperty::File)
        } else {
            let converted = convert(&source, from, to).map_err(lose)?;
            self.release(name)?;
            converted
        };
        Ok(TensorData::from_bytes(bytes, expected_shape.to_vec(), target))
    }

    /// The tensor `name` on `device`, of shape `expected_shape` and dtype `dtype` (`None`: as it is stored).
    ///
    /// A backend in host memory that takes data as it is (Flex, and Kiln on it) reads the mapping itself; see
    /// [`Checkpoint::tensor_data`]. Changing such a tensor in place copies it first.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor_data`], and [`CheckpointError::BackendDtype`] where the backend has no such dtype.
    ///
    /// # Panics
    /// If `expected_shape` hasn't `D` sizes: a mistake in the calling code.
    pub fn tensor<B: Backend, const D: usize>(
        &self,
        name: &str,
        expected_shape: [usize; D],
        dtype: Option<DType>,
        device: &B::Device,
    ) -> Result<Tensor<B, D>> {
        let dtype = dtype.map_or_else(|| self.dtype(name), Ok)?;
        if !B::supports_dtype(device, dtype) {
            return Err(
                CheckpointError::BackendDtype { tensor: name.to_owned(), dtype, backend: B::name(device) }.into()
            );
        }
        let data = self.tensor_data(name, &expected_shape, Some(dtype))?;
        Ok(Tensor::from_data(data, (device, dtype)))
    }
}

fn to_float(dtype: DType) -> Option<Float> {
    match dtype {
        DType::F32 => Some(Float::F32),
        DType::BF16 => Some(Float::BF16),
        DType::F16 => Some(Float::F16),
        _ => None,
    }
}
