//! `y = x·Wᵀ + b`.

use super::{PackedSlot, WEIGHT_INITIALIZER};
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{Epilogue, FusedOps, KernelConfig, Weight};

/// Sizes of a [`Linear`] layer.
#[derive(Config, Debug)]
pub struct LinearConfig {
    /// Length of an input row.
    pub d_input: usize,
    /// Length of an output row.
    pub d_output: usize,
    /// Whether a bias is added.
    #[config(default = false)]
    pub bias: bool,
}

impl LinearConfig {
    /// A layer whose parameters are lazy: nothing is allocated before they are read.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Linear<B> {
        Linear {
            weight: WEIGHT_INITIALIZER.init([self.d_output, self.d_input], device),
            bias: self.bias.then(|| Initializer::Zeros.init([self.d_output], device)),
            packed: PackedSlot::empty(),
        }
    }
}

/// `y = x·Wᵀ + b`, with `W` in the checkpoint's layout.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[d_output, d_input]`; unlike `burn::nn::Linear`, not transposed, so that checkpoints load without a copy.
    pub weight: Param<Tensor<B, 2>>,
    /// `[d_output]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
    packed: PackedSlot<B>,
}

impl<B: FusedOps> Linear<B> {
    /// `x·Wᵀ + b`.
    ///
    /// # Shapes
    /// `x` `[.., d_input]`, output `[.., d_output]`.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>, config: &KernelConfig) -> Tensor<B, D> {
        <B as FusedOps>::linear(x, &self.weight(), Epilogue::bias(self.bias()), config)
    }

    /// `x·Wᵀ + b + residual`.
    ///
    /// # Shapes
    /// `x` `[.., d_input]`, `residual` and output `[.., d_output]`.
    pub fn forward_residual<const D: usize>(
        &self,
        x: Tensor<B, D>,
        residual: Tensor<B, D>,
        config: &KernelConfig,
    ) -> Tensor<B, D> {
        let epilogue = Epilogue { bias: self.bias(), activation: None, residual: Some(residual) };
        <B as FusedOps>::linear(x, &self.weight(), epilogue, config)
    }

    /// The weight as the fused ops take it: packed where [`Linear::pack`] was called.
    pub fn weight(&self) -> Weight<B> {
        self.packed.weight(&self.weight)
    }

    /// The bias, `[d_output]`.
    pub fn bias(&self) -> Option<Tensor<B, 1>> {
        self.bias.as_ref().map(Param::val)
    }

    /// Packs the weight as this backend wants it and frees the plain tensor. For inference; `forward` computes the same.
    ///
    /// The parameter unpacks itself again, and then stays, when a record or a visitor reads it.
    pub fn pack(&mut self, config: &KernelConfig) {
        self.packed.fill(&mut self.weight, config);
    }

    /// Undoes [`Linear::pack`].
    pub fn unpack(&mut self) {
        self.packed.empty_into(&mut self.weight);
    }

    /// Whether the weight is packed.
    pub fn is_packed(&self) -> bool {
        self.packed.get().is_some()
    }
}
