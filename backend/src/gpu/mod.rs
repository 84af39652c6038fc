//! `Kiln` over CubeCL devices: `Kiln<CubeBackend<R, ..>>` for any CubeCL runtime `R`.
//!
//! The kernels are those of [`burn_kiln_fusion::cube`]; a file here holds what reaches one group of them. What has no
//! kernel declines, and Kiln forwards to the backend that it decorates. Burn's own `Wgpu` and `Cuda` aliases wrap that
//! backend in `Fusion` under their default features; Kiln decorates the bare one.

mod attention;
mod attention_rotary;
#[cfg(feature = "cuda")]
mod cuda;
mod elementwise;
mod embedding;
mod explain;
mod linear;
mod mlp;
mod norm;
mod rope;
mod softmax;
pub mod tune;

use crate::engine::{
    AddNormGatedMlpOperands, AddNormOperands, AddNormResult, AttentionOperands, EmbeddingOperands, Engine,
    EngineWeight, GatedMlpOperands, LayerNormOperands, LinearOperands, MatmulOperands, ModuleLinearOperands,
    NormLinearsOperands, NormResult, Primitives, QkNormRopeOperands, RmsNormOperands, RopeOperands, RotaryOperands,
    SiluMulOperands, SoftmaxOperands, UnaryOperands,
};
use crate::op_shape::OpShape;
use crate::routes::{Route, note};
use burn_backend::DeviceOps;
use burn_backend::{Backend, tensor::FloatTensor};
use burn_cubecl::{
    CubeBackend, CubeRuntime,
    cubecl::server::ComputeServer,
    element::{BoolElement, FloatElement, IntElement},
    tensor::CubeTensor,
};
use burn_kiln_fusion::{
    AttentionForward, CacheRoom, KernelConfig, QueryKey,
    cube::{Angles, CubeError},
};
use rope::Head;

#[cfg(feature = "cuda")]
pub use cuda::KilnCuda;

/// Kiln on Vulkan, Metal, DX12 or WebGPU. Booleans are u32, which every one of these can store.
#[cfg(feature = "wgpu")]
pub type KilnWgpu = crate::Kiln<CubeBackend<burn_wgpu::WgpuRuntime, f32, i32, u32>>;

