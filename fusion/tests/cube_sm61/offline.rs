//! A CubeCL runtime that stands for an SM61 GPU: each launch is compiled to the CUDA C++ that a real one would get, and kept
//! instead of run. Needs neither CUDA nor a GPU. Memory exists, for launches refer to it, but holds nothing of use.

use cubecl::{
    CubeTask, ExecutionMode, MemoryConfiguration, MemoryUsage, Runtime,
    bytes::Bytes,
    client::ComputeClient,
    device::{Device, DeviceId, DeviceService},
    future::DynFut,
    ir::{
        ContiguousElements, DeviceProperties, HardwareProperties, MatrixLayout, MemoryDeviceProperties, MmaProperties,
        TargetProperties, VectorSize,
        features::{Features, Plane},
    },
    prelude::CubeCount,
    profile::{ProfileDuration, TimingMethod},
    server::{
        Binding, ComputeServer, CopyDescriptor, KernelArguments, ProfileError, ProfilingToken, ServerCommunication,
        ServerError, ServerUtilities,
    },
    stream_id::StreamId,
    zspace::{Shape, Strides},
};
use cubecl_cpp::{
    cuda::{
        CudaDialect,
        mma::{CudaWmmaCompiler, contiguous_elements_cuda},
    },
    register_supported_types,
    shared::{CompilationOptions, CppCompiler, CppSupportedFeatures},
};
use cubecl_runtime::{
    allocator::ContiguousMemoryLayoutPolicy,
    logging::ServerLogger,
    memory_management::{ManagedMemoryHandle, MemoryAllocationMode, MemoryManagement, MemoryManagementOptions},
    storage::{BytesResource, BytesStorage, ManagedResource},
    timestamp_profiler::TimestampProfiler,
    validation::{validate_cube_dim, validate_units},
};
use std::sync::{Arc, Mutex};

type CudaCompiler = CppCompiler<CudaDialect<CudaWmmaCompiler>>;

/// A kernel as the GPU would get it.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// CUDA C++.
    pub source: String,
    /// Bytes of shared memory that the launch asks for.
    pub shared_bytes: usize,
    /// Units in a cube.
    pub units: u32,
    /// Cubes.
    pub cubes: (u32, u32, u32),
}

static LAUNCHED: Mutex<Vec<Kernel>> = Mutex::new(Vec::new());

/// What was launched since the last call, in order. A launch that broke a limit is missing.
pub fn take_launched() -> Vec<Kernel> {
    std::mem::take(&mut LAUNCHED.lock().unwrap())
}

/// The one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Sm61;

impl Device for Sm61 {
    fn from_id(_id: DeviceId) -> Self {
        Self
    }
    fn to_id(&self) -> DeviceId {
        DeviceId::new(0, 0)
    }
}

impl burn_backend::DeviceOps for Sm61 {}

/// What `cubecl-cuda` finds out from the driver about a card of compute capability 6.1 (CUDA C++ Programming Guide 12,
/// table "Technical Specifications per Compute Capability"; a GTX 1050 has 5 multiprocessors).
fn describe_device() -> DeviceProperties {
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
    let memory = MemoryDeviceProperties { max_page_size: 1 << 29, alignment: 512 };
    let mut properties = DeviceProperties::new(Features::default(), memory, hardware, TimingMethod::System);
    register_supported_types(&mut properties);
    properties.features.memory_reinterpret = true;
    properties.features.alignment = true;
    properties.features.plane.insert(Plane::Ops);
    properties.features.plane.insert(Plane::NonUniformControlFlow);
    properties
}

/// As `cubecl-cuda` sets them below compute capability 7.0.
fn choose_options() -> CompilationOptions {
    let supports_features = CppSupportedFeatures { fast_math: true, ..Default::default() };
    CompilationOptions { warp_size: 32, supports_features }
}

/// The other end of the client.
#[derive(Debug)]
pub struct OfflineServer {
    memory: MemoryManagement<BytesStorage>,
    profiler: TimestampProfiler,
    utilities: Arc<ServerUtilities<Self>>,
    properties: DeviceProperties,
}

