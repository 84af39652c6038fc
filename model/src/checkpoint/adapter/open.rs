//! Reading an adapter's folder, and comparing it with the model.

use super::names::{AdapterName, Side, read_name};
use super::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter, AdapterConfig, AdapterError, LoraPair, is_adaptable};
use crate::Result;
use crate::checkpoint::convert::{Float, convert};
use crate::checkpoint::header::{TensorEntry, read_header};
use crate::checkpoint::mapping::MappedFile;
use crate::checkpoint::{CheckpointError, ExpectedTensor};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::path::Path;

/// Tensors that an error names.
const NAMED: usize = 3;

/// What the names of an adapter's modules look like.
const MODULES: &str = "expected base_model.model.model.{language_model.layers.N.{self_attn.{q,k,v,o}_proj, \
                       mlp.{gate,up,down}_proj}, visual.{blocks.N.{attn.{qkv,proj}, mlp.linear_fc{1,2}}, \
                       merger.linear_fc{1,2}, ..}}.lora_{A,B}.weight of this model's layers";

/// A tensor, and what its name says of it.
struct Matrix {
    entry: TensorEntry,
    name: AdapterName,
}

impl Adapter {
    /// Reads the adapter in the folder `dir`.
    ///
    /// # Errors
    /// [`AdapterError`] for settings ([`AdapterConfig::from_dir`]) and tensors that are not those of a LoRA adapter;
    /// [`CheckpointError`] for a damaged file.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let config = AdapterConfig::from_dir(dir)?;
        let path = dir.join(ADAPTER_WEIGHTS);
        if path.symlink_metadata().is_err() {
            let pickle = dir.join("adapter_model.bin");
            return Err(match pickle.symlink_metadata() {
                Ok(_) => AdapterError::Pickle { file: pickle },
                Err(_) => AdapterError::NoWeights { dir: dir.to_owned() },
            }
            .into());
        }
        let file = MappedFile::open(path)?;
        let entries = read_header(file.path(), file.content())?;
        let (all, mut left) = (entries.len(), Vec::new());
        let mut matrices = Vec::new();
        for entry in entries {
            match read_name(&entry.name) {
                Some(name) => matrices.push(Matrix { entry, name }),
                None => left.push(entry.name),
            }
        }
        if !left.is_empty() || all == 0 {
            let count = left.len();
            return Err(no_module(dir, left, [count, all]).into());
        }
        let pairs = read_pairs(&file, matrices, &config)?;
        Ok(Self { dir: dir.to_owned(), config, pairs })
    }

    /// Compares it with the tensors of the model that it is for.
    ///
    /// # Errors
    /// [`AdapterError::NoModule`], [`AdapterError::Shape`], [`AdapterError::TiedHead`].
    pub fn check(&self, expected: &[ExpectedTensor]) -> Result<(), AdapterError> {
        let weights: BTreeMap<&str, &[usize]> = expected
            .iter()
            .filter_map(|tensor| Some((tensor.name.strip_suffix(".weight")?, &*tensor.shape)))
            .filter(|(module, shape)| shape.len() > 1 && is_adaptable(module))
            .collect();
        if self.pair("lm_head").is_some() && !weights.contains_key("lm_head") {
            return Err(AdapterError::TiedHead { dir: self.dir.clone() });
        }
        let strangers = self.pairs.keys().filter(|module| !weights.contains_key(module.as_str()));
        let strangers: Vec<String> = strangers.cloned().collect();
        if !strangers.is_empty() {
            // Two tensors each.
            let counts = [2 * strangers.len(), 2 * self.pairs.len()];
            return Err(no_module(&self.dir, strangers, counts));
        }
        for (module, pair) in &self.pairs {
            let weight = weights.get(module.as_str()).copied().unwrap_or_default();
            let (inputs, outputs) = (pair.inputs, pair.outputs);
            if [outputs, inputs] != [weight[0], weight[1..].iter().product()] {
                let (dir, module, weight) = (self.dir.clone(), module.clone(), weight.to_vec());
                return Err(AdapterError::Shape { dir, module, inputs, outputs, weight });
            }
        }
        Ok(())
    }
}