impl<R, F, I, BT> Engine for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    R::Server: ComputeServer,
    R::Device: DeviceOps,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    type Panels = FloatTensor<Self>;

    fn unpack_panels(panels: &Self::Panels) -> FloatTensor<Self> {
        panels.clone()
    }

    fn try_matmul(operands: &MatmulOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        linear::matmul(&operands.lhs, &operands.rhs, config)
    }

    fn try_module_linear(operands: &ModuleLinearOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        linear::module_linear(operands, config)
    }

    fn try_linear(operands: &LinearOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        linear::linear(operands, config)
    }

    fn try_norm_linears(
        operands: &NormLinearsOperands<'_, Self>,
        config: &KernelConfig,
    ) -> Option<Vec<FloatTensor<Self>>> {
        linear::norm_linears(operands, config)
    }

    fn try_mlp_gated(operands: &GatedMlpOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        mlp::mlp_gated(operands, config)
    }

    fn try_add_norm_mlp_gated(
        operands: &AddNormGatedMlpOperands<Self>,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        mlp::add_norm_mlp_gated(operands, config)
    }

    fn try_rope(operands: &RopeOperands<'_, Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        let RopeOperands { x, norm, rotary } = operands;
        let head = Head { x, gamma: norm.as_ref().map(|norm| &norm.gamma) };
        let epsilon = norm.as_ref().map_or(0.0, |norm| norm.epsilon);
        let [output] = rope::rotate([head], epsilon, Angles { cos: &rotary.cos, sin: &rotary.sin }, config)?;
        Some(output)
    }

    fn try_qk_norm_rope(
        operands: &QkNormRopeOperands<'_, Self>,
        config: &KernelConfig,
    ) -> Option<QueryKey<Primitives<Self>>> {
        let QkNormRopeOperands { heads, norms, rotary } = operands;
        let q = Head { x: &heads.q, gamma: Some(&norms.q_gamma) };
        let k = Head { x: &heads.k, gamma: Some(&norms.k_gamma) };
        let angles = Angles { cos: &rotary.cos, sin: &rotary.sin };
        let [q, k] = rope::rotate([q, k], norms.epsilon, angles, config)?;
        Some(QueryKey { q, k })
    }

    fn try_attention(operands: &AttentionOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        attention::attend(operands, false, config).map(|results| results.output)
    }

    fn try_attention_forward(
        operands: &AttentionOperands<Self>,
        config: &KernelConfig,
    ) -> Option<AttentionForward<Primitives<Self>>> {
        let attention::Results { output, lse } = attention::attend(operands, true, config)?;
        Some(AttentionForward { output, lse: lse? })
    }

    fn try_attention_rotary(
        operands: &RotaryOperands<'_, Self>,
        caches: &mut [CacheRoom<Primitives<Self>>],
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        attention_rotary::attend(operands, caches, config)
    }

    fn try_embedding(operands: &EmbeddingOperands<Self>, config: &KernelConfig) -> Option<FloatTensor<Self>> {
        embedding::embedding(find_rows(&operands.weight), &operands.ids, config)
    }

    fn try_unary(
        operands: UnaryOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, UnaryOperands<Self>> {
        elementwise::unary(operands.op, &operands.x, config).ok_or(operands)
    }

    fn try_silu_mul(
        operands: SiluMulOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, SiluMulOperands<Self>> {
        elementwise::silu_mul(&operands.gate, &operands.up, config).ok_or(operands)
    }

    fn try_softmax(
        operands: SoftmaxOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, SoftmaxOperands<Self>> {
        softmax::softmax(operands.kind, &operands.x, operands.dim, config).ok_or(operands)
    }

    fn try_layer_norm(
        operands: LayerNormOperands<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, LayerNormOperands<Self>> {
        let LayerNormOperands { x, gamma, beta, epsilon } = &operands;
        norm::layer_norm(x, gamma, beta.as_ref(), *epsilon, config).ok_or(operands)
    }

    fn try_rms_norm(operands: RmsNormOperands<Self>, config: &KernelConfig) -> NormResult<Self> {
        norm::rms_norm(&operands, config).ok_or(operands)
    }

    fn try_add_norm(operands: AddNormOperands<Self>, config: &KernelConfig) -> AddNormResult<Self> {
        norm::add_norm(&operands, config).ok_or(operands)
    }

    fn explain_linear(weight: &EngineWeight<Self>, rows: usize, config: &KernelConfig) -> Option<String> {
        linear::explain(weight, rows, config)
    }

    fn explain_op(op: &OpShape<EngineWeight<Self>>, device: &R::Device, config: &KernelConfig) -> Option<String> {
        Some(explain::explain::<R, Self>(op, device, config))
    }
}

/// An engine whose tensors are those of CubeCL's runtime `R`.
trait CubeEngine<R: CubeRuntime>:
    Engine<Panels = CubeTensor<R>>
    + Backend<
        FloatTensorPrimitive = CubeTensor<R>,
        IntTensorPrimitive = CubeTensor<R>,
        BoolTensorPrimitive = CubeTensor<R>,
    >
{
}

impl<R, B> CubeEngine<R> for B
where
    R: CubeRuntime,
    B: Engine<Panels = CubeTensor<R>>
        + Backend<
            FloatTensorPrimitive = CubeTensor<R>,
            IntTensorPrimitive = CubeTensor<R>,
            BoolTensorPrimitive = CubeTensor<R>,
        >,
{
}

/// The rows of a weight, `[out, in]`: this engine packs nothing.
fn find_rows<R: CubeRuntime, B: CubeEngine<R>>(weight: &EngineWeight<B>) -> &CubeTensor<R> {
    match weight {
        EngineWeight::Plain(tensor) => tensor,
        EngineWeight::Packed(tensor) => tensor,
    }
}

/// Whether kernels of a section with this switch run.
fn runs(switch: bool, config: &KernelConfig) -> bool {
    switch && config.gpu.enabled
}

/// The kernel's result, counted as `route`; `None`, with a trace of the reason, when it was not launched.
fn accept<T>(route: Route, result: Result<T, CubeError>) -> Option<T> {
    match result {
        Ok(output) => {
            note(route);
            Some(output)
        }
        Err(reason) => {
            tracing::debug!(%reason, %route, "runs as a composition");
            None
        }
    }
}
