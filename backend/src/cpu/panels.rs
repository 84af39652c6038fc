//! Packed weights of the CPU, and what kernels take of a weight in either form.

use super::storage::CpuBackend;
use crate::engine::{Engine, EngineWeight};
use burn_backend::TensorMetadata;
use kiln_kernels::gemm::{Matrix, PackedMatrix, RightMatrix};
use std::sync::Arc;

/// A weight in register-tile panels.
#[derive(Debug, Clone)]
pub struct CpuPanels {
    /// Shared: cloning a packed weight copies nothing.
    pub(super) matrix: Arc<PackedMatrix>,
}

impl CpuPanels {
    /// Bytes that the panels hold.
    pub fn bytes(&self) -> usize {
        self.matrix.bytes()
    }
}

/// A backend whose engine is this folder's.
pub(super) trait CpuEngine: CpuBackend + Engine<Panels = CpuPanels> {}

impl<B: CpuBackend + Engine<Panels = CpuPanels>> CpuEngine for B {}

/// A weight's sizes: outputs and inputs.
///
/// # Panics
/// When a plain one is no matrix.
pub(super) fn sizes<B: CpuEngine>(weight: &EngineWeight<B>) -> [usize; 2] {
    match weight {
        EngineWeight::Plain(tensor) => tensor.shape().dims(),
        EngineWeight::Packed(panels) => [panels.matrix.n(), panels.matrix.k()],
    }
}

/// A weight as the right operand of a product, `[in, out]`; none where it is no strided matrix of a type that kernels
/// store.
pub(super) fn right<B: CpuEngine>(weight: &EngineWeight<B>) -> Option<RightMatrix<'_>> {
    match weight {
        EngineWeight::Packed(panels) => Some(RightMatrix::Packed(&panels.matrix)),
        EngineWeight::Plain(tensor) => {
            let view = B::view(tensor)?;
            let (&[out, input], &[row, col]) = (view.shape.as_slice(), view.strides.as_slice()) else { return None };
            let strides = [col as isize, row as isize];
            Matrix::new(view.data, view.offset, [input, out], strides).ok().map(RightMatrix::View)
        }
    }
}
