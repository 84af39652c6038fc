//! The other end of the client: memory, launches and the errors that wait for a flush.

use super::{
    HostError, Sm61,
    device::describe,
    launches,
    process::{Request, Workers},
    program::Program,
    regions::{Argument, Region, find_region, gather},
    text::{CudaCompiler, Text},
};
use cubecl::{
    CubeTask, ExecutionMode, MemoryConfiguration, MemoryUsage,
    backtrace::BackTrace,
    bytes::Bytes,
    device::{Device, DeviceId, DeviceService},
    future::DynFut,
    prelude::{CubeCount, KernelId},
    profile::ProfileDuration,
    server::{
        Binding, ComputeServer, CopyDescriptor, IoError, KernelArguments, ProfileError, ProfilingToken,
        ServerCommunication, ServerError, ServerUtilities,
    },
    stream_id::StreamId,
    zspace::{Shape, Strides},
};
use cubecl_runtime::{
    allocator::PitchedMemoryLayoutPolicy,
    logging::ServerLogger,
    memory_management::{ManagedMemoryHandle, MemoryAllocationMode, MemoryManagement, MemoryManagementOptions},
    storage::{BytesResource, BytesStorage, ManagedResource},
    timestamp_profiler::TimestampProfiler,
};
use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A server of launches that run, or are kept, before the call returns.
#[derive(Debug)]
pub struct OfflineServer {
    device: Sm61,
    memory: MemoryManagement<BytesStorage>,
    profiler: TimestampProfiler,
    utilities: Arc<ServerUtilities<Self>>,
    texts: HashMap<KernelId, Text>,
    workers: Workers,
    errors: BTreeMap<u64, Vec<ServerError>>,
}

impl DeviceService for OfflineServer {
    fn init(id: DeviceId) -> Self {
        let properties = describe();
        let logger = Arc::new(ServerLogger::default());
        let memory = MemoryManagement::from_configuration(
            BytesStorage::default(),
            &properties.memory,
            MemoryConfiguration::default(),
            logger.clone(),
            MemoryManagementOptions::new("offline"),
        );
        let policy = PitchedMemoryLayoutPolicy::new(properties.memory.alignment as usize);
        Self {
            device: Sm61::from_id(id),
            memory,
            profiler: TimestampProfiler::default(),
            utilities: Arc::new(ServerUtilities::new(properties, logger, (), policy)),
            texts: HashMap::new(),
            workers: Workers::default(),
            errors: BTreeMap::new(),
        }
    }

    fn utilities(&self) -> Arc<dyn Any + Send + Sync> {
        self.utilities.clone()
    }
}

impl ServerCommunication for OfflineServer {
    const SERVER_COMM_ENABLED: bool = false;
}

impl OfflineServer {
    fn write_text(&mut self, kernel: &dyn CubeTask<CudaCompiler>, mode: ExecutionMode) -> Result<Text, HostError> {
        let mut id = kernel.id();
        id.mode(mode);
        if let Some(text) = self.texts.get(&id) {
            return Ok(text.clone());
        }
        let mut text = Text::write(kernel, mode)?;
        if self.device == Sm61::CutsOff {
            text.cut_off_bf16();
        }
        self.texts.insert(id, text.clone());
        Ok(text)
    }

    fn count_cubes(&mut self, count: CubeCount) -> Result<(u32, u32, u32), ServerError> {
        match count {
            CubeCount::Static(x, y, z) => Ok((x, y, z)),
            CubeCount::Dynamic(_) if self.device == Sm61::Records => Err(HostError::NothingRan.into()),
            CubeCount::Dynamic(binding) => {
                let bytes = find_region(&mut self.memory, &binding)?.find(&mut self.memory).read();
                let word = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
                Ok((word(0), word(4), word(8)))
            }
        }
    }

    fn try_launch(
        &mut self,
        kernel: &dyn CubeTask<CudaCompiler>,
        count: CubeCount,
        arguments: KernelArguments,
        mode: ExecutionMode,
        stream: StreamId,
    ) -> Result<(), ServerError> {
        let text = self.write_text(kernel, mode)?;
        let cubes = self.count_cubes(count)?;
        text.check_cubes(cubes)?;
        launches::keep(stream, &text, cubes, arguments.buffers.iter().map(Binding::size_in_used).collect());
        match self.device {
            Sm61::Records => Ok(()),
            Sm61::Runs(_) | Sm61::CutsOff => self.run(&text, cubes, &arguments),
        }
    }

    fn run(&mut self, text: &Text, cubes: (u32, u32, u32), arguments: &KernelArguments) -> Result<(), ServerError> {
        let program = Program::build(text)?;
        let (regions, mut pointers) = gather(&mut self.memory, &arguments.buffers)?;
        let mut resources: Vec<BytesResource> = regions.iter().map(|region| region.find(&mut self.memory)).collect();
        let info: Vec<u8> = arguments.info.data.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut contents: Vec<(u64, &[u8])> =
            regions.iter().map(Region::offset).zip(resources.iter().map(BytesResource::read)).collect();
        // Below compute capability 7.0 scalars and shapes come through a buffer of their own, the last argument.
        if !info.is_empty() {
            pointers.push(Argument { region: contents.len(), offset: 0 });
            contents.push((0, &info));
        }
        let request = Request { cubes, regions: &contents, arguments: &pointers };
        let written = self.workers.run(text, &program, &request)?;
        let mut rest = &written[..];
        for resource in &mut resources {
            let memory = resource.write();
            let (region, behind) = rest.split_at(memory.len());
            memory.copy_from_slice(region);
            rest = behind;
        }
        Ok(())
    }

