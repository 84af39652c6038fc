//! Kiln on NVIDIA cards, from compute capability 6.1 (Pascal) up.
//!
//! The CUDA driver and NVRTC are loaded when the first client is made: building needs neither. Which version of their
//! interface is called is fixed at build time, and CUDA 13 has no Pascal, so build with
//!
//! ```text
//! CUDARC_CUDA_VERSION=12080 cargo build --features cuda
//! ```
//!
//! and have NVRTC 12 (`libnvrtc.so.12`) on the loader's path and `CUDA_PATH` at a folder with the CUDA headers; the
//! PyPI wheels `nvidia-cuda-nvrtc-cu12` and `nvidia-cuda-runtime-cu12` hold both.

use crate::Kiln;
use burn_cubecl::{CubeBackend, cubecl::cuda::CudaRuntime};

/// Kiln on CUDA. Booleans are bytes.
pub type KilnCuda = Kiln<CubeBackend<CudaRuntime, f32, i32, u8>>;
