//! Softmax of rows.

use super::{accept, runs};
use crate::routes::Route;
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::{self, SoftmaxForm, Strategy},
};
use kiln_kernels::softmax::SoftmaxKind;

/// Softmax or log-softmax over the last dimension; `None` for others, and where the kernel does not take the
/// operand.
pub(super) fn softmax<R: CubeRuntime>(
    kind: SoftmaxKind,
    x: &CubeTensor<R>,
    dim: usize,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    let shape = x.shape();
    if !runs(config.blocking.enabled, config) || dim + 1 != shape.len() {
        return None;
    }
    let form = match kind {
        SoftmaxKind::Plain => SoftmaxForm::Plain,
        SoftmaxKind::Log => SoftmaxForm::Log,
    };
    accept(Route::CubeSoftmax, cube::softmax(x, form, Strategy::Auto))
}
