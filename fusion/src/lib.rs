//! The fused-operation vocabulary of Kiln.
//!
//! A model calls [`FusedOps`], its training [`TrainingOps`] as well; what runs depends on the backend:
//!
//! - on `Flex`, `NdArray`, `CubeBackend` and `Fusion<B>` (all but the first by features of those names): the default
//!   compositions of [`compose`], in plain Burn ops. They are the baseline that every kernel is measured against;
//! - on `Kiln<B>` (crate `burn-kiln`): Kiln's kernels, with the same compositions where no kernel serves the operands;
//! - on `Autodiff<B>` (feature `autodiff`): the forward of `B` and the hand-written backward passes of [`TrainingOps`].
//!
//! [`mod@reference`] holds the same operations in plain `f64` loops: the oracle of every test. The feature `testing`
//! adds `conformance`, which holds any backend against it.
//!
//! Operands are structs over a [`TensorFamily`]: `Norm<B>` is what a model passes, and the same struct over an engine's
//! primitives is what a kernel gets.
//!
//! Its configuration is that of the kernels: the arrows go `kiln-kernels <- fusion <- backend <- model`.

#[cfg(feature = "autodiff")]
mod autodiff;
mod backends;
pub mod compose;
#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "cubecl")]
pub mod cube;
mod device;
mod family;
mod kv_cache;
mod operands;
mod ops;
pub mod reference;
mod training;
mod weight;

pub use device::{DeviceLayout, DeviceMemory};
pub use family::{Conversion, Float, TensorFamily};
pub use kiln_kernels::Activation;
pub use kiln_kernels::config::{self, KernelConfig};
pub use kv_cache::{CacheFull, CacheRoom, KvCache};
pub use operands::{
    AddNorm, AttentionInputs, AttentionOptions, Epilogue, GatedMlpWeights, HeadNorms, LinearWeights, MoeOptions,
    MoeWeights, Norm, NormKind, PlainMlpWeights, QueryKey, RmsWeights, Rotary, RotaryInputs,
};
pub use ops::FusedOps;
pub use training::{
    ActivationGrads, AdamWOptions, AdamWState, AddNormForward, AddNormGrads, AttentionForward, AttentionGrads,
    DifferentiatedLoss, GatedMlpForward, GatedMlpGrads, LayerNormForward, LinearForward, LinearGrads, LossForward,
    LossGrads, LossInputs, LossOptions, MoeGrads, MoeInputGrads, NormGrads, NormLinearGrads, PlainMlpForward,
    PlainMlpGrads, QkGrads, RmsNormForward, RowGrads, SiluMulGrads, TrainingOps,
};
pub use weight::{Packing, Weight};
