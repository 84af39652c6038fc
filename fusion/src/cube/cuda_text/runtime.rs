//! The runtime.

use super::{Sm61, device::describe, server::OfflineServer, text::CudaCompiler};
use cubecl::{
    Runtime,
    client::ComputeClient,
    device::{Device, DeviceId},
    ir::{ContiguousElements, MatrixLayout, MmaProperties, TargetProperties},
    zspace::{Shape, Strides},
};
use cubecl_cpp::cuda::mma::contiguous_elements_cuda;

/// CubeCL on an [`Sm61`] that is not there. Burn tensors run on `CubeBackend<OfflineCuda, f32, i32, u8>`.
#[derive(Debug, Clone)]
pub struct OfflineCuda;

impl Runtime for OfflineCuda {
    type Compiler = CudaCompiler;
    type Server = OfflineServer;
    type Device = Sm61;

    fn client(device: &Self::Device) -> ComputeClient<Self> {
        ComputeClient::load(device)
    }

    fn name(_client: &ComputeClient<Self>) -> &'static str {
        "offline-cuda"
    }

    fn require_array_lengths() -> bool {
        true
    }

    fn max_cube_count() -> (u32, u32, u32) {
        describe().hardware.max_cube_count
    }

    /// Rows may be padded, as in `cubecl-cuda`; nothing else is read or written from the host.
    fn can_read_tensor(shape: &Shape, strides: &Strides) -> bool {
        super::server::find_pitch(shape, strides).is_some()
    }

    fn target_properties() -> TargetProperties {
        let mma = MmaProperties {
            register_size_bits: 32,
            const_plane_size: 32,
            register_layout_a: MatrixLayout::RowMajor,
            register_layout_b: MatrixLayout::ColMajor,
            register_layout_acc: MatrixLayout::RowMajor,
            register_duplication_a: 1,
            register_duplication_b: 1,
            register_duplication_acc: 1,
            contiguous_elements: ContiguousElements::new(contiguous_elements_cuda),
        };
        TargetProperties { mma }
    }

    fn enumerate_devices(_type_id: u16, _info: &()) -> Vec<DeviceId> {
        [Sm61::Runs(0), Sm61::CutsOff, Sm61::Records].iter().map(Device::to_id).collect()
    }
}
