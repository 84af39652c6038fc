//! `FusedOps` for CubeCL's backend: the default compositions, like every backend of Burn's. The kernels are reached
//! through `Kiln<CubeBackend<..>>`, so the bare backend stays the baseline that they are measured against.

use crate::{DeviceLayout, DeviceMemory, FusedOps, KernelConfig, Packing, TrainingOps};
use burn_backend::DeviceOps;
use burn_cubecl::{CubeBackend, CubeRuntime, element::BoolElement, element::FloatElement, element::IntElement};
use burn_tensor::Tensor;
use cubecl::server::ComputeServer;

impl<R, F, I, BT> Packing for CubeBackend<R, F, I, BT>
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

impl<R, F, I, BT> FusedOps for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    R::Server: ComputeServer,
    R::Device: DeviceOps,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    fn device_memory(device: &Self::Device) -> Option<DeviceMemory> {
        let client = R::client(device);
        let usage = client.memory_usage();
        // Whether rows are padded is the server's business: a matrix of two rows shows it, one that takes no page of
        // the pool.
        let probe = |()| client.empty_tensor([2, 3].into(), 1).strides[0];
        let pitched = client.memory_persistent_allocation((), probe).is_ok_and(|stride| stride != 3);
        let layout = DeviceLayout { alignment: client.properties().memory.alignment.max(1), pitched };
        let (in_use, reserved) = usage.map_or((0, 0), |usage| (usage.bytes_in_use, usage.bytes_reserved));
        Some(DeviceMemory { in_use, reserved, layout })
    }
}

impl<R, F, I, BT> TrainingOps for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    R::Server: ComputeServer,
    R::Device: DeviceOps,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
}
