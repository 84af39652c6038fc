//! What Kiln needs of the backend that it decorates.

use burn_backend::ops::AttentionModuleOptions;
use burn_backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn_backend::{Backend, DType, Scalar};
use burn_kiln_fusion::{Activation, FusedOps, KernelConfig, MoeOptions, NormKind};
use std::sync::Arc;

use crate::op_shape::OpShape;
pub use kiln_kernels::elementwise::{BinaryOp, UnaryOp};
pub use kiln_kernels::softmax::SoftmaxKind;

/// Operands of Burn's attention, handed back whole when no kernel takes them.
#[derive(Debug)]
pub struct AttentionOperands<B: Backend> {
    /// `[batch, heads, queries, head_dim]`.
    pub query: FloatTensor<B>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub key: FloatTensor<B>,
    /// `[batch, kv_heads, keys, value_dim]`.
    pub value: FloatTensor<B>,
    /// Broadcasts to `[batch, heads, queries, keys]`; true where a key is hidden.
    pub mask: Option<BoolTensor<B>>,
    /// Broadcasts to `[batch, heads, queries, keys]`.
    pub bias: Option<FloatTensor<B>>,
}

/// How the fused attention differs from Burn's: segments, and the log-sum-exp as a second result.
#[derive(Debug, Clone)]
pub struct FusedAttention {
    /// Scale, softcap and causality.
    pub options: AttentionModuleOptions,
    /// Ends of the segments of a packed sequence.
    pub segments: Option<Arc<[usize]>>,
    /// A type that keys and values may be rounded to where no cache rounds them.
    pub kv_dtype: Option<DType>,
    /// Whether the log-sum-exp of each query is wanted.
    pub with_lse: bool,
}

/// Operands of [`FusedOps::attention_rotary`].
#[derive(Debug)]
pub struct RotaryOperands<B: Backend> {
    /// `[batch, length, heads · head_dim]`.
    pub query: FloatTensor<B>,
    /// `[batch, length, kv_heads · head_dim]`.
    pub key: FloatTensor<B>,
    /// `[batch, length, kv_heads · head_dim]`.
    pub value: FloatTensor<B>,
    /// Elements of a head.
    pub head_dim: usize,
    /// Weights of the norms of queries and keys, `[head_dim]` each, and epsilon.
    pub norms: Option<([FloatTensor<B>; 2], f64)>,
    /// Cosines and sines, `[batch | 1, length, head_dim / 2]`.
    pub angles: [FloatTensor<B>; 2],
    /// As in [`AttentionOperands`], for each sequence.
    pub mask: Option<BoolTensor<B>>,
    /// As in [`AttentionOperands`], for each sequence.
    pub bias: Option<FloatTensor<B>>,
    /// Positions of each sequence.
    pub lengths: Vec<usize>,
}

/// The buffers of one sequence's cache, which nobody else should hold.
#[derive(Debug)]
pub struct CacheBuffers<B: Backend> {
    /// `[batch, kv_heads, capacity, head_dim]`.
    pub keys: FloatTensor<B>,
    /// `[batch, kv_heads, capacity, head_dim]`.
    pub values: FloatTensor<B>,
    /// Positions in use. Those of the operands, for which there is room, come behind them.
    pub start: usize,
}

/// A weight `[out, in]` as an engine sees it.
#[derive(Debug)]
pub enum EngineWeight<'a, B: Engine> {
    /// The checkpoint's rows.
    Plain(FloatTensor<B>),
    /// What the engine packed.
    Packed(&'a B::Panels),
}

/// What a linear layer does before its store.
#[derive(Debug)]
pub struct LinearEpilogue<B: Backend> {
    /// `[out]`.
    pub bias: Option<FloatTensor<B>>,
    /// After the bias.
    pub activation: Option<Activation>,
    /// Shaped like the output, added last.
    pub residual: Option<FloatTensor<B>>,
}

