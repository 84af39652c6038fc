//! `Kiln` over CubeCL devices: `Kiln<CubeBackend<R, ..>>` for any CubeCL runtime `R`.
//!
//! The kernels are those of [`burn_kiln_fusion::cube`]; so far RMS norm. Every other op is CubeCL's own: it declines, and Kiln
//! forwards to the backend that it decorates. Burn's own `Wgpu` and `Cuda` aliases wrap that backend in `Fusion` under their
//! default features; Kiln decorates the bare one.

use crate::Kiln;
use crate::engine::Engine;
use crate::routes::{Route, note};
use burn_backend::DeviceOps;
use burn_backend::tensor::FloatTensor;
use burn_cubecl::{
    CubeBackend, CubeRuntime,
    cubecl::server::ComputeServer,
    element::{BoolElement, FloatElement, IntElement},
};
use burn_kiln_fusion::{
    KernelConfig,
    cube::{RmsNormOptions, RmsNormOutput, rms_norm},
};
use burn_wgpu::WgpuRuntime;

/// Kiln on Vulkan, Metal, DX12 or WebGPU. Booleans are u32, which every one of these can store.
pub type KilnWgpu = Kiln<CubeBackend<WgpuRuntime, f32, i32, u32>>;

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

    fn try_rms_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Result<(FloatTensor<Self>, FloatTensor<Self>), (FloatTensor<Self>, FloatTensor<Self>)> {
        if !config.blocking.enabled {
            return Err((x, gamma));
        }
        match rms_norm(&x, &gamma, RmsNormOptions::new(epsilon).with_rstd()) {
            Ok(RmsNormOutput { y, rstd: Some(rstd) }) => {
                note(Route::CubeRmsNorm);
                Ok((y, rstd))
            }
            Ok(RmsNormOutput { rstd: None, .. }) => Err((x, gamma)),
            Err(reason) => {
                tracing::debug!(%reason, "RMS norm runs as a composition");
                Err((x, gamma))
            }
        }
    }
}
