//! What packing needs to know of a block: its weights, and how to make it on another backend.

use crate::layers::{Embedding, LayerNorm, LayerNormConfig, Linear, LinearConfig, Lora, RmsNorm, RmsNormConfig};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{FusedOps, KernelConfig};

/// A weight that a block multiplies by, and that can be packed.
#[derive(Debug)]
pub enum WeightMut<'a, B: Backend> {
    /// Of a linear layer.
    Linear(&'a mut Linear<B>),
    /// A token embedding that is the output head too.
    Embedding(&'a mut Embedding<B>),
}

impl<B: FusedOps> WeightMut<'_, B> {
    /// Packs it; its plain tensor is freed.
    pub fn pack(&mut self, config: &KernelConfig) {
        match self {
            Self::Linear(layer) => layer.pack(config),
            Self::Embedding(table) => table.pack(config),
        }
    }

    /// Undoes [`WeightMut::pack`], bit for bit.
    pub fn unpack(&mut self) {
        match self {
            Self::Linear(layer) => layer.unpack(),
            Self::Embedding(table) => table.unpack(),
        }
    }

    /// Whether it is packed.
    pub fn is_packed(&self) -> bool {
        match self {
            Self::Linear(layer) => layer.is_packed(),
            Self::Embedding(table) => table.is_packed(),
        }
    }

    /// Rows and columns, `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Self::Linear(layer) => layer.weight.lazy_shape().dims(),
            Self::Embedding(table) => table.weight.lazy_shape().dims(),
        }
    }
}

/// A part of the model whose weights can be packed.
pub trait Block<B: Backend>: Module<B> {
    /// The same block on another backend.
    type On<T: Backend>: Block<T>;

    /// A block of the same sizes on `T`, its parameters lazy: nothing is allocated.
    fn init_like<T: Backend<Device = B::Device>>(&self) -> Self::On<T>;

    /// Calls `visit` with each weight that can be packed, and its path in the block, in the order of their use.
    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>));
}

/// Visits the weights of a part of a block, whose paths go on from `name`.
pub(super) fn visit_part<B: Backend, M: Block<B>>(
    name: &str,
    part: &mut M,
    visit: &mut dyn FnMut(&str, WeightMut<'_, B>),
) {
    part.visit_weights(&mut |path, weight| {
        let path = if path.is_empty() { name.to_owned() } else { format!("{name}.{path}") };
        visit(&path, weight);
    });
}

impl<B: Backend> Block<B> for Linear<B> {
    type On<T: Backend> = Linear<T>;

    fn init_like<T: Backend<Device = B::Device>>(&self) -> Linear<T> {
        let [d_output, d_input] = self.weight.lazy_shape().dims();
        let config = LinearConfig::new(d_input, d_output).with_bias(self.bias.is_some());
        let mut like = config.init(&self.weight.lazy_device());
        like.lora = self.lora.as_ref().map(Lora::init_like);
        like
    }

    fn visit_weights(&mut self, visit: &mut dyn FnMut(&str, WeightMut<'_, B>)) {
        visit("", WeightMut::Linear(self));
    }
}

/// A norm like `norm`, lazy.
pub(super) fn init_rms_norm_like<B: Backend, T: Backend<Device = B::Device>>(norm: &RmsNorm<B>) -> RmsNorm<T> {
    let [width] = norm.weight.lazy_shape().dims();
    RmsNormConfig::new(width).with_epsilon(norm.epsilon).init(&norm.weight.lazy_device())
}

/// A norm like `norm`, lazy.
pub(super) fn init_layer_norm_like<B: Backend, T: Backend<Device = B::Device>>(norm: &LayerNorm<B>) -> LayerNorm<T> {
    let [width] = norm.weight.lazy_shape().dims();
    LayerNormConfig::new(width).with_epsilon(norm.epsilon).init(&norm.weight.lazy_device())
}
