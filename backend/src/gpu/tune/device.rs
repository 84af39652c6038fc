//! The device whose choices are kept.

use burn_cubecl::{CubeRuntime, cubecl::device::Device as _};
use kiln_kernels::planning::store;
use std::{
    any::TypeId,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

/// A device of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    runtime: TypeId,
    kind: u16,
    index: u16,
}

impl Place {
    pub(super) fn of<R: CubeRuntime>(device: &R::Device) -> Self {
        let id = device.to_id();
        Self { runtime: TypeId::of::<R>(), kind: id.type_id, index: id.index_id }
    }
}

/// Version, runtime, device, what the hardware has, and the drivers of this machine: what choices depend on. CubeCL
/// does not tell the name of a device: those of all adapters stand for it.
pub(super) fn describe<R: CubeRuntime>(device: &R::Device) -> String {
    static FOUND: LazyLock<Mutex<HashMap<Place, String>>> = LazyLock::new(Mutex::default);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let describe = || {
        let client = R::client(device);
        let properties = client.properties();
        format!(
            "burn-kiln {} on {} {device:?}, {:?}, pages of {} bytes, {}",
            env!("CARGO_PKG_VERSION"),
            R::name(&client),
            properties.hardware,
            properties.memory.max_page_size,
            list_drivers()
        )
    };
    found.entry(Place::of::<R>(device)).or_insert_with(describe).clone()
}

/// Names of this machine's adapters and cards and versions of their drivers, as far as the system tells; empty where it
/// tells nothing.
pub fn list_drivers() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut found = list_adapters();
        if let Ok(version) = std::fs::read_to_string("/proc/driver/nvidia/version") {
            found.extend(version.lines().next().map(str::to_owned));
        }
        for card in std::fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(card.path().join("information")).unwrap_or_default();
            found.extend(text.lines().find(|line| line.starts_with("Model")).map(str::to_owned));
        }
        found.sort();
        found.join("; ")
    })
}

/// What Vulkan, Metal or DX12 know of.
#[cfg(feature = "wgpu")]
fn list_adapters() -> Vec<String> {
    let backends = wgpu::Backends::PRIMARY;
    let descriptor = wgpu::InstanceDescriptor { backends, ..wgpu::InstanceDescriptor::new_without_display_handle() };
    let adapters = wgpu::Instance::new(descriptor).enumerate_adapters(backends);
    let describe = |adapter: wgpu::Adapter| {
        let info = adapter.get_info();
        format!("{} by {} {}", info.name, info.driver, info.driver_info)
    };
    burn_cubecl::cubecl::future::block_on(adapters).into_iter().map(describe).collect()
}

#[cfg(not(feature = "wgpu"))]
fn list_adapters() -> Vec<String> {
    Vec::new()
}

/// The file of this device, its driver and this version in `folder`, else in the user's cache folder; `None` where
/// there is none.
pub fn choice_file<R: CubeRuntime>(device: &R::Device, folder: Option<&Path>) -> Option<PathBuf> {
    store::find_file(folder, "gpu", &describe::<R>(device))
}
