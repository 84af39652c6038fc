//! Freezing what does not train.

use super::{Parameter, ParameterError, Selection, list_parameters};
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use std::collections::HashSet;

/// A parameter that trains, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Trainable {
    /// Which.
    pub parameter: Parameter,
    /// Its learning rate as a multiple of the run's.
    pub rate: f64,
    /// Its weight decay; 0 for norms and biases, which have one dimension.
    pub weight_decay: f64,
}

impl Selection {
    /// The parameters of `model` that train; the others are frozen.
    ///
    /// # Errors
    /// [`ParameterError`]; then the model is gone, as nothing can train.
    pub fn apply<B: AutodiffBackend, M: Module<B>>(&self, model: M) -> Result<(M, Vec<Trainable>), ParameterError> {
        let parameters = list_parameters(&model);
        let rules = self.resolve(&parameters)?;
        let trainables: Vec<Trainable> = parameters
            .into_iter()
            .zip(rules)
            .filter_map(|(parameter, rule)| {
                let rule = rule?;
                let rate = rule.learning_rate.map_or(1.0, |rate| rate / self.learning_rate);
                let decays = parameter.shape.len() > 1;
                let weight_decay = if decays { rule.weight_decay.unwrap_or(self.weight_decay) } else { 0.0 };
                Some(Trainable { parameter, rate, weight_decay })
            })
            .collect();
        let ids = trainables.iter().map(|trainable| trainable.parameter.id).collect();
        Ok((model.map(&mut Freezer { ids }), trainables))
    }
}

/// Makes the parameters `ids` require gradients, and no others.
struct Freezer {
    ids: HashSet<ParamId>,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Freezer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let trains = self.ids.contains(&param.id);
        // A parameter that trained has a leaf on the tape: a new tensor leaves it.
        param.map(|tensor| Tensor::from_inner(tensor.inner()).set_require_grad(trains))
    }
}
