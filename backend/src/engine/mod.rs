//! What Kiln needs of the backend that it decorates.
//!
//! Every hook is `try_x(&operands, &config) -> Option<result>`: it runs a kernel, or declines with `None` where it has
//! none for the operands (dtype, layout, device, too small to pay, switched off) and has changed nothing. What happens
//! then is Kiln's business, which still has the operands.
//!
//! Hooks that can work **in place** take their operands by value and give them back when they decline: `try_x(operands,
//! &config) -> Result<result, operands>`. A buffer that nobody else holds becomes the result's. These are functions and
//! arithmetic of elements, softmax and norms and their gradients, the optimiser's step, and packing, which takes a
//! weight's memory over.
//!
//! Operands are those of the fused ops ([`burn_kiln_fusion`]) in the family of [`Primitives`], and the structs of this
//! module.

mod backward;
mod gradients;
mod operands;
mod primitives;

use crate::op_shape::OpShape;
pub use backward::{
    ActivationBackward, ActivationBackwardOperands, HeadGradients, HeadLoss, HeadLossOperands, MoeBackward,
    MoeBackwardOperands, SiluMulBackward, SiluMulBackwardOperands, WeightGradientOperands,
};
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_kiln_fusion::{
    AddNormForward, AttentionForward, AttentionGrads, CacheRoom, FusedOps, KernelConfig, LayerNormForward, QueryKey,
    RmsNormForward,
};
pub use gradients::{
    AdamWOperands, AdamWResult, AddRowsOperands, EmbeddingBackwardOperands, NormBackwardOperands, NormBackwardResult,
    ParameterGrad, RopeBackwardOperands, RopeGrads,
};
pub use kiln_kernels::elementwise::{BinaryOp, UnaryOp};
pub use kiln_kernels::softmax::SoftmaxKind;
pub use operands::{
    AddNormGatedMlpOperands, AddNormOperands, AttentionBackwardOperands, AttentionOperands, BinaryOperands,
    EmbeddingOperands, GatedMlpOperands, LayerNormOperands, LinearOperands, MatmulOperands, ModuleLinearOperands,
    MoeOperands, NormLinearsOperands, QkNormRopeOperands, RmsNormOperands, RopeOperands, RotaryOperands,
    ScalarOperands, SiluMulOperands, SoftmaxOperands, UnaryOperands,
};
pub use primitives::{ANY_RANK, EngineWeight, Primitives};

/// The kernels of one backend; see the module for the convention. The defaults decline everything.
#[allow(unused_variables)]
pub trait Engine: FusedOps {
    /// A packed weight. Cloning copies no weight.
    type Panels: Clone + core::fmt::Debug + Send + Sync + 'static;

    /// Packs a weight `[out, in]`, in its own memory where nobody else holds it.
    fn try_pack(weight: FloatTensor<Self>, config: &KernelConfig) -> Result<Self::Panels, FloatTensor<Self>> {
        Err(weight)
    }

    /// The rows that were packed, bit for bit.
    fn unpack_panels(panels: &Self::Panels) -> FloatTensor<Self>;

