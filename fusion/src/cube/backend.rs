//! `FusedOps` for CubeCL's backend: the default compositions, like every backend of Burn's. The kernels are reached through
//! `Kiln<CubeBackend<..>>`, so the bare backend stays the baseline that they are measured against.

use crate::{FusedOps, KernelConfig};
use burn_backend::DeviceOps;
use burn_cubecl::{CubeBackend, CubeRuntime, element::BoolElement, element::FloatElement, element::IntElement};
use burn_tensor::Tensor;
use cubecl::server::ComputeServer;

impl<R, F, I, BT> FusedOps for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    R::Server: ComputeServer,
    R::Device: DeviceOps,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    type Packed = Tensor<Self, 2>;

    fn pack(weight: Tensor<Self, 2>, _config: &KernelConfig) -> Self::Packed {
        weight
    }

    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2> {
        packed.clone()
    }
}
