//! Weights with an adapter merged in, as they are loaded.
//!
//! ```text
//! for each block of rows of W:
//!     base = the rows as f32 (FP8 is dequantised)
//!     out  = round(base + s·B·A)          sums in f32, rounded once
//! ```

use super::LoraPair;
use crate::Result;
use crate::checkpoint::convert::{Float, OutOfRange, convert};
use crate::checkpoint::fp8::dequantize;
use crate::checkpoint::load::{out_of_range, to_float};
use crate::checkpoint::{Checkpoint, CheckpointError, StoredBytes};
use burn::tensor::{DType, TensorData};
use burn_kiln::memory::TensorMemory;
use kiln_kernels::gemm::{Epilogue, GemmError, Matrix, OutMatrix, Plan, Residual, gemm};
use kiln_kernels::memory::AlignedBytes;
use kiln_kernels::{Floats, FloatsMut};
use safetensors::Dtype;

/// Bytes of f32 that are merged at a time, beside the result.
const BLOCK_BYTES: usize = 4 << 20;

impl Checkpoint {
    /// The matrix `name` (or the kernel of the patch embedding) with `pair` merged in, of dtype `target` (`None`: as
    /// stored, FP8 as bf16).
    pub(in crate::checkpoint) fn merged_data(
        &self,
        bytes: &dyn StoredBytes,
        (name, pair): (&str, &LoraPair),
        target: Option<DType>,
    ) -> Result<TensorData> {
        let entry = self.entry(name)?;
        let (_, to) = self.conversion(name, target)?;
        let target = target.unwrap_or(self.dtype(name)?);
        let source = bytes.stored(name)?;
        let scales = if entry.dtype == Dtype::F8_E4M3 { Some(self.scales(bytes, name, entry)?) } else { None };
        let refuse = || CheckpointError::TargetDtype { tensor: name.to_owned(), target };
        let from = to_float(self.source_dtype(name)?).ok_or_else(refuse)?;
        let stored_size = if scales.is_some() { 1 } else { from.size() };

        let LoraPair { inputs, outputs, .. } = *pair;
        let mut memory = AlignedBytes::zeroed(outputs * inputs * to.size());
        let rows = (BLOCK_BYTES / (inputs * Float::F32.size())).clamp(1, outputs);
        let merger = Merger::new(pair);
        let mut merged = vec![0.0; rows * inputs];
        for first in (0..outputs).step_by(rows) {
            let count = rows.min(outputs - first);
            let at = |size: usize| first * inputs * size..(first + count) * inputs * size;
            let lost = |mut lost: OutOfRange| {
                lost.index += first * inputs;
                out_of_range(name, target, lost)
            };
            let stored = &source[at(stored_size)];
            let base = match &scales {
                Some(scales) => dequantize(stored, scales, &|row| first + row, Float::F32).map_err(lost)?,
                None => convert(stored, from, Float::F32).map_err(lost)?,
            };
            let merged = &mut merged[..count * inputs];
            merged.copy_from_slice(bytemuck::cast_slice(&base[..]));
            let sums = merger.add(first, merged);
            sums.expect("a pair was compared with the weight's shape when its adapter was read");
            let base: &[f32] = bytemuck::cast_slice(&base[..]);
            let spoilt = base.iter().zip(&*merged).position(|(base, sum)| base.is_finite() && !sum.is_finite());
            if let Some(index) = spoilt {
                return Err(lost(OutOfRange { index, value: merged[index] }).into());
            }
            let rounded = convert(bytemuck::cast_slice(merged), Float::F32, to).map_err(lost)?;
            memory.as_mut_slice()[at(to.size())].copy_from_slice(&rounded);
        }
        Ok(TensorData::from_bytes(memory.into_bytes(), entry.shape.clone(), target))
    }
}

/// Adds rows of `s·B·A`.
struct Merger<'a> {
    pair: &'a LoraPair,
    /// `s·B`.
    scaled: Vec<f32>,
    plan: Plan,
}

impl<'a> Merger<'a> {
    fn new(pair: &'a LoraPair) -> Self {
        let scaled = pair.b.iter().map(|value| (f64::from(*value) * pair.scale) as f32).collect();
        Self { pair, scaled, plan: Plan::default() }
    }

    /// Adds rows of `s·B·A`, from `first` on, to `weight`.
    fn add(&self, first: usize, weight: &mut [f32]) -> Result<(), GemmError> {
        let LoraPair { rank, inputs, .. } = *self.pair;
        let rows = weight.len() / inputs;
        let b = Matrix::row_major(Floats::F32(&self.scaled[first * rank..][..rows * rank]), rows, rank)?;
        let a = Matrix::row_major(Floats::F32(&self.pair.a), rank, inputs)?;
        let mut weight = OutMatrix::row_major(FloatsMut::F32(weight), rows, inputs)?;
        gemm(&self.plan, &b, &a, &mut weight, &Epilogue::residual(Residual::Output))
    }
}
