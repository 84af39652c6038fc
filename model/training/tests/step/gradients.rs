//! Gradients by name, and how far two sets of them are from each other.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::Kiln;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl, checkpoint_name};
use qwen3_vl_train::step::Gradients;
use std::collections::BTreeMap;

use crate::fixture;

pub type Inner = Kiln<Flex>;
pub type Model = Qwen3Vl<Autodiff<Inner>>;

pub fn load(checkpoint: &str) -> Model {
    load_as(checkpoint, None)
}

pub fn load_as(checkpoint: &str, dtype: Option<DType>) -> Model {
    let options = LoadOptions { dtype, ..LoadOptions::default() };
    Qwen3Vl::load(fixture::folder(checkpoint), &Default::default(), options).unwrap()
}

/// Each parameter's gradient by its name in checkpoints; parameters without one are left out.
pub fn by_name(model: &Model, gradients: &Gradients<Inner>) -> BTreeMap<String, Vec<f32>> {
    struct Reader<'a> {
        path: Vec<String>,
        gradients: &'a Gradients<Inner>,
        found: BTreeMap<String, Vec<f32>>,
    }
    impl ModuleVisitor<Autodiff<Inner>> for Reader<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<Inner>, D>>) {
            if let Some(grad) = self.gradients.get::<D>(param.id) {
                assert_eq!(grad.shape(), param.lazy_shape());
                let values = grad.cast(DType::F32).into_data().to_vec().unwrap();
                self.found.insert(checkpoint_name(&self.path.join(".")), values);
            }
        }
    }
    let mut reader = Reader { path: Vec::new(), gradients, found: BTreeMap::new() };
    model.visit(&mut reader);
    reader.found
}

/// The largest difference, relative to the largest value of its tensor.
pub fn largest_error(found: &BTreeMap<String, Vec<f32>>, expected: &BTreeMap<String, Vec<f32>>) -> f64 {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    found.iter().map(|(name, found)| relative_error(found, &expected[name])).fold(0.0, f64::max)
}

/// The largest difference, relative to the largest value expected; differences below 1e-9 count as none.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    let error = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
    assert!(error.is_finite());
    if error < 1e-9 { 0.0 } else { error / largest }
}
