//! All parameters of a model.

use super::Part;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use qwen3_vl_burn::checkpoint_name;

/// A parameter of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// As in checkpoints: `model.language_model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Its id in this process.
    pub id: ParamId,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// The part that it belongs to.
    pub part: Part,
}

impl Parameter {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True without an element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The parameters of a model in the order of its modules, adapters included. Reads none of them.
pub fn list_parameters<B: Backend, M: Module<B>>(model: &M) -> Vec<Parameter> {
    let mut lister = Lister { path: Vec::new(), found: Vec::new() };
    model.visit(&mut lister);
    lister.found
}

struct Lister {
    path: Vec<String>,
    found: Vec<Parameter>,
}

impl<B: Backend> ModuleVisitor<B> for Lister {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let name = checkpoint_name(&self.path.join("."));
        let part = Part::of(&name);
        self.found.push(Parameter { name, id: param.id, shape: param.lazy_shape().to_vec(), part });
    }
}
