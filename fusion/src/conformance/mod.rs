//! Checks of a backend's [`FusedOps`] and [`TrainingOps`] against the `f64` reference.
//!
//! One [`Suite`] says what is checked (device, configuration, forms of weights, tolerance); each op has a module with
//! its cases and a `check`. A case runs three ways:
//!
//! 1. the op against its reference;
//! 2. its `*_forward` and `*_backward` against central differences of the reference;
//! 3. the op on `Autodiff<B>` against the same differences: every operand trained, each one alone, and all but each
//!    one.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! use burn_kiln_fusion::conformance::{Suite, norm};
//! norm::check(&Suite::<burn_flex::Flex>::new(Default::default()));
//! # }
//! ```
//!
//! Inputs are drawn from fixed seeds and are exact in f32 (weights in bf16), so that backend and reference start from
//! the same numbers.

pub mod activation;
pub mod attention;
pub mod attention_rotary;
pub mod cache;
mod case;
mod compare;
pub mod embedding;
pub mod linear;
pub mod loss;
pub mod mlp;
pub mod moe;
pub mod norm;
pub mod optim;
pub mod rope;
mod sample;

pub use sample::Sampler;

use crate::{FusedOps, KernelConfig, TrainingOps, Weight};
use burn_backend::{Backend, DType};
use burn_tensor::Tensor;

/// How far a result may be from the reference: `bound · max(1, largest value of the reference)`.
///
/// The bounds are relative to the largest value, not to each: a sum's rounding error is that of its largest terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Of an op's output.
    pub output: f64,
    /// Of a gradient.
    pub gradient: f64,
}

impl Tolerance {
    /// For f32 arithmetic. An f32 rounds at 6e-8. The checks' longest sum has 133 terms, whose roundings add up to 8e-6
    /// at worst and to 1e-6 as a rule; an op is up to three such sums long, and its gradient six.
    pub const F32: Self = Self { output: 1e-5, gradient: 3e-5 };

    /// For products of bf16 operands: activations round at 2⁻⁸ = 4e-3 before each product, three products deep.
    pub const BF16: Self = Self { output: 1e-2, gradient: 2e-2 };
}

/// How a weight is handed to an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightForm {
    /// As rows of this dtype.
    Plain(DType),
    /// Packed from rows of this dtype.
    Packed(DType),
}

impl WeightForm {
    /// `weight`, `[out, in]`, in this form.
    pub fn shape<B: FusedOps>(self, weight: Tensor<B, 2>, config: &KernelConfig) -> Weight<B> {
        match self {
            Self::Plain(dtype) => Weight::Plain(weight.cast(dtype)),
            Self::Packed(dtype) => Weight::Plain(weight.cast(dtype)).pack(config),
        }
    }

    /// The dtype of the rows.
    pub fn dtype(self) -> DType {
        match self {
            Self::Plain(dtype) | Self::Packed(dtype) => dtype,
        }
    }
}

/// What is checked, and how closely.
#[derive(Debug, Clone)]
pub struct Suite<B: Backend> {
    /// Where tensors live.
    pub device: B::Device,
    /// What the kernels may use.
    pub config: KernelConfig,
    /// How closely results must agree.
    pub tolerance: Tolerance,
    /// How closely those of ops with bf16 weights must: [`Tolerance::BF16`] where the kernels may round activations.
    pub bf16_tolerance: Tolerance,
    /// Forms of weights that the forward checks run with.
    pub forms: Vec<WeightForm>,
    /// Whether backward passes and `Autodiff<B>` are checked too.
    pub gradients: bool,
}

impl<B: Backend> Suite<B> {
    /// Everything with f32 weights and the default configuration.
    pub fn new(device: B::Device) -> Self {
        Self {
            device,
            config: KernelConfig::default(),
            tolerance: Tolerance::F32,
            bf16_tolerance: Tolerance::F32,
            forms: vec![WeightForm::Plain(DType::F32), WeightForm::Packed(DType::F32)],
            gradients: true,
        }
    }

    /// The same with bf16 and f16 weights as well, for a backend that has them.
    pub fn with_half_weights(mut self) -> Self {
        let halves = [DType::BF16, DType::F16];
        self.forms.extend(halves.iter().flat_map(|&dtype| [WeightForm::Plain(dtype), WeightForm::Packed(dtype)]));
        self
    }
}

impl<B: Backend> Suite<B> {
    /// The tolerance with weights of one form.
    fn tolerance_of(&self, form: WeightForm) -> Tolerance {
        if form.dtype() == DType::BF16 { self.bf16_tolerance } else { self.tolerance }
    }
}

/// Every check of every op.
///
/// # Panics
/// At the first result that is off, naming the op, its case and the worst element.
pub fn check_all<B: TrainingOps>(suite: &Suite<B>) {
    linear::check(suite);
    norm::check(suite);
    activation::check(suite);
    mlp::check(suite);
    moe::check(suite);
    rope::check(suite);
    embedding::check(suite);
    attention::check(suite);
    attention_rotary::check(suite);
    cache::check(suite);
    loss::check(suite);
    optim::check(suite);
}
