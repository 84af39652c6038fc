//! What one decoder layer of the 2B model launches, recorded on a card that runs nothing.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_kiln_fusion::{
    FusedOps, KernelConfig,
    cube::cuda_text::{Launch, Sm61, take_launches},
};
use qwen3_vl_burn::config::TextConfig;
use qwen3_vl_burn::text::{Cache, DecoderInputs, TextModel, VisualRows};

/// What is asked of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Tokens that go through it.
    pub rows: usize,
    /// Tokens that are in the cache before.
    pub past: usize,
}

/// The text decoder of Qwen3-VL-2B with `layers` layers and next to no vocabulary.
pub fn configure(layers: usize) -> TextConfig {
    TextConfig::new(16, 2048, 6144, layers, 16, 8, 128, [24, 20, 20], true)
}

/// What one layer launches on `B`: the launches of two layers without those of one.
pub fn record<B: FusedOps<Device = Sm61>>(pass: Pass) -> Vec<Launch> {
    let one = record_layers::<B>(1, pass);
    let mut two = record_layers::<B>(2, pass);
    two.split_off(one.len())
}

fn record_layers<B: FusedOps<Device = Sm61>>(layers: usize, pass: Pass) -> Vec<Launch> {
    let (device, config) = (Sm61::Records, configure(layers));
    let model: TextModel<B> = config.init(&device).map(&mut Halve);
    let mut cache = Cache::new(&config, pass.past + pass.rows, DType::BF16);
    if pass.past > 0 {
        run(&model, &mut cache, 0, pass.past);
    }
    // Launches are enqueued: what came before must be there to be dropped.
    let _ = B::sync(&device);
    drop(take_launches());
    run(&model, &mut cache, pass.past, pass.rows);
    take_launches()
}

fn run<B: FusedOps<Device = Sm61>>(model: &TextModel<B>, cache: &mut Cache<B>, start: usize, rows: usize) {
    let positions: Vec<i64> = (start..start + rows).map(|position| position as i64).collect();
    let inputs = DecoderInputs {
        rows: Tensor::empty([1, rows, model.config.hidden_size], &Sm61::Records),
        lengths: vec![rows],
        positions: [positions.clone(), positions.clone(), positions],
        visual: VisualRows::find(&[]),
        deepstack: Vec::new(),
    };
    let output = model.forward(inputs, &mut [cache], &KernelConfig::default());
    assert!(output.is_ok(), "no layer is streamed");
    // It never fails here, for nothing runs.
    let _ = B::sync(&Sm61::Records);
}

/// Parameters as bf16, as the checkpoint has them.
struct Halve;

impl<B: Backend> ModuleMapper<B> for Halve {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor.cast(DType::BF16))
    }
}
