//! A device, and what it says of itself.

use super::case::Dtype;
use super::engine::Wait;
use crate::measure::Failure;
use burn::tensor::backend::Backend;
use burn_backend::DeviceOps;
use burn_cubecl::{
    CubeBackend, CubeRuntime,
    cubecl::{client::ComputeClient, features::TypeUsage, server::ComputeServer},
    element::BoolElement,
};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Plain Burn on a runtime whose booleans are `BT`.
pub type Plain<R, BT> = CubeBackend<R, f32, i32, BT>;

/// The first device of a runtime.
pub struct Card<R: CubeRuntime, BT> {
    /// The device.
    pub device: R::Device,
    /// Its queue.
    pub client: ComputeClient<R>,
    /// Waits for it.
    pub wait: Wait,
    booleans: PhantomData<BT>,
}

impl<R, BT> Card<R, BT>
where
    R: CubeRuntime,
    R::Server: ComputeServer,
    R::Device: DeviceOps + Default,
    BT: BoolElement,
{
    /// Opens it. `missing` is what a machine without one lacks.
    ///
    /// # Errors
    /// [`Failure::Unsupported`] with `missing` where there is none. CubeCL panics then, on a thread of its own: what
    /// the driver says is in that panic's message, on stderr.
    pub fn open(missing: &str) -> Result<Self, Failure> {
        let device = R::Device::default();
        let opened = catch_unwind(AssertUnwindSafe(|| R::client(&device)));
        let client = opened.map_err(|_| Failure::Unsupported(missing.to_owned()))?;
        let waited = device.clone();
        let wait: Wait =
            Rc::new(move || Plain::<R, BT>::sync(&waited).map_err(|error| Failure::Device(error.to_string())));
        Ok(Self { device, client, wait, booleans: PhantomData })
    }

    /// Whether the device stores `dtype` and converts it.
    pub fn stores(&self, dtype: Dtype) -> bool {
        let needed = TypeUsage::Buffer | TypeUsage::Conversion;
        self.client.properties().type_usage(dtype.burn().into()).is_superset(needed)
    }

    /// Driver, multiprocessors, planes, shared memory: a line each.
    pub fn describe(&self) -> Vec<String> {
        let hardware = &self.client.properties().hardware;
        let multiprocessors = hardware.num_streaming_multiprocessors;
        vec![
            format!("cards: {}", burn_kiln::gpu::tune::list_drivers()),
            format!(
                "{}: {}planes of {}, {} KiB of shared memory a cube",
                R::name(&self.client),
                multiprocessors.map(|count| format!("{count} multiprocessors, ")).unwrap_or_default(),
                hardware.plane_size_max,
                hardware.max_shared_memory_size >> 10
            ),
        ]
    }
}