/// The error for tensors without a module: their names, or those of the modules that they are for; how many they are,
/// and how many there are.
fn no_module(dir: &Path, names: Vec<String>, [left, all]: [usize; 2]) -> AdapterError {
    let examples = names.into_iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    AdapterError::NoModule { dir: dir.to_owned(), left, all, examples, expected: MODULES }
}

/// The two matrices of each module.
fn read_pairs(file: &MappedFile, matrices: Vec<Matrix>, config: &AdapterConfig) -> Result<BTreeMap<String, LoraPair>> {
    let mut sides: [BTreeMap<String, Matrix>; 2] = Default::default();
    for matrix in matrices {
        let side = &mut sides[usize::from(matrix.name.side == Side::B)];
        match side.entry(matrix.name.module.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(matrix);
            }
            Slot::Occupied(slot) => {
                let (first, second) = (slot.get().entry.name.clone(), matrix.entry.name);
                let (file, module) = (file.path().to_owned(), slot.key().clone());
                return Err(AdapterError::Twice { file, module, first, second }.into());
            }
        }
    }
    let [mut a_side, b_side] = sides;
    let half =
        |module: &str, missing| AdapterError::Half { file: file.path().to_owned(), module: module.to_owned(), missing };
    let settings = file.path().with_file_name(ADAPTER_CONFIG);
    let pattern = |source| AdapterError::Pattern { file: settings.clone(), source };
    let mut pairs = BTreeMap::new();
    for (module, b) in b_side {
        let a = a_side.remove(&module).ok_or_else(|| half(&module, "lora_A"))?;
        let ([rank, inputs], [outputs, columns]) = (size(file, &a)?, size(file, &b)?);
        let (expected, scale) = config.rank_and_scale(&a.name.stored_module).map_err(pattern)?;
        if [rank, columns] != [expected; 2] {
            let file = file.path().to_owned();
            return Err(AdapterError::Ranks { file, module, a: rank, b: columns, expected }.into());
        }
        let (a, b) = (read_values(file, &a)?, read_values(file, &b)?);
        pairs.insert(module, LoraPair { a, b, rank, inputs, outputs, scale });
    }
    match a_side.into_keys().next() {
        Some(module) => Err(half(&module, "lora_B").into()),
        None => Ok(pairs),
    }
}

/// Rows and columns. A convolution's kernel is one row; its second matrix is one with a kernel of size 1.
fn size(file: &MappedFile, matrix: &Matrix) -> Result<[usize; 2], AdapterError> {
    let shape = &matrix.entry.shape;
    let size = match shape[..] {
        [rows, columns] => Some([rows, columns]),
        [rows, ref kernel @ ..] if kernel.len() == 4 => Some([rows, kernel.iter().product()]),
        _ => None,
    };
    size.filter(|size| !size.contains(&0)).ok_or_else(|| AdapterError::Tensor {
        file: file.path().to_owned(),
        tensor: matrix.entry.name.clone(),
        found: shape.clone(),
        expected: if matrix.name.side == Side::A { "[rank, inputs]" } else { "[outputs, rank]" },
    })
}

fn read_values(file: &MappedFile, matrix: &Matrix) -> Result<Vec<f32>> {
    let TensorEntry { name, dtype, range, .. } = &matrix.entry;
    let from = match dtype {
        Dtype::F32 => Float::F32,
        Dtype::BF16 => Float::BF16,
        Dtype::F16 => Float::F16,
        other => {
            let (tensor, file) = (name.clone(), file.path().to_owned());
            return Err(CheckpointError::StoredDtype { tensor, file, found: other.to_string() }.into());
        }
    };
    let bytes = &file.content()[range.clone()];
    let not_finite = |index: usize, value: f32| AdapterError::NotFinite {
        file: file.path().to_owned(),
        tensor: name.clone(),
        index,
        value,
    };
    // To f32 nothing is lost.
    let values = convert(bytes, from, Float::F32).map_err(|lost| not_finite(lost.index, lost.value))?;
    let values: Vec<f32> = bytemuck::cast_slice(&values[..]).to_vec();
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(not_finite(index, values[index]).into()),
        None => Ok(values),
    }
}
