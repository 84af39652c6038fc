//! Putting adapters into a model, and into its weights.

use super::targets::choose;
use super::{LoraConfig, LoraError};
use crate::fnv;
use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData};
use burn_kiln_fusion::FusedOps;
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_burn::layers::{Dropout, Linear, Lora};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::fmt;

/// What an adapter adds to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraReport {
    /// The adapted layers, in the order of their use.
    pub modules: Vec<LoraModule>,
    /// Parameters that train.
    pub trainable: usize,
    /// Parameters of the base model, which don't.
    pub frozen: usize,
}

/// An adapted layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraModule {
    /// Its name in released checkpoints.
    pub name: String,
    /// Of its adapter.
    pub rank: usize,
    /// Length of a row of its input.
    pub inputs: usize,
    /// Length of a row of its output.
    pub outputs: usize,
}

impl fmt::Display for LoraReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.trainable + self.frozen;
        let share = 100.0 * self.trainable as f64 / all.max(1) as f64;
        write!(f, "LoRA on {} layers: {} of {all} parameters train ({share:.2} %)", self.modules.len(), self.trainable)
    }
}

/// Freezes the model's weights and puts an adapter beside each layer that `config` names: `B` is 0, so that the model
/// computes what it did, and `A` is uniform in ±1/√inputs, as PEFT begins (Kaiming, a = √5), from the seed and the
/// layer's name.
///
/// Its parameters have the same ids each time, so that an optimizer's record fits the model that is made again.
///
/// # Errors
/// [`LoraError`] for settings out of range, targets that match nothing, a model that has an adapter or streams its
/// weights.
pub fn attach<B: FusedOps>(model: Qwen3Vl<B>, config: &LoraConfig) -> Result<(Qwen3Vl<B>, LoraReport), LoraError> {
    config.check()?;
    let mut model = freeze(model)?;
    let mut modules = Vec::new();
    model.visit_adaptable(&mut |name, _| modules.push(name.to_owned()));
    let settings = config.to_adapter();
    let chosen = choose(&config.targets, &modules)?.into_iter();
    let chosen = chosen.map(|name| settings.rank_and_scale(&name).map(|sizes| (name, sizes)));
    let chosen = chosen.collect::<Result<BTreeMap<_, _>, _>>()?;
    let mut sizes = BTreeMap::new();
    model.visit_adaptable(&mut |name, layer| {
        sizes.insert(name.to_owned(), layer.weight.lazy_shape().dims());
    });
    for (layer, &(rank, _)) in &chosen {
        let [outputs, inputs] = sizes.get(layer).copied().unwrap_or_default();
        // Beyond that, the matrices have more numbers than the weight: nothing is won, and far beyond, no memory holds
        // them.
        if rank > inputs.max(outputs) {
            return Err(LoraError::RankTooLarge { rank, layer: layer.clone(), inputs, outputs });
        }
    }
    let frozen = model.num_params();
    let pass = model.dropout_pass().clone();
    let mut adapted = Vec::new();
    model.visit_adaptable(&mut |name, layer| {
        let Some(&(rank, scale)) = chosen.get(name) else { return };
        let [outputs, inputs] = layer.weight.lazy_shape().dims();
        let a = draw(config.seed, name, rank * inputs, inputs);
        let b = vec![0.0; outputs * rank];
        let dropout =
            Dropout { probability: config.dropout, seed: dropout_seed(config.seed, name), pass: pass.clone() };
        put(name, layer, (a, b), (rank, scale), dropout);
        adapted.push(LoraModule { name: name.to_owned(), rank, inputs, outputs });
    });
    Ok((model, LoraReport { trainable: count(&adapted), frozen, modules: adapted }))
}

/// Adds the adapter to the weights, `W + s·B·A` in f32 and rounded once to what each is held in, and takes it out of
/// the model. Weights stay frozen.
pub fn merge<B: FusedOps>(mut model: Qwen3Vl<B>) -> Qwen3Vl<B> {
    model.visit_adaptable(&mut |_, layer| layer.merge());
    model
}

/// Stops gradients of all weights.
pub(super) fn freeze<B: FusedOps>(mut model: Qwen3Vl<B>) -> Result<Qwen3Vl<B>, LoraError> {
    if model.streaming().is_some() {
        return Err(LoraError::Streamed);
    }
    let mut attached = false;
    model.visit_adaptable(&mut |_, layer| attached |= layer.lora.is_some());
    if attached { Err(LoraError::Attached) } else { Ok(model.no_grad()) }
}

/// Puts the adapter of matrices `a` and `b`, row by row, beside a layer.
pub(super) fn put<B: FusedOps>(
    name: &str,
    layer: &mut Linear<B>,
    (a, b): (Vec<f32>, Vec<f32>),
    (rank, scale): (usize, f64),
    dropout: Dropout,
) {
    let device = layer.weight.lazy_device();
    let [outputs, inputs] = layer.weight.lazy_shape().dims();
    let tensor = |values: Vec<f32>, shape: [usize; 2]| {
        Tensor::<B, 2>::from_data(TensorData::new(values, shape), (&device, DType::F32))
    };
    let mut lora = Lora::new(tensor(a, [rank, inputs]), tensor(b, [outputs, rank]), scale, dropout);
    for (side, param) in [("lora_A", &mut lora.a), ("lora_B", &mut lora.b)] {
        let id = ParamId::from(hash(0, &format!("{name}.{side}")));
        *param = Param::initialized(id, param.val());
    }
    layer.lora = Some(lora);
}

/// Parameters of the adapters of `modules`.
fn count(modules: &[LoraModule]) -> usize {
    modules.iter().map(|module| module.rank * (module.inputs + module.outputs)).sum()
}

/// `A` as PEFT begins: Kaiming uniform with a = √5, whose bound is √(6 / ((1 + 5) · inputs)).
fn draw(seed: u64, name: &str, count: usize, inputs: usize) -> Vec<f32> {
    let bound = 1.0 / (inputs.max(1) as f32).sqrt();
    let mut random = ChaCha8Rng::seed_from_u64(hash(seed, name));
    (0..count).map(|_| random.random_range(-bound..bound)).collect()
}

/// The seed of a layer's masks.
pub(super) fn dropout_seed(seed: u64, name: &str) -> u64 {
    hash(seed, name)
}

/// Of a seed and a name.
fn hash(seed: u64, name: &str) -> u64 {
    seed.to_le_bytes().into_iter().chain(name.bytes()).fold(fnv::OFFSET, fnv::add)
}
