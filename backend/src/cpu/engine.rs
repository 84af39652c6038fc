//! [`Engine`] for the CPU backends.

use super::storage::{CpuBackend, OwnedFloats};
use super::{attention, attention_rotary, elementwise, embedding, linear, matmul, moe, norm, rope, several, softmax};
use crate::engine::{
    AttentionOperands, BinaryOp, CacheBuffers, Engine, EngineLayer, EngineNorm, EngineWeight, FusedAttention,
    LinearEpilogue, RotaryOperands, SoftmaxKind, UnaryOp,
};
use burn_backend::Scalar;
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_kiln_fusion::{KernelConfig, MoeOptions};
use burn_std::Shape;
use kiln_kernels::Launch;
use kiln_kernels::gemm::{PackedMatrix, UnpackedRows};
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

impl<B: CpuBackend> Engine for B {
    type Panels = CpuPanels;

    fn try_pack(weight: FloatTensor<Self>, config: &KernelConfig) -> Result<Self::Panels, FloatTensor<Self>> {
        linear::pack::<B>(weight, config)
    }

    fn unpack_panels(panels: &Self::Panels) -> FloatTensor<Self> {
        let shape = Shape::from([panels.matrix.n(), panels.matrix.k()]);
        let rows = match panels.matrix.unpack(Launch::default()) {
            UnpackedRows::F32(rows) => OwnedFloats::F32(rows),
            UnpackedRows::Bf16(rows) => OwnedFloats::Bf16(rows),
            UnpackedRows::F16(rows) => OwnedFloats::F16(rows),
        };
        B::from_floats(rows, shape).expect("the backend had a tensor of this dtype when it was packed")
    }

    fn try_matmul(
        lhs: FloatTensor<Self>,
        rhs: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>)> {
        matmul::matmul::<B>(lhs, rhs, config)
    }

    fn try_module_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>)> {
        linear::module_linear::<B>(x, weight, bias, config)
    }

    fn try_linear(
        x: FloatTensor<Self>,
        weight: &EngineWeight<'_, Self>,
        epilogue: LinearEpilogue<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, LinearEpilogue<Self>)> {
        linear::linear::<B>(x, weight, epilogue, config)
    }

    fn try_norm_linears(
        x: &FloatTensor<Self>,
        norm: &EngineNorm<Self>,
        layers: &[EngineLayer<'_, Self>],
        config: &KernelConfig,
    ) -> Option<Vec<FloatTensor<Self>>> {
        several::norm_linears::<B>(x, norm, layers, config)
    }

    fn try_mlp_gated(
        x: &FloatTensor<Self>,
        weights: [&EngineWeight<'_, Self>; 3],
        residual: Option<&FloatTensor<Self>>,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        several::mlp_gated::<B>(x, weights, residual, config)
    }

    fn explain_linear(weight: &EngineWeight<'_, Self>, rows: usize, config: &KernelConfig) -> Option<String> {
        linear::explain::<B>(weight, rows, config)
    }

    fn try_unary(
        op: UnaryOp,
        x: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        elementwise::apply::<B>(op, x, config)
    }

    fn leaves_arithmetic(x: &FloatTensor<Self>) -> bool {
        !elementwise::pays::<B>(x)
    }

    fn try_binary(
        op: BinaryOp,
        lhs: FloatTensor<Self>,
        rhs: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>)> {
        elementwise::combine::<B>(op, lhs, rhs, config)
    }

    fn try_binary_scalar(
        op: BinaryOp,
        lhs: FloatTensor<Self>,
        rhs: Scalar,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        elementwise::combine_scalar::<B>(op, lhs, rhs, config)
    }

    fn try_silu_mul(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>)> {
        elementwise::gate::<B>(gate, up, config)
    }

    fn try_softmax(
        kind: SoftmaxKind,
        x: FloatTensor<Self>,
        dim: usize,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        softmax::normalize::<B>(kind, x, dim, config)
    }

    fn try_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: Option<FloatTensor<Self>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>)> {
        norm::layer::<B>(x, gamma, beta, epsilon, config)
    }

    fn try_rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<(FloatTensor<Self>, FloatTensor<Self>), (FloatTensor<Self>, FloatTensor<Self>)> {
        norm::rms::<B>(x, gamma, epsilon, config)
    }

    fn try_add_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<[FloatTensor<Self>; 3], [FloatTensor<Self>; 3]> {
        norm::add::<B>(x, residual, gamma, epsilon, config)
    }

    fn try_rope(
        x: FloatTensor<Self>,
        norm: Option<(&FloatTensor<Self>, f64)>,
        angles: (&FloatTensor<Self>, &FloatTensor<Self>),
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        rope::rotate::<B>(x, norm, angles, config)
    }

    fn try_attention(
        operands: AttentionOperands<Self>,
        fused: &FusedAttention,
        config: &KernelConfig,
    ) -> Result<(FloatTensor<Self>, Option<FloatTensor<Self>>), AttentionOperands<Self>> {
        attention::attend::<B>(operands, fused, config)
    }

    fn try_attention_rotary(
        operands: &RotaryOperands<Self>,
        caches: &mut [CacheBuffers<Self>],
        fused: &FusedAttention,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        attention_rotary::attend::<B>(operands, caches, fused, config)
    }

    fn try_moe(
        operands: [&FloatTensor<Self>; 2],
        experts: [&FloatTensor<Self>; 2],
        options: MoeOptions,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        moe::mix::<B>(operands, experts, options, config)
    }

    fn try_embedding(
        weight: &EngineWeight<'_, Self>,
        ids: IntTensor<Self>,
        _config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, IntTensor<Self>> {
        embedding::embedding::<B>(weight, ids)
    }
}
