//! The memory that a launch may touch.

use cubecl::server::{Binding, IoError};
use cubecl_runtime::{
    memory_management::MemoryManagement,
    storage::{BytesResource, BytesStorage, ComputeStorage, StorageHandle, StorageUtilization},
};

/// A stretch of device memory that buffers of one launch cover. Buffers that overlap share one, so that what is written
/// through one is read through the other.
#[derive(Debug)]
pub(super) struct Region {
    handle: StorageHandle,
}

impl Region {
    fn start(&self) -> u64 {
        self.handle.utilization.offset
    }

    fn end(&self) -> u64 {
        self.start() + self.handle.utilization.size
    }

    /// Where it starts in its page of memory, in bytes.
    pub fn offset(&self) -> u64 {
        self.start()
    }

    /// Its bytes in the device's memory.
    pub fn find(&self, memory: &mut MemoryManagement<BytesStorage>) -> BytesResource {
        memory.storage().get(&self.handle)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.handle.id == other.handle.id && self.start() < other.end() && other.start() < self.end()
    }

    fn absorb(&mut self, other: &Self) {
        let (start, end) = (self.start().min(other.start()), self.end().max(other.end()));
        self.handle.utilization = StorageUtilization { offset: start, size: end - start };
    }
}

/// A pointer that a kernel gets: `offset` bytes into a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Argument {
    pub region: usize,
    pub offset: u64,
}

/// The regions of a launch, and where in them its buffers start.
pub(super) fn gather(
    memory: &mut MemoryManagement<BytesStorage>,
    buffers: &[Binding],
) -> Result<(Vec<Region>, Vec<Argument>), IoError> {
    let wholes = buffers.iter().map(|binding| find_region(memory, binding)).collect::<Result<Vec<_>, _>>()?;
    let mut regions: Vec<Region> = Vec::new();
    for whole in &wholes {
        let mut union = Region { handle: whole.handle.clone() };
        // An empty buffer overlaps nothing and gets a region of its own.
        regions.retain(|region| {
            let overlaps = region.overlaps(&union);
            if overlaps {
                union.absorb(region);
            }
            !overlaps
        });
        regions.push(union);
    }
    let locate = |buffer: &Region| {
        let holds = |region: &Region| {
            region.handle.id == buffer.handle.id && region.start() <= buffer.start() && buffer.end() <= region.end()
        };
        let region = regions.iter().position(holds).unwrap_or_default();
        Argument { region, offset: buffer.start() - regions[region].start() }
    };
    let arguments = wholes.iter().map(locate).collect();
    Ok((regions, arguments))
}

/// The bytes of one buffer, without what its memory is padded with.
pub(super) fn find_region(memory: &mut MemoryManagement<BytesStorage>, binding: &Binding) -> Result<Region, IoError> {
    let slice = memory.get_storage(binding.memory.clone())?;
    let offset = slice.utilization.offset + binding.offset_start.unwrap_or(0);
    let utilization = StorageUtilization { offset, size: binding.size_in_used() };
    Ok(Region { handle: StorageHandle::new(slice.id, utilization) })
}
