//! Rows of a table by id; the table may serve as the output head as well.

use super::{PackedSlot, WEIGHT_INITIALIZER};
use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use burn_kiln_fusion::{FusedOps, KernelConfig, Weight};

/// Sizes of an [`Embedding`].
#[derive(Config, Debug)]
pub struct EmbeddingConfig {
    /// Number of rows.
    pub rows: usize,
    /// Length of a row.
    pub hidden: usize,
}

impl EmbeddingConfig {
    /// A table whose parameter is lazy.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Embedding<B> {
        let weight = WEIGHT_INITIALIZER.init([self.rows, self.hidden], device);
        Embedding { weight, packed: PackedSlot::empty() }
    }
}

/// A table of learned rows.
#[derive(Module, Debug)]
pub struct Embedding<B: Backend> {
    /// `[rows, hidden]`.
    pub weight: Param<Tensor<B, 2>>,
    packed: PackedSlot<B>,
}

impl<B: FusedOps> Embedding<B> {
    /// The rows named by `ids`, as f32.
    ///
    /// # Shapes
    /// `ids` `[batch, length]`, output `[batch, length, hidden]`.
    pub fn forward(&self, ids: Tensor<B, 2, Int>, config: &KernelConfig) -> Tensor<B, 3> {
        <B as FusedOps>::embedding(&self.weight(), ids, config)
    }

    /// The table as the fused ops take it: a tied output head multiplies by it.
    pub fn weight(&self) -> Weight<B> {
        self.packed.weight(&self.weight)
    }

    /// As [`Linear::pack`](super::Linear::pack): one packed form serves both the rows and a tied head.
    pub fn pack(&mut self, config: &KernelConfig) {
        self.packed.fill(&mut self.weight, config);
    }

    /// Undoes [`Embedding::pack`].
    pub fn unpack(&mut self) {
        self.packed.empty_into(&mut self.weight);
    }

    /// Whether the table is packed.
    pub fn is_packed(&self) -> bool {
        self.packed.get().is_some()
    }
}
