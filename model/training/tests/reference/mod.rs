//! The reference checkpoint, its cases, and adapters with what HF and PEFT give with them.
#![allow(dead_code)] // each test binary uses its part

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_kiln_fusion::FusedOps;
use qwen3_vl_burn::processor::{Grid, ProcessedImages};
use qwen3_vl_burn::{LoadOptions, Logits, ModelInputs, Qwen3Vl};
use safetensors::SafeTensors;
use std::path::PathBuf;

/// The cases that adapters have logits for.
pub const CASES: [&str; 2] = ["text", "image"];

pub fn base() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tiny-dense"))
}

/// The folder of an adapter.
pub fn adapter(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

pub fn load<B: FusedOps>() -> Qwen3Vl<B> {
    Qwen3Vl::load(base(), &Default::default(), LoadOptions::default()).unwrap()
}

/// Numbers of a safetensors file.
fn read<T, const N: usize>(path: PathBuf, tensor: &str, decode: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(tensor).ok()?;
    Some(view.data().chunks_exact(N).map(|bytes| decode(bytes.try_into().unwrap())).collect())
}

pub fn integers(case: &str, tensor: &str) -> Option<Vec<i64>> {
    read(base().join(case).with_extension("safetensors"), tensor, i64::from_le_bytes)
}

pub fn inputs(case: &str) -> ModelInputs {
    let ids = integers(case, "input_ids").unwrap();
    let path = base().join(case).with_extension("safetensors");
    let images = integers(case, "image_grid_thw").map(|grids| {
        let side = |i: i64| usize::try_from(i).unwrap();
        let grids = grids.chunks_exact(3).map(|g| Grid { t: side(g[0]), h: side(g[1]), w: side(g[2]) }).collect();
        ProcessedImages { pixel_values: read(path, "pixel_values", f32::from_le_bytes).unwrap(), grids }
    });
    ModelInputs {
        input_ids: ids.into_iter().map(|id| u32::try_from(id).unwrap()).collect(),
        images: images.unwrap_or_default(),
        videos: ProcessedImages::default(),
    }
}

/// What HF and PEFT give with an adapter.
pub fn expected(adapter_name: &str, case: &str) -> Vec<f32> {
    let path = adapter(adapter_name).join("expected.safetensors");
    read(path, &format!("{case}.logits"), f32::from_le_bytes).unwrap()
}

/// Logits of all positions.
pub fn logits<B: FusedOps>(model: &Qwen3Vl<B>, case: &str) -> Vec<f32> {
    model.forward(&inputs(case), Logits::All).unwrap().into_data().iter::<f32>().collect()
}

/// Largest difference over the largest expected value.
pub fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().map(|x| f64::from(x.abs())).fold(f64::MIN_POSITIVE, f64::max);
    let errors = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    errors.fold(0.0, |worst: f64, error| if error.is_nan() { f64::INFINITY } else { worst.max(error) }) / largest
}

/// All parameters by path.
pub fn parameters<B: FusedOps>(model: &Qwen3Vl<B>) -> Vec<(String, Vec<f32>)> {
    struct All(Vec<String>, Vec<(String, Vec<f32>)>);
    impl<B: FusedOps> ModuleVisitor<B> for All {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.1.push((self.0.join("."), param.val().into_data().iter::<f32>().collect()));
        }
    }
    let mut all = All(Vec::new(), Vec::new());
    model.visit(&mut all);
    all.1
}
