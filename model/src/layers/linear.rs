//! `y = x·Wᵀ + b`, with or without an adapter.

use super::{Lora, PackedSlot, WEIGHT_INITIALIZER};
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{DType, Tensor};
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{Epilogue, FusedOps, KernelConfig, LinearWeights, Weight};

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
            lora: None,
        }
    }
}

/// `y = x·Wᵀ + b`, with `W` in the checkpoint's layout, and what an adapter adds where there is one.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[d_output, d_input]`; unlike `burn::nn::Linear`, not transposed, so that checkpoints load without a copy.
    pub weight: Param<Tensor<B, 2>>,
    /// `[d_output]`.
    pub bias: Option<Param<Tensor<B, 1>>>,
    packed: PackedSlot<B>,
    /// An adapter beside the weight.
    pub lora: Option<Lora<B>>,
}

impl<B: FusedOps> Linear<B> {
    /// `x·Wᵀ + b`, and what the adapter adds.
    ///
    /// # Shapes
    /// `x` `[.., d_input]`, output `[.., d_output]`.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>, config: &KernelConfig) -> Tensor<B, D> {
        self.run(x, None, config)
    }

    /// `x·Wᵀ + b + residual`, and what the adapter adds.
    ///
    /// # Shapes
    /// `x` `[.., d_input]`, `residual` and output `[.., d_output]`.
    pub fn forward_residual<const D: usize>(
        &self,
        x: Tensor<B, D>,
        residual: Tensor<B, D>,
        config: &KernelConfig,
    ) -> Tensor<B, D> {
        self.run(x, Some(residual), config)
    }

    fn run<const D: usize>(
        &self,
        x: Tensor<B, D>,
        residual: Option<Tensor<B, D>>,
        config: &KernelConfig,
    ) -> Tensor<B, D> {
        let epilogue = Epilogue { bias: self.bias(), activation: None, residual };
        match &self.lora {
            None => <B as FusedOps>::linear(x, &self.weight(), epilogue, config),
            Some(lora) => {
                let base = <B as FusedOps>::linear(x.clone(), &self.weight(), epilogue, config);
                lora.add(x, base, config)
            }
        }
    }

    /// Adds the adapter to the weight, `W + s·B·A` in f32 and rounded once to what the weight is held in, and takes it
    /// away. A packed weight is unpacked. Nothing happens without an adapter.
    pub fn merge(&mut self) {
        let Some(lora) = self.lora.take() else { return };
        self.unpack();
        let delta = lora.delta();
        let weight = self.weight.clone();
        self.weight = weight.map(|weight| {
            let (dtype, trains) = (weight.dtype(), weight.is_require_grad());
            let merged = weight.cast(DType::F32) + delta;
            merged.cast(dtype).detach().set_require_grad(trains)
        });
    }

    /// The weight as the fused ops take it, without its adapter: packed where [`Linear::pack`] was called.
    pub fn weight(&self) -> Weight<B> {
        self.packed.weight(&self.weight)
    }

    /// What the fused ops take that know no adapter. `None` where there is one: then [`Linear::forward`] must run.
    pub(crate) fn plain(&self) -> Option<LinearWeights<B>> {
        self.lora.is_none().then(|| LinearWeights { weight: self.weight(), bias: self.bias() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    fn layer() -> (Linear<Flex>, Tensor<Flex, 2>) {
        let device = Default::default();
        let layer = LinearConfig::new(3, 2).with_bias(true).init::<Flex>(&device);
        // y = [[1, 2, 3], [4, 5, 6]] · x + [10, 20]
        let weight = Tensor::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &device);
        let bias = Tensor::from_floats([10.0, 20.0], &device);
        let record = LinearRecord {
            weight: Param::from_tensor(weight),
            bias: Some(Param::from_tensor(bias)),
            packed: burn::module::EmptyRecord,
            lora: None,
        };
        (layer.load_record(record), Tensor::from_floats([[1.0, 0.0, -1.0]], &device))
    }

    fn run(layer: &Linear<Flex>, x: &Tensor<Flex, 2>) -> Vec<f32> {
        layer.forward(x.clone(), &KernelConfig::default()).into_data().to_vec().unwrap()
    }

    #[test]
    fn nothing_is_allocated_by_init() {
        let layer = LinearConfig::new(1 << 20, 1 << 20).with_bias(true).init::<Flex>(&Default::default());
        assert!(!layer.weight.is_initialized() && !layer.bias.unwrap().is_initialized());
    }

    #[test]
    fn packing_changes_no_output() {
        let (mut layer, x) = layer();
        assert_eq!(run(&layer, &x), [8.0, 18.0]);
        layer.pack(&KernelConfig::default());
        assert!(layer.is_packed() && !layer.weight.is_initialized());
        assert_eq!(run(&layer, &x), [8.0, 18.0]);
        assert!(!layer.weight.is_initialized(), "the packed form served");
        layer.unpack();
        assert!(!layer.is_packed() && layer.weight.is_initialized());
        assert_eq!(run(&layer, &x), [8.0, 18.0]);
    }

    #[test]
    fn a_record_of_a_packed_layer_holds_the_rows() {
        let (mut layer, _) = layer();
        layer.pack(&KernelConfig::default());
        let record = layer.into_record();
        assert_eq!(record.weight.val().into_data().to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn new_weights_replace_packed_ones() {
        let (mut layer, x) = layer();
        layer.pack(&KernelConfig::default());
        let mut record = layer.clone().into_record();
        record.weight = Param::from_tensor(Tensor::zeros([2, 3], &Default::default()));
        let layer = layer.load_record(record);
        assert!(!layer.is_packed());
        assert_eq!(run(&layer, &x), [10.0, 20.0]);
    }
}
