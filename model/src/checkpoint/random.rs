//! Checkpoints with random weights in the released layout: for tests, benchmarks and examples where the real ones can't
//! be had.

use super::index::{INDEX_NAME, SINGLE_NAME};
use super::shards::ShardPlan;
use super::{CheckpointError, LoadProgress, LoadStep, NoProgress, expected_tensors};
use crate::Result;
use crate::config::Qwen3VlConfig;
use burn::tensor::DType;
use half::bf16;
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

/// Standard deviation of matrices: HF's `initializer_range`.
const DEVIATION: f32 = 0.02;

/// Numbers drawn once; tensors are windows of them, each from a place of its own.
const POOL: usize = 1 << 20;

/// How [`write_random_with`] writes.
pub struct RandomOptions<'a> {
    /// Type of the weights: f32 or bf16.
    pub dtype: DType,
    /// The same seed gives the same tensors, however they are sharded.
    pub seed: u64,
    /// The most bytes of tensors in one file; `None`, all in one. A larger tensor has a file of its own.
    pub shard_bytes: Option<u64>,
    /// Is told of every tensor that is written.
    pub progress: Box<dyn LoadProgress + 'a>,
}

impl RandomOptions<'_> {
    /// One file, and nobody looks.
    pub fn new(dtype: DType, seed: u64) -> Self {
        Self { dtype, seed, shard_bytes: None, progress: Box::new(NoProgress) }
    }
}

/// [`write_random_with`] into one file.
///
/// # Errors
/// As there.
pub fn write_random(config: &Qwen3VlConfig, dir: impl AsRef<Path>, dtype: DType, seed: u64) -> Result<()> {
    write_random_with(config, dir, RandomOptions::new(dtype, seed))
}

/// Writes `config.json` and random weights into `dir`, which is made if need be: `model.safetensors`, or, where the
/// weights exceed `shard_bytes`, shards named as HF names them and `model.safetensors.index.json`. Matrices are normal
/// with deviation 0.02, norm weights 1, biases 0.
///
/// One tensor is in memory at a time. `config.json` is written last, so that a folder without it is known to be
/// unfinished.
///
/// # Errors
/// [`CheckpointError::RandomDtype`] for another dtype, [`CheckpointError::Write`] where the disk does not take it,
/// [`CheckpointError::Exists`] where `dir` has a checkpoint: nothing is overwritten.
pub fn write_random_with(config: &Qwen3VlConfig, dir: impl AsRef<Path>, options: RandomOptions<'_>) -> Result<()> {
    config.validate()?;
    let dir = dir.as_ref();
    let dtype = match options.dtype {
        DType::F32 => Dtype::F32,
        DType::BF16 => Dtype::BF16,
        other => return Err(CheckpointError::RandomDtype { found: other }.into()),
    };
    let plan = ShardPlan::new(expected_tensors(config), options.dtype.size() as u64, options.shard_bytes);
    let json = dir.join("config.json");
    let mut targets = vec![json.clone(), dir.join(SINGLE_NAME), dir.join(INDEX_NAME)];
    targets.extend(plan.shards.iter().map(|shard| dir.join(&shard.name)));
    // A link that leads nowhere counts: writing would follow it.
    if let Some(path) = targets.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(CheckpointError::Exists { path }.into());
    }
    let write = |path: &Path, error: std::io::Error| CheckpointError::Write { path: path.to_owned(), source: error };
    std::fs::create_dir_all(dir).map_err(|error| write(dir, error))?;

    let pool = draw_pool(options.seed);
    let told = RefCell::new(Told { progress: options.progress, done: 0, total: plan.total_bytes });
    for shard in &plan.shards {
        let path = dir.join(&shard.name);
        let tensors = shard.tensors.iter().map(|tensor| {
            let view = RandomTensor { name: &tensor.name, shape: &tensor.shape, dtype, pool: &pool, told: &told };
            (tensor.name.as_str(), view)
        });
        safetensors::serialize_to_file(tensors, None, &path)
            .map_err(|error| write(&path, std::io::Error::other(error.to_string())))?;
    }
    if let Some(index) = plan.index_json() {
        let path = dir.join(INDEX_NAME);
        std::fs::write(&path, index).map_err(|error| write(&path, error))?;
    }
    let mut config = config.clone();
    config.quantization = None;
    Ok(std::fs::write(&json, config.to_hf_json()).map_err(|error| write(&json, error))?)
}

/// Who is told how much is written.
struct Told<'a> {
    progress: Box<dyn LoadProgress + 'a>,
    done: u64,
    total: u64,
}

/// A tensor that is made when it is written.
struct RandomTensor<'a, 'o> {
    name: &'a str,
    shape: &'a [usize],
    dtype: Dtype,
    pool: &'a [f32],
    told: &'a RefCell<Told<'o>>,
}

impl RandomTensor<'_, '_> {
    /// The `i`-th values of the tensor, in order.
    fn values(&self) -> impl Iterator<Item = f32> + '_ {
        let matrix = self.shape.len() > 1;
        let constant = if self.name.ends_with("bias") { 0.0 } else { 1.0 };
        let mut hasher = DefaultHasher::new();
        self.name.hash(&mut hasher);
        let start = hasher.finish() as usize % POOL;
        let random = self.pool.iter().cycle().skip(start).copied();
        let len = self.shape.iter().product();
        random.map(move |x| if matrix { x } else { constant }).take(len)
    }
}

impl View for RandomTensor<'_, '_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        match self.dtype {
            Dtype::BF16 => self.values().for_each(|x| bytes.extend_from_slice(&bf16::from_f32(x).to_le_bytes())),
            _ => self.values().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
        }
        let mut told = self.told.borrow_mut();
        let told = &mut *told;
        told.done += bytes.len() as u64;
        told.progress.advance(LoadStep { done: told.done, total: told.total, tensor: self.name });
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        let size = if self.dtype == Dtype::BF16 { 2 } else { 4 };
        self.shape.iter().product::<usize>() * size
    }
}

/// Normal numbers, by the sum of four uniform ones: close enough for weights, and four generator steps each.
fn draw_pool(seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    // Four uniforms of width 1 have the variance 4/12.
    let scale = DEVIATION * 3f32.sqrt();
    (0..POOL).map(|_| scale * (uniform() + uniform() + uniform() + uniform())).collect()
}
