//! What every launch asks of its operands before it runs.

use super::{
    CubeError, Unavailable,
    limits::{check_address, check_storage},
};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::{DType, Shape};
use cubecl::ir::AddressType;

/// Whether kernels read and write `dtype`.
pub(super) fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

/// An uninitialised contiguous tensor on the device of `like`.
pub fn allocate_like<R: CubeRuntime>(like: &CubeTensor<R>, shape: Shape, dtype: DType) -> CubeTensor<R> {
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, dtype)
}

/// Whether a tensor that is to be written has this shape and dtype and no gaps.
pub(super) fn is_output<R: CubeRuntime>(tensor: &CubeTensor<R>, shape: &Shape, dtype: DType) -> bool {
    tensor.shape() == *shape && tensor.dtype == dtype && tensor.is_contiguous()
}

/// The shape with a last dimension of 1: one number a row.
pub(super) fn column(shape: &Shape) -> Shape {
    let mut dims = shape.to_vec();
    if let Some(last) = dims.last_mut() {
        *last = 1;
    }
    Shape::from(dims)
}

/// The float inputs of one launch, in the order of its arguments.
#[derive(Debug, Clone)]
pub(super) struct Operands<'a, R: CubeRuntime> {
    kernel: &'static str,
    inputs: Vec<&'a CubeTensor<R>>,
}

impl<'a, R: CubeRuntime> Operands<'a, R> {
    /// Of `kernel`; absent ones are left out.
    pub(super) fn new(kernel: &'static str, inputs: impl IntoIterator<Item = Option<&'a CubeTensor<R>>>) -> Self {
        Self { kernel, inputs: inputs.into_iter().flatten().collect() }
    }

    fn shapes(&self) -> Vec<Vec<usize>> {
        self.inputs.iter().map(|tensor| tensor.shape().to_vec()).collect()
    }

    /// The error of operands that don't fit.
    pub(super) fn invalid(&self, expected: &'static str) -> CubeError {
        CubeError::InvalidShapes { kernel: self.kernel, expected, shapes: self.shapes() }
    }

    /// The error of an output that doesn't fit; its shape comes last.
    pub(super) fn invalid_output(&self, expected: &'static str, output: &CubeTensor<R>) -> CubeError {
        let mut shapes = self.shapes();
        shapes.push(output.shape().to_vec());
        CubeError::InvalidShapes { kernel: self.kernel, expected, shapes }
    }

    /// The error of a device that lacks something.
    pub(super) fn unavailable(&self, reason: Unavailable) -> CubeError {
        CubeError::Unavailable { kernel: self.kernel, reason, shapes: self.shapes() }
    }

    /// Checks that all of them hold floats.
    pub(super) fn check_floats(&self) -> Result<(), CubeError> {
        match self.inputs.iter().find(|tensor| !is_float(tensor.dtype)) {
            Some(tensor) => {
                Err(CubeError::InvalidDtype { kernel: self.kernel, found: tensor.dtype, shapes: self.shapes() })
            }
            None => Ok(()),
        }
    }

    /// Checks that inputs and `others` live on one device, which can store them; gives the index width that they need.
    pub(super) fn check_device(&self, others: &[Option<&CubeTensor<R>>]) -> Result<AddressType, CubeError> {
        let mut all = self.inputs.clone();
        all.extend(others.iter().copied().flatten());
        let first = all[0];
        if all.iter().any(|tensor| tensor.device != first.device) {
            return Err(CubeError::MixedDevices { kernel: self.kernel, shapes: self.shapes() });
        }
        for tensor in all.iter().filter(|tensor| is_float(tensor.dtype)) {
            check_storage(&first.client, tensor.dtype).map_err(|reason| self.unavailable(reason))?;
        }
        check_address(&first.client, &all).map_err(|reason| self.unavailable(reason))
    }
}
