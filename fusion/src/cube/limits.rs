//! What a device allows, read from its CubeCL properties.

use super::Unavailable;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::DType;
use cubecl::{
    client::ComputeClient,
    features::{Plane, TypeUsage},
    ir::AddressType,
    prelude::CubeCount,
};

/// Shared memory that a kernel may use, in bytes: what SM61 gives a block without asking, on every device.
const MAX_SHARED_BYTES: usize = 48 * 1024;

/// The limits of a device that a blueprint is made from. Plain data, so that a blueprint can be tested without a
/// device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// Units in a plane, when plane operations exist and all planes are that long.
    pub fixed_plane: Option<u32>,
    /// Shortest and longest plane, whether or not CubeCL offers plane operations. It does not for a Vulkan driver that
    /// runs on the CPU, though such a driver has them.
    pub plane_sizes: (u32, u32),
    /// Units in a cube.
    pub units: u32,
    /// Bytes of shared memory in a cube.
    pub shared_bytes: usize,
    /// Cubes along x, y and z.
    pub cubes: (u32, u32, u32),
    /// Multiprocessors, where the driver tells.
    pub multiprocessors: Option<u32>,
}

impl Limits {
    /// A card of compute capability 6.1 (CUDA C++ Programming Guide 12, table "Technical Specifications per Compute
    /// Capability") with the 10 multiprocessors of a GTX 1060.
    #[cfg(test)]
    pub(super) fn sm61() -> Self {
        Self {
            fixed_plane: Some(32),
            plane_sizes: (32, 32),
            units: 1024,
            shared_bytes: 48 * 1024,
            cubes: (i32::MAX as u32, 65535, 65535),
            multiprocessors: Some(10),
        }
    }

    /// Reads them from the device behind `client`.
    pub(super) fn read<R: CubeRuntime>(client: &ComputeClient<R>) -> Self {
        let properties = client.properties();
        let hardware = &properties.hardware;
        let plane_sizes = (hardware.plane_size_min, hardware.plane_size_max);
        let planes = properties.features.plane.contains(Plane::Ops) && plane_sizes.0 == plane_sizes.1;
        Self {
            fixed_plane: (planes && plane_sizes.0.is_power_of_two()).then_some(plane_sizes.0),
            plane_sizes,
            units: hardware.max_units_per_cube.min(hardware.max_cube_dim.0),
            shared_bytes: hardware.max_shared_memory_size.min(MAX_SHARED_BYTES),
            cubes: hardware.max_cube_count,
            multiprocessors: hardware.num_streaming_multiprocessors,
        }
    }

    /// At least `cubes` cubes, along as few dimensions as the device allows and with fewer than one spare row or plane
    /// of them: a kernel compares its `CUBE_POS` with the number that it needs.
    pub(super) fn spread(&self, cubes: usize) -> Result<CubeCount, Unavailable> {
        let (x, y, z) = (self.cubes.0 as u128, self.cubes.1 as u128, self.cubes.2 as u128);
        let wanted = cubes as u128;
        if wanted > x * y * z {
            return Err(Unavailable::Cubes { found: cubes, limit: x * y * z });
        }
        let depth = wanted.div_ceil(x * y).max(1);
        let height = wanted.div_ceil(x * depth).max(1);
        let width = wanted.div_ceil(height * depth);
        // Each is at most its limit, a u32: `height <= y` because `depth >= wanted / (x * y)`, `width <= x` likewise.
        Ok(CubeCount::Static(width as u32, height as u32, depth as u32))
    }
}

/// Whether buffers of `dtype` can be read into f32 and written from it.
pub(super) fn check_storage<R: CubeRuntime>(client: &ComputeClient<R>, dtype: DType) -> Result<(), Unavailable> {
    let needed = TypeUsage::Buffer | TypeUsage::Conversion;
    let usage = client.properties().type_usage(dtype.into());
    if usage.is_superset(needed) { Ok(()) } else { Err(Unavailable::Storage(dtype)) }
}

/// The index width that all `tensors` need.
pub(super) fn check_address<R: CubeRuntime>(
    client: &ComputeClient<R>,
    tensors: &[&CubeTensor<R>],
) -> Result<AddressType, Unavailable> {
    let address = tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default();
    if client.features().supports_address(address) { Ok(address) } else { Err(Unavailable::AddressWidth) }
}
