//! CubeCL kernels, compiled just in time for the device at hand: NVIDIA from SM61 (Pascal) up, and Vulkan.
//!
//! A kernel goes through five words, and a reader finds each in the file of that name:
//!
//! ```text
//! Problem    what is asked: sizes and storage types            knows no device
//! Strategy   how the caller wants it done, `Auto` by default   knows no device
//! Blueprint  what is baked into the kernel (its JIT key)       problem x strategy x device properties
//! kernel     the `#[cube]` function                            knows its blueprint only
//! launch     the one entry: checks, makes the blueprint, runs  returns CubeError before anything runs
//! ```
//!
//! Two rules hold for every kernel here:
//! - **Store small, compute in f32.** CubeCL lists f16 and bf16 as usable on every architecture, but SM61 multiplies
//!   f16 at 1/64 of the f32 rate. Buffers may hold f16 or bf16; a value is converted as it is loaded, and rounded as it
//!   is stored ([`store`]).
//! - **Check before launching.** A launch past a device's limit leaves its outputs untouched and reports nothing until
//!   the client is flushed, so each limit is compared with the device's properties first and becomes a [`CubeError`].

pub mod activation;
pub mod attention;
mod backend;
#[cfg(feature = "gpu-tests")]
pub mod cuda_text;
pub mod embedding;
mod error;
mod heads;
pub mod int8;
mod limits;
mod norm;
mod operands;
pub mod product;
mod reduce;
pub mod rows;
pub mod softmax;
pub mod store;

pub use activation::activate;
pub use attention::{
    AttentionInputs, AttentionOutputs, AttentionPlan, AttentionRules, AttentionStrategy, explain_attention,
    launch_attention,
};
pub use error::{CubeError, Unavailable};
pub use heads::{Angles, HeadInputs, Placement, explain_heads, place_heads};
pub use norm::{
    NormInputs, NormOutputs,
    add_norm::{self, AddNormOutput, add_norm},
    explain_norm, launch_norm,
    layer_norm::{self, layer_norm},
    rms_norm::{self, RmsNormOptions, RmsNormOutput, rms_norm},
};
pub use operands::allocate_like;
pub use reduce::Reduction;
pub use rows::Strategy;
pub use softmax::{SoftmaxForm, softmax};