/// A norm of the rows of a linear layer's input.
#[derive(Debug)]
pub struct EngineNorm<B: Backend> {
    /// Which norm.
    pub kind: NormKind,
    /// `[in]`.
    pub gamma: FloatTensor<B>,
    /// `[in]`; only layer norm has one.
    pub beta: Option<FloatTensor<B>>,
    /// Added to the variance or the mean square.
    pub epsilon: f64,
}

/// One of several linear layers that read the same rows.
#[derive(Debug)]
pub struct EngineLayer<'a, B: Engine> {
    /// `[out, in]`.
    pub weight: EngineWeight<'a, B>,
    /// `[out]`.
    pub bias: Option<FloatTensor<B>>,
}

/// The kernels of one backend. A hook runs its kernel, or hands the operands back when it has none for them (dtype, layout,
/// device, too small to pay, switched off): what happens then is Kiln's business.
///
/// The defaults decline everything.
#[allow(unused_variables)]
pub trait Engine: FusedOps {
    /// A packed weight.
    type Panels: Clone + core::fmt::Debug + Send + Sync + 'static;

    /// Packs a weight `[out, in]`.
    fn try_pack(weight: FloatTensor<Self>, config: &KernelConfig) -> Result<Self::Panels, FloatTensor<Self>> {
        Err(weight)
    }

    /// The rows that were packed, bit for bit.
    fn unpack_panels(panels: &Self::Panels) -> FloatTensor<Self>;

    /// `lhs · rhs`, batched and broadcast as Burn's matmul.
    fn try_matmul(
        lhs: FloatTensor<Self>,
        rhs: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>)> {
        Err((lhs, rhs))
    }

