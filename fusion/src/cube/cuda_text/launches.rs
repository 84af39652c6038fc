//! What was launched, for tests that look at it.

use super::text::Text;
use cubecl::stream_id::StreamId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A launch as the GPU would get it.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Name of the kernel, with the types that CubeCL adds to it.
    pub kernel: String,
    /// CUDA C++.
    pub source: Arc<str>,
    /// Bytes of shared memory that the launch asks for.
    pub shared_bytes: usize,
    /// Units in a cube.
    pub units: u32,
    /// Cubes along x, y and z.
    pub cubes: (u32, u32, u32),
    /// Bytes of each buffer, in the order of the kernel's arguments.
    pub buffers: Vec<u64>,
}

static LAUNCHES: Mutex<BTreeMap<u64, Vec<Launch>>> = Mutex::new(BTreeMap::new());

/// What the current thread (stream) has launched since the last call, in order, on either device. A launch that broke a
/// limit is missing. Launches are enqueued: flush the client first.
pub fn take_launches() -> Vec<Launch> {
    let stream = StreamId::current().value;
    LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner).remove(&stream).unwrap_or_default()
}

pub(super) fn keep(stream: StreamId, text: &Text, cubes: (u32, u32, u32), buffers: Vec<u64>) {
    let launch = Launch {
        kernel: text.kernel.clone(),
        source: text.source.clone(),
        shared_bytes: text.shared_bytes,
        units: text.cube_dim.num_elems(),
        cubes,
        buffers,
    };
    LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner).entry(stream.value).or_default().push(launch);
}
