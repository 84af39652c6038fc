//! Checkpoints with random weights in the released layout: for tests, benchmarks and examples where the real ones can't be had.

use super::{CheckpointError, expected_tensors};
use crate::config::Qwen3VlConfig;
use burn::tensor::DType;
use half::bf16;
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

/// Standard deviation of matrices: HF's `initializer_range`.
const DEVIATION: f32 = 0.02;

/// Numbers drawn once; tensors are windows of them, each from a place of its own.
const POOL: usize = 1 << 20;

/// Writes `config.json` and `model.safetensors` with random weights into `dir`, which is made if need be. Matrices are normal
/// with deviation 0.02, norm weights 1, biases 0; the same seed gives the same file.
///
/// `dtype` is f32 or bf16. One tensor is in memory at a time.
///
/// # Errors
/// [`CheckpointError::RandomDtype`] for another dtype, [`CheckpointError::Write`] where the disk does not take it,
/// [`CheckpointError::Exists`] where `dir` has a checkpoint: nothing is overwritten.
pub fn write_random(config: &Qwen3VlConfig, dir: impl AsRef<Path>, dtype: DType, seed: u64) -> crate::Result<()> {
    config.validate()?;
    let dir = dir.as_ref();
    let (weights, json) = (dir.join("model.safetensors"), dir.join("config.json"));
    for path in [&weights, &json] {
        if path.exists() {
            return Err(CheckpointError::Exists { path: path.clone() }.into());
        }
    }
    let dtype = match dtype {
        DType::F32 => Dtype::F32,
        DType::BF16 => Dtype::BF16,
        other => return Err(CheckpointError::RandomDtype { found: other }.into()),
    };
    let write = |path: &Path, error: std::io::Error| CheckpointError::Write { path: path.to_owned(), source: error };
    std::fs::create_dir_all(dir).map_err(|error| write(dir, error))?;
    std::fs::write(&json, config.to_hf_json()).map_err(|error| write(&json, error))?;

    let pool = draw_pool(seed);
    let tensors = expected_tensors(config).into_iter().map(|tensor| {
        let view = RandomTensor { name: tensor.name.clone(), shape: tensor.shape, dtype, pool: &pool };
        (tensor.name, view)
    });
    safetensors::serialize_to_file(tensors, None, &weights)
        .map_err(|error| write(&weights, std::io::Error::other(error.to_string())).into())
}

/// A tensor that is made when it is written.
struct RandomTensor<'a> {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    pool: &'a [f32],
}

impl RandomTensor<'_> {
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

impl View for RandomTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        match self.dtype {
            Dtype::BF16 => self.values().for_each(|x| bytes.extend_from_slice(&bf16::from_f32(x).to_le_bytes())),
            _ => self.values().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
        }
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
