//! The decorator's type.

use crate::Engine;
use burn_backend::tensor::Device;
use burn_backend::{Backend, BackendTypes, DType, DTypeUsageSet, ExecutionError, TensorData};
use core::marker::PhantomData;

/// A Burn backend that runs what it has a kernel for, and leaves the rest to `B`.
///
/// It keeps `B`'s device and tensor primitives, so a tensor moves between `B` and `Kiln<B>` without a copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kiln<B> {
    _decorated: PhantomData<B>,
}

impl<B: Engine> BackendTypes for Kiln<B> {
    type Device = B::Device;
    type FloatTensorPrimitive = B::FloatTensorPrimitive;
    type FloatElem = B::FloatElem;
    type IntTensorPrimitive = B::IntTensorPrimitive;
    type IntElem = B::IntElem;
    type BoolTensorPrimitive = B::BoolTensorPrimitive;
    type BoolElem = B::BoolElem;
    type QuantizedTensorPrimitive = B::QuantizedTensorPrimitive;
}

impl<B: Engine> Backend for Kiln<B> {
    fn ad_enabled(device: &Device<Self>) -> bool {
        B::ad_enabled(device)
    }

    fn memory_persistent_allocations<Output: Send, Input: Send, Func: Fn(Input) -> Output + Send>(
        device: &Device<Self>,
        input: Input,
        func: Func,
    ) -> Output {
        B::memory_persistent_allocations(device, input, func)
    }

    fn memory_cleanup(device: &Device<Self>) {
        B::memory_cleanup(device)
    }

    fn name(device: &Device<Self>) -> String {
        format!("kiln<{}>", B::name(device))
    }

    fn seed(device: &Device<Self>, seed: u64) {
        B::seed(device, seed)
    }

    fn sync(device: &Device<Self>) -> Result<(), ExecutionError> {
        B::sync(device)
    }

    fn staging<'a, Iter: Iterator<Item = &'a mut TensorData>>(data: Iter, device: &Device<Self>) {
        B::staging(data, device)
    }

    fn supports_dtype(device: &Device<Self>, dtype: DType) -> bool {
        B::supports_dtype(device, dtype)
    }

    fn dtype_usage(device: &Device<Self>, dtype: DType) -> DTypeUsageSet {
        B::dtype_usage(device, dtype)
    }

    fn device_count(type_id: u16) -> usize {
        B::device_count(type_id)
    }
}
