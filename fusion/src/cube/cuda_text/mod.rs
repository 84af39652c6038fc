//! The CUDA C++ that CubeCL writes for an SM61 GPU (Pascal), run on the CPU: a CubeCL runtime for tests, without CUDA
//! or a GPU.
//!
//! ```text
//! launch -> CubeCL's CUDA compiler, told that the card is of compute capability 6.1 -> text        (text.rs)
//!        -> g++, with host/ in place of CUDA's headers, once for each text -> a program            (program.rs)
//!        -> the program with the launch's buffers, a process of its own -> the buffers, or an error (process.rs)
//! ```
//!
//! In the program each unit (CUDA thread) is a fiber, 32 of them a warp. It reports, as an error of the launch:
//! - units of a warp that don't meet at one warp collective, and barriers that some units don't reach
//!   (`host/schedule.h`);
//! - a result that depends on the order of units or cubes: a missing barrier or a race. Each launch runs three times,
//!   with units and cubes forward, backward and shuffled (`host/schedule.h`), so kernels with atomic sums of floats may
//!   fail here;
//! - accesses outside of the launch's buffers and shared memory, to the byte, and misaligned vectors
//!   (AddressSanitizer);
//! - kernels that don't end.
//!
//! Shared memory holds NaN before a cube starts, and so do lanes that a warp lacks. Not modelled: the order of memory
//! accesses between barriers within a unit's stretch, the precision of approximate functions (`__expf` is exact here),
//! time.
//!
//! Errors are kept until the stream is flushed, read or synchronised, as on a GPU; none is lost. [`Sm61::Records`]
//! keeps the launches and runs none, for looking at the text or counting launches of models that are too large to run.

mod device;
mod error;
mod launches;
mod process;
mod program;
mod regions;
mod resources;
mod runtime;
mod server;
mod shared;
mod text;

pub use device::Sm61;
pub use error::HostError;
pub use launches::{Launch, take_launches};
pub use program::check_host;
pub use resources::{Bound, ResourceError, Resources, find_resources};
pub use runtime::OfflineCuda;
