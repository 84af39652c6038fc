//! A list of launches on a card that runs none.

use burn_cubecl::tensor::CubeTensor;
use burn_kiln_fusion::cube::cuda_text::{Launch, OfflineCuda, Sm61, take_launches};
use burn_std::{DType, Shape};
use cubecl::Runtime;

/// What a kernel is bound by, and so what is demanded of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Memory: half of the units of a multiprocessor must be at work.
    Streaming,
    /// Its tiles in registers and shared memory: the table says how many units that leaves.
    Tiled,
}

/// A launch with a name of its own.
pub struct Case {
    pub name: String,
    pub kind: Kind,
    pub launch: Launch,
}

/// The cases so far: no two have the same text.
#[derive(Default)]
pub struct Cases(pub Vec<Case>);

impl Cases {
    /// Adds what `call` launches, one case a kernel. Name it by its operands: `rms_norm f32 [8, 2048]`. A launch whose
    /// text is there already adds nothing, so a loop over shapes keeps one case a blueprint.
    pub fn add(&mut self, name: impl Into<String>, kind: Kind, call: impl FnOnce()) {
        let name = name.into();
        drop(take_launches());
        call();
        OfflineCuda::client(&Sm61::Records).flush().unwrap_or_else(|error| panic!("{name}: {error}"));
        let launches = take_launches();
        assert!(!launches.is_empty(), "{name} launches nothing");
        let several = launches.len() > 1;
        for (i, launch) in launches.into_iter().enumerate() {
            let name = if several { format!("{name}, launch {}", i + 1) } else { name.clone() };
            assert!(self.0.iter().all(|case| case.name != name), "two cases are called {name}");
            if self.0.iter().all(|case| case.launch.source != launch.source) {
                self.0.push(Case { name, kind, launch });
            }
        }
    }
}

/// A tensor of the recording device.
pub fn allocate(dims: &[usize], dtype: DType) -> CubeTensor<OfflineCuda> {
    let client = OfflineCuda::client(&Sm61::Records);
    let shape = Shape::from(dims.to_vec());
    let handle = client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(client, Sm61::Records, shape, handle, dtype)
}

/// `f32`, `f16` or `bf16`, for names of cases.
pub fn name(dtype: DType) -> String {
    format!("{dtype:?}").to_lowercase()
}
