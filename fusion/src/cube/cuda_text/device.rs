//! The card that the text is written for.

use cubecl::{
    device::{Device, DeviceId},
    ir::{
        DeviceProperties, HardwareProperties, MemoryDeviceProperties, VectorSize,
        features::{Features, Plane},
    },
    profile::TimingMethod,
};
use cubecl_cpp::{
    register_supported_types,
    shared::{CompilationOptions, CppSupportedFeatures},
};

/// A card of compute capability 6.1 that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sm61 {
    /// Launches run on the CPU. Cards of different numbers have threads and memory of their own.
    Runs(u16),
    /// Launches run on the CPU, and conversions to bf16 cut off what does not fit instead of rounding it. CUDA's round;
    /// those of a Vulkan driver for an H100 were seen to cut off. A kernel must give the same on both cards.
    CutsOff,
    /// Launches are kept and not run; memory holds nothing of use, and reading it is an error.
    Records,
}

impl Default for Sm61 {
    fn default() -> Self {
        Self::Runs(0)
    }
}

/// Number of the card that records, after those that run.
const RECORDS: u16 = u16::MAX;

/// Number of the card that cuts off, before it.
const CUTS_OFF: u16 = RECORDS - 1;

impl Device for Sm61 {
    fn from_id(id: DeviceId) -> Self {
        match id.index_id {
            RECORDS => Self::Records,
            CUTS_OFF => Self::CutsOff,
            number => Self::Runs(number),
        }
    }

    fn to_id(&self) -> DeviceId {
        let index = match self {
            Self::Runs(number) => *number,
            Self::CutsOff => CUTS_OFF,
            Self::Records => RECORDS,
        };
        DeviceId::new(0, index)
    }
}

impl burn_backend::DeviceOps for Sm61 {}

/// What `cubecl-cuda` finds out from the driver about a card of compute capability 6.1 (CUDA C++ Programming Guide 12,
/// table "Technical Specifications per Compute Capability"; a GTX 1050 has 5 multiprocessors).
pub(super) fn describe() -> DeviceProperties {
    let hardware = HardwareProperties {
        load_width: 128,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 1024,
        max_shared_memory_size: 48 * 1024,
        max_cube_count: (i32::MAX as u32, 65535, 65535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(5),
        num_tensor_cores: None,
        min_tensor_cores_dim: None,
        num_cpu_cores: None,
        max_vector_size: VectorSize::MAX,
    };
    // A page holds the largest tensor of a recorded model; the system gives memory for what is touched only.
    let memory = MemoryDeviceProperties { max_page_size: 1 << 31, alignment: 512 };
    let mut properties = DeviceProperties::new(Features::default(), memory, hardware, TimingMethod::System);
    register_supported_types(&mut properties);
    properties.features.memory_reinterpret = true;
    properties.features.alignment = true;
    properties.features.plane.insert(Plane::Ops);
    properties.features.plane.insert(Plane::NonUniformControlFlow);
    properties
}

/// As `cubecl-cuda` sets them below compute capability 7.0.
pub(super) fn choose_options() -> CompilationOptions {
    let supports_features = CppSupportedFeatures { fast_math: true, ..Default::default() };
    CompilationOptions { warp_size: 32, supports_features }
}
