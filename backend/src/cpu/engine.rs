//! [`Engine`] for the CPU backends.

use super::panels::CpuPanels;
use super::storage::{CpuBackend, OwnedFloats};
use super::{
    attention, attention_backward, attention_rotary, elementwise, embedding, embedding_backward, explain, grouped,
    head_loss, linear, linear_backward, matmul, moe, norm, norm_backward, optim, rope, rope_backward, softmax,
};
use crate::engine::{
    ANY_RANK, ActivationBackward, ActivationBackwardOperands, AdamWOperands, AdamWResult, AddNormOperands,
    AddNormResult, AddRowsOperands, AttentionBackwardOperands, AttentionOperands, BinaryOperands,
    EmbeddingBackwardOperands, EmbeddingOperands, Engine, EngineWeight, GatedMlpOperands, HeadLoss, HeadLossOperands,
    LayerNormOperands, LinearOperands, MatmulOperands, ModuleLinearOperands, MoeBackward, MoeBackwardOperands,
    MoeOperands, NormBackwardOperands, NormBackwardResult, NormLinearsOperands, NormResult, Primitives,
    RmsNormOperands, RopeBackwardOperands, RopeGrads, RopeOperands, RotaryOperands, ScalarOperands, SiluMulBackward,
    SiluMulBackwardOperands, SiluMulOperands, SoftmaxOperands, UnaryOperands, WeightGradientOperands,
};
use crate::op_shape::OpShape;
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_kiln_fusion::{AttentionForward, AttentionGrads, CacheRoom, KernelConfig, LayerNormForward};
use burn_std::Shape;
use kiln_kernels::Launch;
use kiln_kernels::gemm::UnpackedRows;

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

    fn try_matmul(operands: &MatmulOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        matmul::matmul::<B>(operands, config)
    }

    fn try_module_linear(operands: &ModuleLinearOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        linear::module_linear::<B>(operands, config)
    }

    fn try_linear(operands: &LinearOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        linear::linear::<B>(operands, config)
    }

    fn try_norm_linears(
        operands: &NormLinearsOperands<'_, Self>,
        config: &KernelConfig,
    ) -> Option<Vec<FloatTensor<Self>>> {
        grouped::norm_linears::<B>(operands, config)
    }

    fn try_mlp_gated(operands: &GatedMlpOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        grouped::mlp_gated::<B>(operands, config)
    }

    fn try_rope(operands: &RopeOperands<'_, Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        rope::rotate::<B>(operands, config)
    }

    fn try_attention(operands: &AttentionOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        attention::attend::<B>(operands, config)
    }

    fn try_attention_forward(
        operands: &AttentionOperands<Self>,
        config: &KernelConfig,
    ) -> Option<AttentionForward<Primitives<Self>>> {
        attention::attend_with_lse::<B>(operands, config)
    }

    fn try_attention_backward(
        operands: &AttentionBackwardOperands<Self>,
        config: &KernelConfig,
    ) -> Option<AttentionGrads<Primitives<Self>>> {
        attention_backward::differentiate::<B>(operands, config)
    }

    fn try_attention_rotary(
        operands: &RotaryOperands<'_, Self>,
        caches: &mut [CacheRoom<Primitives<Self>>],
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        attention_rotary::attend::<B>(operands, caches, config)
    }

    fn try_moe(operands: &MoeOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        moe::mix::<B>(operands, config)
    }

    fn try_embedding(operands: &EmbeddingOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        embedding::embedding::<B>(operands, config)
    }

    fn try_unary(
        operands: UnaryOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, UnaryOperands<Self>> {
        elementwise::apply::<B>(operands, config)
    }

    fn leaves_arithmetic(x: &FloatTensor<Self>) -> bool {
        !elementwise::pays::<B>(x)
    }

    fn try_binary(
        operands: BinaryOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, BinaryOperands<Self>> {
        elementwise::combine::<B>(operands, config)
    }

    fn try_binary_scalar(
        operands: ScalarOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, ScalarOperands<Self>> {
        elementwise::combine_scalar::<B>(operands, config)
    }

    fn try_silu_mul(
        operands: SiluMulOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, SiluMulOperands<Self>> {
        elementwise::gate::<B>(operands, config)
    }

    fn try_softmax(
        operands: SoftmaxOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, SoftmaxOperands<Self>> {
        softmax::normalize::<B>(operands, config)
    }

    fn try_layer_norm(
        operands: LayerNormOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, LayerNormOperands<Self>> {
        norm::layer::<B>(operands, config)
    }

    fn try_rms_norm(operands: RmsNormOperands<Self>, config: &KernelConfig) -> NormResult<Self> {
        norm::rms::<B>(operands, config)
    }

    fn try_add_norm(operands: AddNormOperands<Self>, config: &KernelConfig) -> AddNormResult<Self> {
        norm::add::<B>(operands, config)
    }

    fn try_layer_norm_forward(
        operands: &LayerNormOperands<Self>,
        config: &KernelConfig,
    ) -> Option<LayerNormForward<Primitives<Self>, ANY_RANK>> {
        norm_backward::layer_forward::<B>(operands, config)
    }

    fn try_norm_backward(operands: NormBackwardOperands<Self>, config: &KernelConfig) -> NormBackwardResult<Self> {
        norm_backward::norm_backward::<B>(operands, config)
    }

    fn try_rope_backward(operands: &RopeBackwardOperands<'_, Self>, config: &KernelConfig) -> Option<RopeGrads<Self>> {
        rope_backward::rotate_back::<B>(operands, config)
    }

    fn try_embedding_backward(
        operands: &EmbeddingBackwardOperands<Self>,
        rows: usize,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        embedding_backward::dense::<B>(operands, rows, config)
    }

    fn try_add_rows(
        operands: AddRowsOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, AddRowsOperands<Self>> {
        embedding_backward::add::<B>(operands, config)
    }

    fn try_embedding_backward_rows(
        operands: &EmbeddingBackwardOperands<Self>,
        config: &KernelConfig,
    ) -> Option<(IntTensor<Self>, FloatTensor<Self>)> {
        embedding_backward::named::<B>(operands, config)
    }

    fn try_adamw(operands: AdamWOperands<Self>, config: &KernelConfig) -> AdamWResult<Self> {
        optim::adamw::<B>(operands, config)
    }

    fn try_sum_of_squares(x: &FloatTensor<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        optim::sum_of_squares::<B>(x, config)
    }

    fn try_linear_weight_gradient(
        operands: WeightGradientOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, WeightGradientOperands<Self>> {
        linear_backward::weight_gradient::<B>(operands, config)
    }

    fn try_bias_gradient(grad: &FloatTensor<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        linear_backward::bias_gradient::<B>(grad, config)
    }

    fn try_activation_backward(
        operands: ActivationBackwardOperands<Self>,
        config: &KernelConfig,
    ) -> Result<ActivationBackward<Self>, ActivationBackwardOperands<Self>> {
        linear_backward::differentiate::<B>(operands, config)
    }

    fn try_silu_mul_backward(
        operands: SiluMulBackwardOperands<Self>,
        config: &KernelConfig,
    ) -> Result<SiluMulBackward<Self>, SiluMulBackwardOperands<Self>> {
        linear_backward::split_gated::<B>(operands, config)
    }

    fn try_head_loss(operands: &HeadLossOperands<Self>, config: &KernelConfig) -> Option<HeadLoss<Self>> {
        head_loss::measure::<B>(operands, config)
    }

    fn try_moe_backward(operands: &MoeBackwardOperands<Self>, config: &KernelConfig) -> Option<MoeBackward<Self>> {
        moe::differentiate::<B>(operands, config)
    }

    fn explain_linear(weight: &EngineWeight<Self>, rows: usize, config: &KernelConfig) -> Option<String> {
        linear::explain::<B>(weight, rows, config)
    }

    fn explain_op(op: &OpShape<EngineWeight<Self>>, _device: &Self::Device, config: &KernelConfig) -> Option<String> {
        Some(explain::explain::<B>(op, config))
    }
}
