//! Tiled, cache-blocked, SIMD kernels for transformers on the CPU, over plain slices.
//!
//! Nothing here knows of a tensor library: operands are slices with strides, results go to slices that the caller has,
//! and what a kernel may use is a plain [`KernelConfig`]. Elements are f32, bf16 or f16 ([`Floats`]); arithmetic is
//! f32, rounded once when a result is stored.
//!
//! ```
//! use kiln_kernels::gemm::{Epilogue, Matrix, OutMatrix, PackedMatrix, Plan, gemm_packed};
//! use kiln_kernels::norm::{Normed, RmsNorm, NormRows, rms_norm};
//! use kiln_kernels::{Floats, FloatsMut, KernelConfig, Launch};
//!
//! let config = KernelConfig::default();
//! let launch = Launch::from(&config);
//! // A weight [outputs, inputs] is packed once, into the panels that products read.
//! let weight = [1.0f32, 0.0, 0.0, 1.0, 1.0, 1.0];
//! let weight = PackedMatrix::pack(launch, Floats::F32(&weight), [3, 2])?;
//! // Two rows, normalised, then multiplied.
//! let (x, gamma) = ([3.0f32, 4.0, 6.0, 8.0], [1.0f32, 1.0]);
//! let (mut normed, mut y) = ([0.0f32; 4], [0.0f32; 6]);
//! let norm = RmsNorm { gamma: Floats::F32(&gamma), epsilon: 0.0 };
//! rms_norm(launch, norm, NormRows::contiguous(Floats::F32(&x), 2), Normed::only(FloatsMut::F32(&mut normed)));
//! let a = Matrix::row_major(Floats::F32(&normed), 2, 2)?;
//! let mut c = OutMatrix::row_major(FloatsMut::F32(&mut y), 2, 3)?;
//! gemm_packed(&Plan::from(&config), &a, &weight, &mut c, &Epilogue::default())?;
//! let rms = 12.5f32.sqrt();
//! assert!(y.iter().zip([3.0, 4.0, 7.0, 3.0, 4.0, 7.0]).all(|(y, want)| (y - want / rms).abs() < 1e-6));
//! # Ok::<(), kiln_kernels::gemm::GemmError>(())
//! ```
//!
//! `examples/transformer_block.rs` runs a whole block so, and checks it against naive loops.
//!
//! # Modules
//!
//! | module | what it computes |
//! | --- | --- |
//! | [`gemm`] | `activation(A·B + bias) + residual`, weights packed or of any strides; gated and grouped products |
//! | [`attention`] | `softmax(q·kᵀ)·v` in memory of O(length): grouped heads, causal order, masks, segments; gradients |
//! | [`norm`] | layer norm, RMS norm, residual addition with RMS norm; their gradients |
//! | [`softmax`] | softmax and its logarithm over any dimension |
//! | [`elementwise`], [`math`] | arithmetic with broadcast, activations; the functions behind them, with their errors |
//! | [`backward`] | derivatives of activations, sums over rows, the loss of a head with its gradients |
//! | [`rope`] | rotary embedding with the norm of each head, their gradients; heads of a projection into a cache |
//! | [`moe`] | a mixture of gated MLPs |
//! | [`embedding`] | rows of a table by id; gradients added up by id |
//! | [`optim`] | AdamW in one pass; sums of squares for clipping |
//! | [`planning`] | which algorithm, blocks and threads a product takes, kept and measured |
//! | [`memory`] | a pool of buffers |
//! | [`prefetch`] | weights larger than memory, read from their files ahead of their use |
//! | [`simd`] | registers of several instruction sets behind one trait |
//! | [`config`], [`probe`] | what kernels may use; counters of what they did |
//!
//! # Instruction sets
//!
//! Each kernel is one algorithm for all of them ([`simd`]), compiled for each and chosen at run time:
//! [`simd::Tier::best`] is what this CPU has, `KILN_ISA=portable|avx2|avx512|avx512bf16|amx` or
//! [`config::SimdConfig::isa`] restrict that. No compiler flags are needed.
//!
//! # Threads
//!
//! A kernel splits its work over the caller's current rayon pool, and enters the instruction set once a part.
//! [`Launch::threads`] limits the parts, work too small for a second thread stays in the calling one, and one thread
//! never enters the pool. Of rayon's global pool, which has a thread for each logical CPU, a kernel takes one for each
//! physical core ([`Cores`]), those that wait for memory too: hyperthreads of a core share its line buffers.
//! [`config::ThreadsConfig::max`] says otherwise, and in a pool of the caller's own all threads count.
//!
//! # Configuration
//!
//! [`KernelConfig`] has a section a technique. It says what may be used and how large it may be, never what a result
//! means: any configuration gives the same numbers to rounding. A [`Launch`] made of it carries tier, threads, the
//! distance of software prefetch and the block of row-wise kernels; a [`gemm::Plan`] adds what products need. Both are
//! plain values that a caller may also fill by hand. Switches that choose between a kernel and another implementation
//! (`tiling.enabled`, `fusion`) are for the crate that has the choice.

pub mod attention;
pub mod backward;
mod caches;
pub mod config;
mod cores;
mod element_type;
pub mod elementwise;
pub mod embedding;
mod floats;
pub mod gemm;
mod impossible;
mod launch;
pub mod math;
pub mod memory;
pub mod moe;
pub mod norm;
pub mod optim;
pub mod planning;
pub mod prefetch;
pub mod probe;
pub mod rope;
mod rows;
mod scratch;
pub mod simd;
pub mod softmax;
mod storage;

pub use caches::Caches;
pub use config::KernelConfig;
pub use cores::Cores;
pub use element_type::ElementType;
pub use floats::{Floats, FloatsMut};
pub use launch::Launch;
pub use math::Activation;
pub use storage::Storage;
