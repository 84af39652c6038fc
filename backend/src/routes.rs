//! Counters of the kernels that ran: proof that an op of a model reaches its kernel.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use kiln_kernels::probe::{self, Probe};

/// A kernel, or a group of kernels of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Route {
    /// Matrix product of two tensors.
    Matmul,
    /// Matrix product with a weight `[out, in]`, plain or packed, with its epilogue.
    Linear,
    /// The same with a packed weight.
    LinearPacked,
    /// A norm and the linear layers after it, as one kernel.
    NormLinears,
    /// Gate and up of an MLP as one product, then down.
    GatedMlp,
    /// A matrix product, of either kind, by `vdpbf16ps`.
    Bf16Dots,
    /// A matrix product, of either kind, by `tdpbf16ps`.
    Bf16Tiles,
    /// Tiled attention.
    Attention,
    /// Its gradients.
    AttentionBackward,
    /// Head norms, rotation, cache and tiled attention as one op.
    AttentionRotary,
    /// Softmax and log-softmax.
    Softmax,
    /// Layer norm.
    LayerNorm,
    /// RMS norm.
    RmsNorm,
    /// Residual addition and RMS norm in one pass.
    AddNorm,
    /// Rotary embedding, alone or after the norm of each head.
    Rope,
    /// Activations and the exponential.
    Unary,
    /// Arithmetic of two tensors, or of a tensor and a number.
    Binary,
    /// SiLU of the gate times up.
    Gated,
    /// The experts of a mixture as one op.
    Moe,
    /// Rows of a weight by id.
    Embedding,
    /// Gradients of a layer norm.
    LayerNormBackward,
    /// Gradients of an RMS norm.
    RmsNormBackward,
    /// The same with that of a residual addition in one pass.
    AddNormBackward,
    /// Gradients of rotary embedding, alone or with the norm of each head.
    RopeBackward,
    /// Gradients of rows added up by id.
    EmbeddingBackward,
    /// A step of AdamW.
    AdamW,
    /// The sum of the squares of a gradient.
    SumOfSquares,
    /// Gradient of a weight, `gradᵀ·x`, or what is added to one.
    WeightGradient,
    /// Gradient of a bias.
    BiasGradient,
    /// Gradient of an activation's argument, with that of the bias in it or without.
    ActivationGradient,
    /// Gradients of SiLU of the gate times up.
    GatedGradient,
    /// Cross entropy of a head, with its gradients or without.
    HeadLoss,
    /// Gradients of the experts of a mixture as one op.
    MoeGradient,
    /// RMS norm on a CubeCL device.
    CubeRmsNorm,
    /// Layer norm on a CubeCL device.
    CubeLayerNorm,
    /// Residual addition and RMS norm in one pass on a CubeCL device.
    CubeAddNorm,
    /// Softmax and log-softmax on a CubeCL device.
    CubeSoftmax,
    /// An activation on a CubeCL device.
    CubeUnary,
    /// SiLU of the gate times up on a CubeCL device.
    CubeGated,
    /// Head norms and rotary embedding on a CubeCL device.
    CubeRope,
    /// Tiled attention on a CubeCL device.
    CubeAttention,
    /// Head norms, rotation, cache and attention as one op on a CubeCL device.
    CubeAttentionRotary,
    /// Plain matrix product on a CubeCL device.
    CubeMatmul,
    /// Matrix product with a weight and its epilogue on a CubeCL device.
    CubeLinear,
    /// A norm and the linear layers after it on a CubeCL device.
    CubeNormLinears,
    /// Gate and up of an MLP as one product, then down, on a CubeCL device.
    CubeGatedMlp,
    /// Rows of a weight by id on a CubeCL device.
    CubeEmbedding,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 47] = [
        Self::Matmul,
        Self::Linear,
        Self::LinearPacked,
        Self::NormLinears,
        Self::GatedMlp,
        Self::Bf16Dots,
        Self::Bf16Tiles,
        Self::Attention,
        Self::AttentionBackward,
        Self::AttentionRotary,
        Self::Softmax,
        Self::LayerNorm,
        Self::RmsNorm,
        Self::AddNorm,
        Self::Rope,
        Self::Unary,
        Self::Binary,
        Self::Gated,
        Self::Moe,
        Self::Embedding,
        Self::LayerNormBackward,
        Self::RmsNormBackward,
        Self::AddNormBackward,
        Self::RopeBackward,
        Self::EmbeddingBackward,
        Self::AdamW,
        Self::SumOfSquares,
        Self::WeightGradient,
        Self::BiasGradient,
        Self::ActivationGradient,
        Self::GatedGradient,
        Self::HeadLoss,
        Self::MoeGradient,
        Self::CubeRmsNorm,
        Self::CubeLayerNorm,
        Self::CubeAddNorm,
        Self::CubeSoftmax,
        Self::CubeUnary,
        Self::CubeGated,
        Self::CubeRope,
        Self::CubeAttention,
        Self::CubeAttentionRotary,
        Self::CubeMatmul,
        Self::CubeLinear,
        Self::CubeNormLinears,
        Self::CubeGatedMlp,
        Self::CubeEmbedding,
    ];
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

static COUNTS: [AtomicU64; Route::ALL.len()] = [const { AtomicU64::new(0) }; Route::ALL.len()];

/// How often `route` has run in this process.
pub fn count(route: Route) -> u64 {
    match route {
        // Chosen inside of the kernels.
        Route::Bf16Dots => probe::count(Probe::Bf16Dots),
        Route::Bf16Tiles => probe::count(Probe::Bf16Tiles),
        route => COUNTS[route as usize].load(Ordering::Relaxed),
    }
}

/// Notes that `route` runs.
pub(crate) fn note(route: Route) {
    COUNTS[route as usize].fetch_add(1, Ordering::Relaxed);
}
