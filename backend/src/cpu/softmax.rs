//! Softmax over one dimension.

use super::panels::CpuEngine;
use crate::engine::SoftmaxOperands;
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::KernelConfig;
use kiln_kernels::Launch;
use kiln_kernels::softmax::{Axis, softmax, softmax_in_place};

/// Whether softmax over `d` elements has a kernel. A maximum of nothing is an error in most of B's softmaxes: it is
/// left to B.
pub(super) fn takes(d: usize, config: &KernelConfig) -> bool {
    config.blocking.enabled && d > 0
}

/// Softmax or log-softmax; in place where nobody else holds the buffer.
pub(super) fn normalize<B: CpuEngine>(
    mut operands: SoftmaxOperands<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, SoftmaxOperands<B>> {
    let SoftmaxOperands { kind, x, dim } = &mut operands;
    let shape = x.shape();
    if shape.as_slice().get(*dim).is_none_or(|&d| !takes(d, config)) {
        return Err(operands);
    }
    let (launch, axis) = (Launch::from(config), Axis::of(shape.as_slice(), *dim));
    if let Some(buffer) = B::view_mut(x) {
        softmax_in_place(launch, *kind, axis, buffer);
        note(Route::Softmax);
        return Ok(operands.x);
    }
    let output = B::view(x).and_then(|view| {
        let mut out = B::allocate(view.dtype(), axis.len())?;
        softmax(launch, *kind, axis, view.contiguous()?, out.as_floats_mut());
        B::from_floats(out, shape)
    });
    output.inspect(|_| note(Route::Softmax)).ok_or(operands)
}