impl DeviceService for OfflineServer {
    fn init(_id: DeviceId) -> Self {
        let properties = describe_device();
        let logger = Arc::new(ServerLogger::default());
        let memory = MemoryManagement::from_configuration(
            BytesStorage::default(),
            &properties.memory,
            MemoryConfiguration::default(),
            logger.clone(),
            MemoryManagementOptions::new("offline"),
        );
        let policy = ContiguousMemoryLayoutPolicy::new(properties.memory.alignment as usize);
        let utilities = Arc::new(ServerUtilities::new(properties.clone(), logger, (), policy));
        Self { memory, profiler: TimestampProfiler::default(), utilities, properties }
    }

    fn utilities(&self) -> Arc<dyn std::any::Any + Send + Sync> {
        self.utilities.clone()
    }
}

impl ServerCommunication for OfflineServer {
    const SERVER_COMM_ENABLED: bool = false;
}

impl ComputeServer for OfflineServer {
    type Kernel = Box<dyn CubeTask<CudaCompiler>>;
    type Info = ();
    type MemoryLayoutPolicy = ContiguousMemoryLayoutPolicy;
    type Storage = BytesStorage;

    unsafe fn launch(
        &mut self,
        kernel: Self::Kernel,
        count: CubeCount,
        _arguments: KernelArguments,
        mode: ExecutionMode,
        _stream: StreamId,
    ) {
        let id = kernel.id();
        validate_cube_dim(&self.properties, &id).unwrap();
        validate_units(&self.properties, &id).unwrap();
        let address = kernel.address_type();
        let compiled = kernel.compile(&mut CudaCompiler::default(), &choose_options(), mode, address).unwrap();
        let CubeCount::Static(x, y, z) = count else { panic!("the number of cubes must be known at launch") };
        LAUNCHED.lock().unwrap().push(Kernel {
            shared_bytes: compiled.repr.as_ref().map_or(0, |repr| repr.shared_memory_size()),
            source: compiled.source,
            units: compiled.cube_dim.num_elems(),
            cubes: (x, y, z),
        });
    }

    fn initialize_memory(&mut self, memory: ManagedMemoryHandle, size: u64, _stream: StreamId) {
        let reserved = self.memory.reserve(size).unwrap();
        self.memory.bind(reserved, memory, 0).unwrap();
    }

    fn read(&mut self, _from: Vec<CopyDescriptor>, _stream: StreamId) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        panic!("nothing has run, so there is nothing to read")
    }

    fn write(&mut self, _to: Vec<(CopyDescriptor, Bytes)>, _stream: StreamId) {}

    fn get_resource(
        &mut self,
        binding: Binding,
        _stream: StreamId,
    ) -> Result<ManagedResource<BytesResource>, ServerError> {
        let resource = self.memory.get_resource(binding.memory.clone(), binding.offset_start, binding.offset_end)?;
        Ok(ManagedResource::new(binding.memory, resource))
    }

    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }

    fn utilities(&self) -> Arc<ServerUtilities<Self>> {
        self.utilities.clone()
    }

    fn sync(&mut self, _stream: StreamId) -> DynFut<Result<(), ServerError>> {
        Box::pin(async { Ok(()) })
    }

    fn flush(&mut self, _stream: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn memory_usage(&mut self, _stream: StreamId) -> Result<MemoryUsage, ServerError> {
        Ok(self.memory.memory_usage())
    }

    fn memory_cleanup(&mut self, _stream: StreamId) {
        self.memory.cleanup(true)
    }

    fn start_profile(&mut self, _stream: StreamId) -> Result<ProfilingToken, ServerError> {
        Ok(self.profiler.start())
    }

    fn end_profile(&mut self, _stream: StreamId, token: ProfilingToken) -> Result<ProfileDuration, ProfileError> {
        self.profiler.stop(token)
    }

    fn allocation_mode(&mut self, mode: MemoryAllocationMode, _stream: StreamId) {
        self.memory.mode(mode)
    }
}

/// The runtime.
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
        (i32::MAX as u32, 65535, 65535)
    }
    fn can_read_tensor(_shape: &Shape, _strides: &Strides) -> bool {
        true
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
        vec![DeviceId::new(0, 0)]
    }
}
