//! Which tensor goes into which file of a checkpoint that is written.
//!
//! As HF does: tensors in their order, a new file where the next one would exceed the limit. A tensor that exceeds it
//! by itself has a file of its own.

use super::ExpectedTensor;
use super::index::SINGLE_NAME;
use serde_json::{Map, Value, json};

/// Files and what is in them.
#[derive(Debug)]
pub(super) struct ShardPlan {
    pub(super) shards: Vec<Shard>,
    /// Bytes of all tensors.
    pub(super) total_bytes: u64,
}

/// One file.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) name: String,
    pub(super) tensors: Vec<ExpectedTensor>,
}

impl ShardPlan {
    /// Spreads `tensors`, of `element_bytes` an element, over files of at most `shard_bytes`.
    pub(super) fn new(tensors: Vec<ExpectedTensor>, element_bytes: u64, shard_bytes: Option<u64>) -> Self {
        let limit = shard_bytes.unwrap_or(u64::MAX);
        let (mut files, mut in_file, mut total_bytes) = (vec![Vec::new()], 0, 0);
        for tensor in tensors {
            let bytes = tensor.shape.iter().map(|&size| size as u64).product::<u64>() * element_bytes;
            if in_file > 0 && in_file + bytes > limit {
                files.push(Vec::new());
                in_file = 0;
            }
            in_file += bytes;
            total_bytes += bytes;
            if let Some(file) = files.last_mut() {
                file.push(tensor);
            }
        }
        let count = files.len();
        let name = |number: usize| match count {
            1 => SINGLE_NAME.to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        let shards = files.into_iter().enumerate();
        Self { shards: shards.map(|(number, tensors)| Shard { name: name(number), tensors }).collect(), total_bytes }
    }

    /// `model.safetensors.index.json`; `None` for one file.
    pub(super) fn index_json(&self) -> Option<String> {
        if self.shards.len() == 1 {
            return None;
        }
        let entries = self.shards.iter().flat_map(|shard| {
            shard.tensors.iter().map(|tensor| (tensor.name.clone(), Value::String(shard.name.clone())))
        });
        let weight_map: Map<String, Value> = entries.collect();
        let index = json!({ "metadata": { "total_size": self.total_bytes }, "weight_map": weight_map });
        Some(format!("{index:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::expected_tensors;
    use crate::config::{Qwen3VlConfig, ReleasedSize};

    /// Small tensors share, a large one is alone, and order is kept.
    #[test]
    fn files_are_filled_up_to_the_limit() {
        let sizes = [3, 4, 3, 20, 1, 9, 1];
        let tensors = sizes.iter().enumerate().map(|(i, &n)| ExpectedTensor { name: i.to_string(), shape: vec![n] });
        let plan = ShardPlan::new(tensors.collect(), 2, Some(20));
        let files: Vec<Vec<&str>> =
            plan.shards.iter().map(|shard| shard.tensors.iter().map(|tensor| tensor.name.as_str()).collect()).collect();
        assert_eq!(files, [vec!["0", "1", "2"], vec!["3"], vec!["4", "5"], vec!["6"]]);
        assert_eq!(plan.total_bytes, 82);
        assert_eq!(plan.shards[1].name, "model-00002-of-00004.safetensors");
    }

    /// The largest released model in files of 5 GB, without writing it: 471 340 045 792 bytes of bf16.
    #[test]
    fn the_largest_model_is_spread() {
        let config = Qwen3VlConfig::released(ReleasedSize::B235A22);
        let limit = 5_000_000_000;
        let plan = ShardPlan::new(expected_tensors(&config), 2, Some(limit));
        assert_eq!(plan.total_bytes, 471_340_045_792);
        let bytes = |shard: &Shard| {
            let sizes = shard.tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>() as u64 * 2);
            sizes.sum::<u64>()
        };
        assert!(plan.shards.iter().all(|shard| bytes(shard) <= limit));
        assert_eq!(plan.shards.iter().map(|shard| shard.tensors.len()).sum::<usize>(), 1388);
        // A layer's experts take 3.2 and 1.6 GB: about one layer a file.
        assert!((94..=96).contains(&plan.shards.len()), "{}", plan.shards.len());
        let index: Value = serde_json::from_str(&plan.index_json().unwrap()).unwrap();
        assert_eq!(index["weight_map"].as_object().unwrap().len(), 1388);
    }
}
