//! The linear layers of a model that can have adapters, by their names in released checkpoints.

use crate::Qwen3Vl;
use crate::checkpoint::is_adaptable;
use crate::fill::checkpoint_name;
use crate::layers::Linear;
use crate::optimized::{Block, WeightMut};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::collections::BTreeMap;

impl<B: Backend> Qwen3Vl<B> {
    /// Calls `visit` with each linear layer that [can have an adapter](is_adaptable) and its module's name in released
    /// checkpoints (`model.language_model.layers.3.self_attn.q_proj`), the head among them where it is a layer.
    ///
    /// Layers that are [streamed](crate::streaming) are not in the model, and not visited.
    pub fn visit_adaptable(&mut self, visit: &mut dyn FnMut(&str, &mut Linear<B>)) {
        self.visit_weights(&mut |path, weight| {
            if let WeightMut::Linear(layer) = weight {
                let module = checkpoint_name(path);
                if is_adaptable(&module) {
                    visit(&module, layer);
                }
            }
        });
    }

    /// The matrices `A` and `B` of all adapters, by their modules' names in released checkpoints.
    pub fn read_adapters(&self) -> BTreeMap<String, [TensorData; 2]> {
        let mut reader = Reader { path: Vec::new(), found: BTreeMap::new() };
        self.visit(&mut reader);
        let pairs = reader.found.into_iter();
        pairs.filter_map(|(module, [a, b])| Some((module, [a?, b?]))).collect()
    }
}

/// Reads the parameters of adapters, and no others: reading a lazy one would make it.
struct Reader {
    path: Vec<String>,
    found: BTreeMap<String, [Option<TensorData>; 2]>,
}

impl<B: Backend> ModuleVisitor<B> for Reader {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let [module @ .., field, side] = &self.path[..] else { return };
        if field != "lora" {
            return;
        }
        let pair = self.found.entry(checkpoint_name(&module.join("."))).or_default();
        pair[usize::from(side == "b")] = Some(param.val().into_data());
    }
}