    fn take_errors(&mut self, stream: StreamId) -> Result<(), ServerError> {
        match self.errors.remove(&stream.value) {
            None => Ok(()),
            Some(errors) => Err(ServerError::ServerUnhealthy { errors, backtrace: BackTrace::capture() }),
        }
    }

    fn try_read(&mut self, from: &CopyDescriptor) -> Result<Bytes, ServerError> {
        let memory = find_region(&mut self.memory, &from.handle)?.find(&mut self.memory).read();
        let mut bytes = Vec::with_capacity(from.shape.num_elements() * from.elem_size);
        for (start, width) in list_rows(from)? {
            bytes.extend_from_slice(&memory[start..start + width]);
        }
        Ok(Bytes::from_bytes_vec(bytes))
    }

    fn try_write(&mut self, to: &CopyDescriptor, bytes: &[u8]) -> Result<(), ServerError> {
        if self.device == Sm61::Records {
            return Ok(());
        }
        let mut resource = find_region(&mut self.memory, &to.handle)?.find(&mut self.memory);
        let memory = resource.write();
        for (i, (start, width)) in list_rows(to)?.enumerate() {
            memory[start..start + width].copy_from_slice(&bytes[i * width..(i + 1) * width]);
        }
        Ok(())
    }
}

/// Elements between the starts of neighbouring rows, when all else is contiguous.
pub(super) fn find_pitch(shape: &Shape, strides: &Strides) -> Option<usize> {
    let (rank, width) = (shape.len(), shape.last().copied().unwrap_or(1));
    if rank > 0 && strides[rank - 1] != 1 && width > 1 {
        return None;
    }
    let mut expected = if rank > 1 { strides[rank - 2] } else { width };
    let pitch = expected;
    for i in (0..rank.saturating_sub(1)).rev() {
        if shape[i] > 1 && strides[i] != expected {
            return None;
        }
        expected *= shape[i];
    }
    (pitch >= width).then_some(pitch)
}

/// First byte and number of bytes of each row.
fn list_rows(copy: &CopyDescriptor) -> Result<impl Iterator<Item = (usize, usize)>, IoError> {
    let pitch = find_pitch(&copy.shape, &copy.strides)
        .ok_or_else(|| IoError::UnsupportedStrides { backtrace: BackTrace::capture() })?;
    let width = copy.shape.last().copied().unwrap_or(1) * copy.elem_size;
    let rows = (copy.shape.num_elements() * copy.elem_size).checked_div(width).unwrap_or(0);
    let pitch = pitch * copy.elem_size;
    Ok((0..rows).map(move |row| (row * pitch, width)))
}

impl ComputeServer for OfflineServer {
    type Kernel = Box<dyn CubeTask<CudaCompiler>>;
    type Info = ();
    type MemoryLayoutPolicy = PitchedMemoryLayoutPolicy;
    type Storage = BytesStorage;

    unsafe fn launch(
        &mut self,
        kernel: Self::Kernel,
        count: CubeCount,
        arguments: KernelArguments,
        mode: ExecutionMode,
        stream: StreamId,
    ) {
        if let Err(error) = self.try_launch(&*kernel, count, arguments, mode, stream) {
            self.errors.entry(stream.value).or_default().push(error);
        }
    }

    fn initialize_memory(&mut self, memory: ManagedMemoryHandle, size: u64, stream: StreamId) {
        let reserved = self.memory.reserve(size).and_then(|reserved| self.memory.bind(reserved, memory, 0));
        if let Err(error) = reserved {
            self.errors.entry(stream.value).or_default().push(error.into());
        }
    }

    fn read(&mut self, from: Vec<CopyDescriptor>, stream: StreamId) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let read = match (self.take_errors(stream), self.device) {
            (Err(errors), _) => Err(errors),
            (Ok(()), Sm61::Records) => Err(HostError::NothingRan.into()),
            (Ok(()), Sm61::Runs(_) | Sm61::CutsOff) => from.iter().map(|copy| self.try_read(copy)).collect(),
        };
        Box::pin(async { read })
    }

    fn write(&mut self, to: Vec<(CopyDescriptor, Bytes)>, stream: StreamId) {
        for (copy, bytes) in to {
            if let Err(error) = self.try_write(&copy, &bytes) {
                self.errors.entry(stream.value).or_default().push(error);
            }
        }
    }

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

    fn sync(&mut self, stream: StreamId) -> DynFut<Result<(), ServerError>> {
        let errors = self.take_errors(stream);
        Box::pin(async { errors })
    }

    fn flush(&mut self, stream: StreamId) -> Result<(), ServerError> {
        self.take_errors(stream)
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
