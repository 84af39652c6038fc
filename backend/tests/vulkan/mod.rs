//! The Vulkan device that tests share.

use burn_backend::Backend;
use burn_kiln::gpu::KilnWgpu;
use burn_wgpu::WgpuDevice;
use std::{
    io::Write,
    panic::catch_unwind,
    sync::{Mutex, OnceLock, PoisonError},
};

/// Runs `test` on the device, one at a time, for the counters are the process's. Without a device it is skipped, or
/// fails where `KILN_REQUIRE_GPU=1`.
pub fn with_device(test: impl FnOnce(&WgpuDevice)) {
    static FOUND: OnceLock<bool> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let device = WgpuDevice::DefaultDevice;
    if *FOUND.get_or_init(|| catch_unwind(|| drop(KilnWgpu::name(&WgpuDevice::DefaultDevice))).is_ok()) {
        return test(&device);
    }
    let missing = "no Vulkan adapter: install a driver, such as mesa-vulkan-drivers with libvulkan1";
    assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{missing}");
    // Not `eprintln`, which the test harness would swallow.
    std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
}