    /// Burn's linear: `x · weight + bias`, weight `[in, out]`.
    #[allow(clippy::type_complexity)]
    fn try_module_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>)> {
        Err((x, weight, bias))
    }

    /// The fused linear: `activation(x·Wᵀ + bias) + residual`, weight `[out, in]`.
    fn try_linear(
        x: FloatTensor<Self>,
        weight: &EngineWeight<'_, Self>,
        epilogue: LinearEpilogue<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, LinearEpilogue<Self>)> {
        Err((x, epilogue))
    }

    /// `norm(x)·Wᵀ + bias` for each layer, as one op; `None` where no kernel does it.
    fn try_norm_linears(
        x: &FloatTensor<Self>,
        norm: &EngineNorm<Self>,
        layers: &[EngineLayer<'_, Self>],
        config: &KernelConfig,
    ) -> Option<Vec<FloatTensor<Self>>> {
        None
    }

    /// `down( silu(x·gateᵀ) ⊙ (x·upᵀ) ) + residual` for weights gate, up and down; `None` where no kernel does it.
    fn try_mlp_gated(
        x: &FloatTensor<Self>,
        weights: [&EngineWeight<'_, Self>; 3],
        residual: Option<&FloatTensor<Self>>,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        None
    }

    /// [`FusedOps::add_norm_mlp_gated`] of `[x, residual]` for weights gate, up and down; `None` where no kernel does it better than
    /// the two ops that it is made of.
    fn try_add_norm_mlp_gated(
        operands: [&FloatTensor<Self>; 2],
        norm: &EngineNorm<Self>,
        weights: [&EngineWeight<'_, Self>; 3],
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        None
    }

    /// How [`Engine::try_linear`] would multiply an f32 input of so many `rows`, as text; `None` where it would not.
    fn explain_linear(weight: &EngineWeight<'_, Self>, rows: usize, config: &KernelConfig) -> Option<String> {
        None
    }

    /// How an op would run on `device`, or what it is unavailable for, as text; `None` where the engine has nothing to say.
    fn explain_op(
        op: &OpShape<EngineWeight<'_, Self>>,
        device: &Self::Device,
        config: &KernelConfig,
    ) -> Option<String> {
        None
    }

    /// A function of each element.
    fn try_unary(
        op: UnaryOp,
        x: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        Err(x)
    }

    /// Whether arithmetic on so few elements is handed back whatever the configuration.
    fn leaves_arithmetic(x: &FloatTensor<Self>) -> bool {
        false
    }

    /// Arithmetic, broadcast as Burn's.
    fn try_binary(
        op: BinaryOp,
        lhs: FloatTensor<Self>,
        rhs: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>)> {
        Err((lhs, rhs))
    }

    /// Arithmetic with a number.
    fn try_binary_scalar(
        op: BinaryOp,
        lhs: FloatTensor<Self>,
        rhs: Scalar,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        Err(lhs)
    }

    /// `silu(gate) ⊙ up`.
    fn try_silu_mul(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>)> {
        Err((gate, up))
    }

    /// Softmax over one dimension.
    fn try_softmax(
        kind: SoftmaxKind,
        x: FloatTensor<Self>,
        dim: usize,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        Err(x)
    }

    /// Layer norm over the last dimension.
    #[allow(clippy::type_complexity)]
    fn try_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: Option<FloatTensor<Self>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>)> {
        Err((x, gamma, beta))
    }

    /// RMS norm over the last dimension: the output and the reciprocal deviations `[.., 1]`.
    #[allow(clippy::type_complexity)]
    fn try_rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<(FloatTensor<Self>, FloatTensor<Self>), (FloatTensor<Self>, FloatTensor<Self>)> {
        Err((x, gamma))
    }

    /// `[x + residual, its RMS norm, the reciprocal deviations]`; declined operands come back in their order.
    fn try_add_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<[FloatTensor<Self>; 3], [FloatTensor<Self>; 3]> {
        Err([x, residual, gamma])
    }

    /// Rotary embedding of `x` `[batch, heads, length, head_dim]`, after the RMS norm of each head where `norm` gives its weight
    /// and epsilon. `cos` and `sin` are `[batch, length, head_dim / 2]`.
    fn try_rope(
        x: FloatTensor<Self>,
        norm: Option<(&FloatTensor<Self>, f64)>,
        angles: (&FloatTensor<Self>, &FloatTensor<Self>),
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        Err(x)
    }

    /// [`Engine::try_rope`] of queries and keys with their weights, as one op; `None` where no kernel does both.
    #[allow(clippy::type_complexity)]
    fn try_qk_norm_rope(
        heads: [&FloatTensor<Self>; 2],
        norm: ([&FloatTensor<Self>; 2], f64),
        angles: (&FloatTensor<Self>, &FloatTensor<Self>),
        config: &KernelConfig,
    ) -> Option<[FloatTensor<Self>; 2]> {
        None
    }

    /// Attention: the output, and the log-sum-exp `[batch, heads, queries, 1]` if wanted.
    #[allow(clippy::type_complexity)]
    fn try_attention(
        operands: AttentionOperands<Self>,
        fused: &FusedAttention,
        config: &KernelConfig,
    ) -> Result<(FloatTensor<Self>, Option<FloatTensor<Self>>), AttentionOperands<Self>> {
        Err(operands)
    }

    /// [`FusedOps::attention_rotary`]: the output. `caches` has one entry a sequence or none; where the engine declines they are as they were.
    fn try_attention_rotary(
        operands: &RotaryOperands<Self>,
        caches: &mut [CacheBuffers<Self>],
        fused: &FusedAttention,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        None
    }

    /// [`FusedOps::moe`] of tokens `[tokens, hidden]` whose router gave logits `[tokens, experts]`; then the experts' gate and up, and
    /// their down.
    fn try_moe(
        operands: [&FloatTensor<Self>; 2],
        experts: [&FloatTensor<Self>; 2],
        options: MoeOptions,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        None
    }

    /// Rows by id as f32: `[.., hidden]` for ids of shape `[..]`.
    fn try_embedding(
        weight: &EngineWeight<'_, Self>,
        ids: IntTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, IntTensor<Self>> {
        Err(ids)
    }
}
