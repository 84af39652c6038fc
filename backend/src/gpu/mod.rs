//! `Kiln` over CubeCL devices: `Kiln<CubeBackend<R, ..>>` for any CubeCL runtime `R`.
//!
//! The kernels are those of [`burn_kiln_fusion::cube`]; a file here holds what reaches one group of them. What has no kernel
//! declines, and Kiln forwards to the backend that it decorates. Burn's own `Wgpu` and `Cuda` aliases wrap that backend in
//! `Fusion` under their default features; Kiln decorates the bare one.

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
    AttentionOperands, CacheBuffers, Engine, EngineLayer, EngineNorm, EngineWeight, FusedAttention, LinearEpilogue,
    RotaryOperands, SoftmaxKind, UnaryOp,
};
use crate::op_shape::OpShape;
use crate::routes::{Route, note};
use burn_backend::DeviceOps;
use burn_backend::{
    Backend,
    tensor::{FloatTensor, IntTensor},
};
use burn_cubecl::{
    CubeBackend, CubeRuntime,
    cubecl::server::ComputeServer,
    element::{BoolElement, FloatElement, IntElement},
    tensor::CubeTensor,
};
use burn_kiln_fusion::{KernelConfig, cube::CubeError};

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

    fn try_matmul(
        lhs: FloatTensor<Self>,
        rhs: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>)> {
        linear::matmul(&lhs, &rhs, config).ok_or((lhs, rhs))
    }

    fn try_module_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>)> {
        linear::module_linear(&x, &weight, bias.as_ref(), config).ok_or((x, weight, bias))
    }

    fn try_linear(
        x: FloatTensor<Self>,
        weight: &EngineWeight<'_, Self>,
        epilogue: LinearEpilogue<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, LinearEpilogue<Self>)> {
        linear::linear(&x, weight, &epilogue, config).ok_or((x, epilogue))
    }

    fn try_norm_linears(
        x: &FloatTensor<Self>,
        norm: &EngineNorm<Self>,
        layers: &[EngineLayer<'_, Self>],
        config: &KernelConfig,
    ) -> Option<Vec<FloatTensor<Self>>> {
        linear::norm_linears(x, norm, layers, config)
    }

    fn try_mlp_gated(
        x: &FloatTensor<Self>,
        weights: [&EngineWeight<'_, Self>; 3],
        residual: Option<&FloatTensor<Self>>,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        mlp::mlp_gated(x, weights, residual, config)
    }

    fn try_add_norm_mlp_gated(
        operands: [&FloatTensor<Self>; 2],
        norm: &EngineNorm<Self>,
        weights: [&EngineWeight<'_, Self>; 3],
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        mlp::add_norm_mlp_gated(operands, norm, weights, config)
    }

    fn explain_linear(weight: &EngineWeight<'_, Self>, rows: usize, config: &KernelConfig) -> Option<String> {
        linear::explain(weight, rows, config)
    }

    fn explain_op(op: &OpShape<EngineWeight<'_, Self>>, device: &R::Device, config: &KernelConfig) -> Option<String> {
        Some(explain::explain::<R, Self>(op, device, config))
    }

    fn try_embedding(
        weight: &EngineWeight<'_, Self>,
        ids: IntTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, IntTensor<Self>> {
        embedding::embedding(find_rows(weight), &ids, config).ok_or(ids)
    }

    fn try_rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<(FloatTensor<Self>, FloatTensor<Self>), (FloatTensor<Self>, FloatTensor<Self>)> {
        norm::rms_norm(&x, &gamma, epsilon, config).ok_or((x, gamma))
    }

    #[allow(clippy::type_complexity)]
    fn try_layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: Option<FloatTensor<Self>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>, Option<FloatTensor<Self>>)> {
        norm::layer_norm(&x, &gamma, beta.as_ref(), epsilon, config).ok_or((x, gamma, beta))
    }

    fn try_add_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<[FloatTensor<Self>; 3], [FloatTensor<Self>; 3]> {
        norm::add_norm([&x, &residual, &gamma], epsilon, config).ok_or([x, residual, gamma])
    }

    fn try_rope(
        x: FloatTensor<Self>,
        norm: Option<(&FloatTensor<Self>, f64)>,
        angles: (&FloatTensor<Self>, &FloatTensor<Self>),
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        let norm = norm.map(|(gamma, epsilon)| ([gamma], epsilon));
        let output = rope::rotate([&x], norm, angles, config).map(|[output]| output);
        output.ok_or(x)
    }

    fn try_qk_norm_rope(
        heads: [&FloatTensor<Self>; 2],
        norm: ([&FloatTensor<Self>; 2], f64),
        angles: (&FloatTensor<Self>, &FloatTensor<Self>),
        config: &KernelConfig,
    ) -> Option<[FloatTensor<Self>; 2]> {
        rope::rotate(heads, Some(norm), angles, config)
    }

    #[allow(clippy::type_complexity)]
    fn try_attention(
        operands: AttentionOperands<Self>,
        fused: &FusedAttention,
        config: &KernelConfig,
    ) -> Result<(FloatTensor<Self>, Option<FloatTensor<Self>>), AttentionOperands<Self>> {
        attention::attend(&operands, fused, config).ok_or(operands)
    }

    fn try_attention_rotary(
        operands: &RotaryOperands<Self>,
        caches: &mut [CacheBuffers<Self>],
        fused: &FusedAttention,
        config: &KernelConfig,
    ) -> Option<FloatTensor<Self>> {
        attention_rotary::attend(operands, caches, fused, config)
    }

    fn try_softmax(
        kind: SoftmaxKind,
        x: FloatTensor<Self>,
        dim: usize,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        softmax::softmax(kind, &x, dim, config).ok_or(x)
    }

    fn try_unary(
        op: UnaryOp,
        x: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        elementwise::unary(op, &x, config).ok_or(x)
    }

    fn try_silu_mul(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        config: &KernelConfig,
    ) -> Result<FloatTensor<Self>, (FloatTensor<Self>, FloatTensor<Self>)> {
        elementwise::silu_mul(&gate, &up, config).ok_or((gate, up))
    }
}

/// An engine whose tensors are those of CubeCL's runtime `R`.
trait CubeEngine<R: CubeRuntime>:
    Engine<Panels = CubeTensor<R>> + Backend<FloatTensorPrimitive = CubeTensor<R>, IntTensorPrimitive = CubeTensor<R>>
{
}

impl<R, B> CubeEngine<R> for B
where
    R: CubeRuntime,
    B: Engine<Panels = CubeTensor<R>>
        + Backend<FloatTensorPrimitive = CubeTensor<R>, IntTensorPrimitive = CubeTensor<R>>,
{
}

/// The rows of a weight, `[out, in]`: this engine packs nothing.
fn find_rows<'a, R: CubeRuntime, B: CubeEngine<R>>(weight: &'a EngineWeight<'_, B>) -> &'a CubeTensor<R> {
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
