//! Tensors out of a checkpoint: its stored bytes themselves where they can be used as they lie, a converted copy where
//! not.

use super::convert::{Float, OutOfRange, convert};
use super::fp8::{RowOf, dequantize};
use super::scales::Scales;
use super::stored::StoredBytes;
use super::{Checkpoint, CheckpointError};
use crate::Result;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use burn_std::{AllocationProperty, Bytes};
use safetensors::Dtype;

impl Checkpoint {
    /// The tensor `name` as data of shape `expected_shape` and dtype `target` (`None`: as it is stored).
    ///
    /// Where the stored dtype is the wanted one and its bytes lie aligned, the data *is* the mapping: nothing is
    /// copied, and pages come from the file when they are first read. Otherwise this one tensor is copied, converted
    /// (rounded to nearest even), and its pages of the file are [released](Checkpoint::release). HF's files align
    /// tensors; the format doesn't ask it. An array of experts that is stored otherwise than it is used is
    /// [put together](Checkpoint::arranged_for), which is a copy.
    ///
    /// An FP8 matrix of a checkpoint [with scales](Checkpoint::with_quantization) is dequantised, `weight · scale` in
    /// f32 and then rounded, as HF does; to bf16 where `target` is `None`.
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`], [`Shape`](CheckpointError::Shape), [`StoredDtype`](CheckpointError::StoredDtype),
    /// [`TargetDtype`](CheckpointError::TargetDtype), [`OutOfRange`](CheckpointError::OutOfRange); of scales,
    /// [`MissingScale`](CheckpointError::MissingScale), [`Shape`](CheckpointError::Shape) and
    /// [`ScaleValue`](CheckpointError::ScaleValue).
    pub fn tensor_data(&self, name: &str, expected_shape: &[usize], target: Option<DType>) -> Result<TensorData> {
        self.tensor_data_from(self, name, expected_shape, target)
    }

    /// [`Checkpoint::tensor_data`] of bytes that were read before.
    pub(crate) fn tensor_data_from(
        &self,
        bytes: &dyn StoredBytes,
        name: &str,
        expected_shape: &[usize],
        target: Option<DType>,
    ) -> Result<TensorData> {
        if let Some(assembly) = self.assemblies.get(name).filter(|assembly| assembly.shape == expected_shape) {
            return self.assemble(bytes, (name, assembly), target);
        }
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
        if let Some(pair) = self.pair_of(name) {
            return self.merged_data(bytes, (name, pair), target);
        }
        let source = bytes.stored(name)?;
        if entry.dtype == Dtype::F8_E4M3 {
            let (_, to) = self.conversion(name, target)?;
            let target = target.unwrap_or(self.dtype(name)?);
            let scales = self.scales(bytes, name, entry)?;
            let weights =
                dequantize(&source, &scales, &|row| row, to).map_err(|lost| out_of_range(name, target, lost))?;
            return Ok(TensorData::from_bytes(weights, expected_shape.to_vec(), target));
        }
        self.rows_data(name, source, expected_shape, target)
    }

    /// Data of shape `shape` from `source`, which is of the stored dtype of the tensor `name`, and not FP8: all of it,
    /// or some of its rows.
    pub(crate) fn rows_data(
        &self,
        name: &str,
        source: bytes::Bytes,
        shape: &[usize],
        target: Option<DType>,
    ) -> Result<TensorData> {
        let (from, to) = self.conversion(name, target)?;
        let target = target.unwrap_or(self.dtype(name)?);
        let bytes = if from == to && source.as_ptr().addr().is_multiple_of(from.size()) {
            Bytes::from_shared(source, AllocationProperty::File)
        } else {
            convert(&source, from, to).map_err(|lost| out_of_range(name, target, lost))?
        };
        Ok(TensorData::from_bytes(bytes, shape.to_vec(), target))
    }

    /// [`Checkpoint::rows_data`] of the FP8 matrix `name`, which has these `scales`: of its rows `row_of(0)`,
    /// `row_of(1)` and so on.
    pub(crate) fn fp8_rows_data(
        &self,
        name: &str,
        source: &[u8],
        (scales, row_of): (&Scales, RowOf<'_>),
        target: Option<DType>,
    ) -> Result<TensorData> {
        let (_, to) = self.conversion(name, target)?;
        let target = target.unwrap_or(self.dtype(name)?);
        let weights = dequantize(source, scales, row_of, to).map_err(|lost| out_of_range(name, target, lost))?;
        let columns = scales.columns();
        Ok(TensorData::from_bytes(weights, vec![source.len() / columns, columns], target))
    }

    /// From what (FP8 as it is dequantised) to what the tensor `name` is converted.
    pub(super) fn conversion(&self, name: &str, target: Option<DType>) -> Result<(Float, Float), CheckpointError> {
        let stored = self.stored_dtype(name)?;
        let target = target.unwrap_or(stored);
        let refuse = || CheckpointError::TargetDtype { tensor: name.to_owned(), target };
        Ok((to_float(stored).ok_or_else(refuse)?, to_float(target).ok_or_else(refuse)?))
    }

    /// Bytes of the copy that [`Checkpoint::tensor_data`] makes of the tensor `name`; 0 where it is used as it lies.
    pub(crate) fn converted_len(&self, name: &str, target: Option<DType>) -> Result<usize> {
        let (from, to) = self.conversion(name, target)?;
        if let Some(assembly) = self.assemblies.get(name) {
            return Ok(assembly.shape.iter().product::<usize>() * to.size());
        }
        let entry = self.entry(name)?;
        let as_it_lies = entry.dtype != Dtype::F8_E4M3
            && self.pair_of(name).is_none()
            && from == to && entry.range.start.is_multiple_of(from.size());
        Ok(if as_it_lies { 0 } else { entry.shape.iter().product::<usize>() * to.size() })
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
        self.tensor_from(self, name, expected_shape, dtype, device)
    }

    /// [`Checkpoint::tensor`] of bytes that were read before.
    pub(crate) fn tensor_from<B: Backend, const D: usize>(
        &self,
        bytes: &dyn StoredBytes,
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
        let data = self.tensor_data_from(bytes, name, &expected_shape, Some(dtype))?;
        Ok(put_weight(data, device))
    }
}

/// A tensor of `data`. A card gives it exactly its bytes, and they are kept for the next one of this size when it goes:
/// weights don't share pages with what comes and goes, and may be larger than one.
pub(crate) fn put_weight<B: Backend, const D: usize>(data: TensorData, device: &B::Device) -> Tensor<B, D> {
    let dtype = data.dtype;
    B::memory_persistent_allocations(device, data, |data| Tensor::from_data(data, (device, dtype)))
}

pub(super) fn out_of_range(name: &str, target: DType, lost: OutOfRange) -> CheckpointError {
    CheckpointError::OutOfRange { tensor: name.to_owned(), target, index: lost.index, value: lost.value }
}

pub(super) fn to_float(dtype: DType) -> Option<Float> {
    match dtype {
        DType::F32 => Some(Float::F32),
        DType::BF16 => Some(Float::BF16),
        DType::F16 => Some(Float::F16),
        _ => None,
    }
}