    /// `lhs · rhs`.
    fn try_matmul(operands: &MatmulOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// Burn's linear.
    fn try_module_linear(operands: &ModuleLinearOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// [`FusedOps::linear`].
    fn try_linear(operands: &LinearOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// [`FusedOps::norm_linears`] as one op: an output for each layer.
    fn try_norm_linears(
        operands: &NormLinearsOperands<'_, Self>,
        config: &KernelConfig,
    ) -> Option<Vec<FloatTensor<Self>>> {
        None
    }

    /// [`FusedOps::mlp_gated`] as one op.
    fn try_mlp_gated(operands: &GatedMlpOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// [`FusedOps::add_norm_mlp_gated`], where that is better than the two ops that it is made of.
    fn try_add_norm_mlp_gated(
        operands: &AddNormGatedMlpOperands<Self>,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        None
    }

    /// [`FusedOps::rope`], after the norm of each head where there is one.
    fn try_rope(operands: &RopeOperands<'_, Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// [`FusedOps::qk_norm_rope`] as one op.
    fn try_qk_norm_rope(
        operands: &QkNormRopeOperands<'_, Self>,
        config: &KernelConfig,
    ) -> Option<QueryKey<Primitives<Self>>> {
        None
    }

    /// [`FusedOps::attention`] without a cache.
    fn try_attention(operands: &AttentionOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// The same with the log-sum-exp of each query.
    fn try_attention_forward(
        operands: &AttentionOperands<Self>,
        config: &KernelConfig,
    ) -> Option<AttentionForward<Primitives<Self>>> {
        None
    }

    /// Gradients by queries, keys and values, f32.
    fn try_attention_backward(
        operands: &AttentionBackwardOperands<Self>,
        config: &KernelConfig,
    ) -> Option<AttentionGrads<Primitives<Self>>> {
        None
    }

    /// [`FusedOps::attention_rotary`]. `caches` has one entry a sequence, which nobody else should hold, with room for
    /// its positions; or none. Where the engine declines, they are as they were.
    fn try_attention_rotary(
        operands: &RotaryOperands<'_, Self>,
        caches: &mut [CacheRoom<Primitives<Self>>],
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        None
    }

    /// [`FusedOps::moe`] behind its router.
    fn try_moe(operands: &MoeOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// Rows by id as f32: `[.., hidden]` for ids of shape `[..]`.
    fn try_embedding(operands: &EmbeddingOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// A function of each element; in place where it can.
    fn try_unary(
        operands: UnaryOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, UnaryOperands<Self>> {
        Err(operands)
    }

    /// Whether arithmetic on so few elements is declined whatever the configuration.
    fn leaves_arithmetic(x: &FloatTensor<Self>) -> bool {
        false
    }

    /// Arithmetic; in place of the left operand where it can.
    fn try_binary(
        operands: BinaryOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, BinaryOperands<Self>> {
        Err(operands)
    }

    /// Arithmetic with a number; in place where it can.
    fn try_binary_scalar(
        operands: ScalarOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, ScalarOperands<Self>> {
        Err(operands)
    }

    /// `silu(gate) ⊙ up`; in place of the gate where it can.
    fn try_silu_mul(
        operands: SiluMulOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, SiluMulOperands<Self>> {
        Err(operands)
    }

    /// Softmax over one dimension; in place where it can.
    fn try_softmax(
        operands: SoftmaxOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, SoftmaxOperands<Self>> {
        Err(operands)
    }

    /// Layer norm over the last dimension; in place where it can.
    fn try_layer_norm(
        operands: LayerNormOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, LayerNormOperands<Self>> {
        Err(operands)
    }

    /// RMS norm over the last dimension and its reciprocal deviations `[.., 1]`; in place where it can.
    fn try_rms_norm(operands: RmsNormOperands<Self>, config: &KernelConfig) -> NormResult<Self> {
        Err(operands)
    }

    /// A residual addition and the RMS norm of its sum; the sum in place of `x` where it can.
    fn try_add_norm(operands: AddNormOperands<Self>, config: &KernelConfig) -> AddNormResult<Self> {
        Err(operands)
    }

    /// [`FusedOps::layer_norm`] with the numbers of its rows.
    fn try_layer_norm_forward(
        operands: &LayerNormOperands<Self>,
        config: &KernelConfig,
    ) -> Option<LayerNormForward<Primitives<Self>, ANY_RANK>> {
        None
    }

    /// Gradients of a norm; that of its input in place of the output's where it can.
    fn try_norm_backward(operands: NormBackwardOperands<Self>, config: &KernelConfig) -> NormBackwardResult<Self> {
        Err(operands)
    }

    /// Gradients of [`FusedOps::rope`], and of the norm of each head where there is one.
    fn try_rope_backward(operands: &RopeBackwardOperands<'_, Self>, config: &KernelConfig) -> Option<RopeGrads<Self>> {
        None
    }

    /// Rows added up by id in a table of so many, `[rows, hidden]`, f32.
    fn try_embedding_backward(
        operands: &EmbeddingBackwardOperands<Self>,
        rows: usize,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        None
    }

    /// Rows added to a table by id; in place where it can.
    fn try_add_rows(
        operands: AddRowsOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, AddRowsOperands<Self>> {
        Err(operands)
    }

    /// Rows added up by id: the ids, each once, in rising order, and a row for each, f32.
    fn try_embedding_backward_rows(
        operands: &EmbeddingBackwardOperands<Self>,
        config: &KernelConfig,
    ) -> Option<(IntTensor<Self>, FloatTensor<Self>)> {
        None
    }

    /// One step of AdamW; each buffer in place where it can.
    fn try_adamw(operands: AdamWOperands<Self>, config: &KernelConfig) -> AdamWResult<Self> {
        Err(operands)
    }

    /// `Σ x²`, `[1]`, f32.
    fn try_sum_of_squares(x: &FloatTensor<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    // Backward passes of linear layers and of what is made of them.

    /// `gradᵀ·x + sum` over all rows; in place of `sum` where it can.
    fn try_linear_weight_gradient(
        operands: WeightGradientOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, WeightGradientOperands<Self>> {
        Err(operands)
    }

    /// The sum of `grad` over its rows.
    fn try_bias_gradient(grad: &FloatTensor<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        None
    }

    /// `grad · activation'(x)`; in place of `grad` where it can.
    fn try_activation_backward(
        operands: ActivationBackwardOperands<Self>,
        config: &KernelConfig,
    ) -> Result<ActivationBackward<Self>, ActivationBackwardOperands<Self>> {
        Err(operands)
    }

    /// Gradients of `silu(gate) ⊙ up`, and the product again; each in place of an operand where it can.
    fn try_silu_mul_backward(
        operands: SiluMulBackwardOperands<Self>,
        config: &KernelConfig,
    ) -> Result<SiluMulBackward<Self>, SiluMulBackwardOperands<Self>> {
        Err(operands)
    }

    /// The cross entropy of a head and its gradients, by chunks of positions.
    fn try_head_loss(operands: &HeadLossOperands<Self>, config: &KernelConfig) -> Option<HeadLoss<Self>> {
        None
    }

    /// Gradients of [`Engine::try_moe`].
    fn try_moe_backward(operands: &MoeBackwardOperands<Self>, config: &KernelConfig) -> Option<MoeBackward<Self>> {
        None
    }

    /// How [`Engine::try_linear`] would multiply an f32 input of so many `rows`, as text; `None` where it would not.
    fn explain_linear(weight: &EngineWeight<Self>, rows: usize, config: &KernelConfig) -> Option<String> {
        None
    }

    /// How an op would run on `device`, or what it is unavailable for, as text; `None` where the engine has nothing to
    /// say.
    fn explain_op(op: &OpShape<EngineWeight<Self>>, device: &Self::Device, config: &KernelConfig) -> Option<String> {
        None
    }
}

/// A norm, or its operands.
pub type NormResult<B> = Result<RmsNormForward<Primitives<B>, ANY_RANK>, RmsNormOperands<B>>;

/// A residual addition and its norm, or their operands.
pub type AddNormResult<B> = Result<AddNormForward<Primitives<B>, ANY_RANK>, AddNormOperands<B>>;
