//! Gives the lazy parameters of a module the tensors of a checkpoint, by their paths.

use crate::Result;
use crate::checkpoint::{Checkpoint, StoredBytes};
use crate::config::Qwen3VlConfig;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};

/// Path of the one parameter that is held in another shape than it is stored in.
const PATCH_EMBED: &str = "visual.patch_embed.proj.weight";

/// The convolution's stored shape: `[hidden, channels, frames, side, side]`.
fn patch_shape(config: &Qwen3VlConfig) -> [usize; 5] {
    let vision = &config.vision;
    let side = vision.patch_size;
    [vision.hidden_size, vision.in_channels, vision.temporal_patch_size, side, side]
}

/// Where a parameter's path in the module differs from its name in the checkpoint, and why. All other parts are the
/// same: the fields carry HF's names.
const RENAMED: [(&str, &str, &str); 4] = [
    ("visual.", "model.visual.", "HF nests both towers in a base model, and puts the head beside it"),
    ("language_model.", "model.language_model.", "as above"),
    (".mlp.Dense.", ".mlp.", "Burn puts the variant of an enum into the path"),
    (".mlp.Sparse.", ".mlp.", "as above"),
];

/// The checkpoint's name of the parameter or layer at `path` in a [`Qwen3Vl`](crate::Qwen3Vl): the names of modules from a
/// visitor, joined by dots.
pub fn checkpoint_name(path: &str) -> String {
    RENAMED.iter().fold(path.to_owned(), |name, (module, stored, _reason)| {
        if module.starts_with('.') {
            name.replacen(module, stored, 1)
        } else {
            name.strip_prefix(module).map_or(name.clone(), |rest| format!("{stored}{rest}"))
        }
    })
}

/// Where a module's tensors come from.
pub(crate) struct WeightSource<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    /// Their bytes: the checkpoint's mapping, or what was read of it.
    pub(crate) bytes: &'a dyn StoredBytes,
    /// The wanted dtype of matrices; `None`, the stored one.
    pub(crate) dtype: Option<DType>,
    pub(crate) config: &'a Qwen3VlConfig,
}

impl WeightSource<'_> {
    /// Gives each parameter of `module`, which stands at `path` in the model, its tensor; `tell` hears of each.
    /// Parameters without an element are left alone.
    pub(crate) fn fill<B: Backend, M: Module<B>>(
        &self,
        module: M,
        path: &str,
        device: &B::Device,
        tell: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<M> {
        let path = if path.is_empty() { Vec::new() } else { vec![path.to_owned()] };
        let mut filler = Filler::<B> { source: self, device, tell, path, outcome: Ok(()) };
        let module = module.map(&mut filler);
        filler.outcome.map(|()| module)
    }
}

/// The dtype that a tensor of `rank` dimensions is wanted in: norms and biases are always f32.
pub(crate) fn wanted_dtype(rank: usize, matrices: Option<DType>) -> Option<DType> {
    if rank == 1 { Some(DType::F32) } else { matrices }
}

/// Gives each parameter its tensor.
///
/// Never reads a parameter: reading a lazy one runs its initialiser. After an error the rest stays lazy.
struct Filler<'a, B: Backend> {
    source: &'a WeightSource<'a>,
    device: &'a B::Device,
    tell: &'a mut dyn FnMut(&str) -> Result<()>,
    path: Vec<String>,
    outcome: Result<()>,
}

impl<B: Backend> Filler<'_, B> {
    /// The tensor of the parameter at `path`, of shape `shape`.
    fn read<const D: usize>(&mut self, path: &str, shape: [usize; D]) -> Result<Tensor<B, D>> {
        let WeightSource { checkpoint, bytes, dtype, config } = self.source;
        let name = checkpoint_name(path);
        let dtype = wanted_dtype(D, *dtype);
        let tensor = if path == PATCH_EMBED {
            let stored = patch_shape(config);
            checkpoint.tensor_from::<B, 5>(*bytes, &name, stored, dtype, self.device)?.reshape(shape)
        } else {
            checkpoint.tensor_from(*bytes, &name, shape, dtype, self.device)?
        };
        (self.tell)(&name)?;
        Ok(tensor)
    }
}

impl<B: Backend> ModuleMapper<B> for Filler<'_, B> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let shape = param.lazy_shape();
        if self.outcome.is_err() || shape.num_elements() == 0 {
            return param;
        }
        let path = self.path.join(".");
        match self.read(&path, shape.dims()) {
            Ok(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.outcome = Err(error);
                param
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::expected_tensors;
    use burn::module::ModuleVisitor;
    use burn_flex::Flex;
    use std::collections::BTreeMap;

    /// Collects names and shapes, without reading a parameter.
    #[derive(Default)]
    struct Lister {
        path: Vec<String>,
        found: BTreeMap<String, Vec<usize>>,
    }

    impl ModuleVisitor<Flex> for Lister {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Flex, D>>) {
            assert!(!param.is_initialized(), "{}", self.path.join("."));
            let path = self.path.join(".");
            self.found.insert(checkpoint_name(&path), param.lazy_shape().to_vec());
        }
    }

    /// The released 2B and 30B-A3B sizes, a tied and an untied head, dense and sparse layers: each parameter has the
    /// name and size of a tensor of the checkpoint, none is left over, and none is allocated.
    #[test]
    fn every_parameter_has_its_tensor() {
        for mixture in [false, true] {
            let config = released_config(mixture);
            let mut lister = Lister::default();
            config.init::<Flex>(&Default::default()).visit(&mut lister);
            let mut expected: BTreeMap<_, _> =
                expected_tensors(&config).into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
            let patches = expected.get_mut("model.visual.patch_embed.proj.weight").unwrap();
            *patches = vec![patches[0], patches[1..].iter().product()];
            assert_eq!(lister.found, expected);
        }
    }

    fn released_config(mixture: bool) -> Qwen3VlConfig {
        use crate::config::{MoeConfig, TextConfig, VisionConfig};
        let mut text = TextConfig::new(151_936, 2048, 6144, 28, 16, 8, 128, [24, 20, 20], !mixture);
        if mixture {
            text.moe = Some(MoeConfig::new(128, 8, 768).with_mlp_only_layers(vec![3]));
        }
        let vision = VisionConfig::new(24, 1024, 4096, 16, 2048, vec![5, 11, 17]);
        Qwen3VlConfig::new(text, vision, 151_655, 151_656, 151_652, 151_653)
    }
}
