//! Attention, alone and from projections.

use crate::{B, alone, explain, for_configs, ones, random};
use burn::tensor::DType;
use burn_kiln::routes::{Route, count};
use burn_kiln::{AttentionShape, OpShape};
use burn_kiln_fusion::{
    AttentionInputs, AttentionOptions, FusedOps, HeadNorms, KernelConfig, KvCache, Rotary, RotaryInputs,
};
use kiln_kernels::probe::{self, Probe};

fn shape([queries, keys]: [usize; 2], [heads, kv_heads]: [usize; 2], cache: DType) -> AttentionShape {
    AttentionShape { queries, keys, heads, kv_heads, head_dim: 32, cache, causal: true }
}

/// A pass of the op as a decoder layer calls it, behind the keys that are in the cache.
fn attend_with_cache(shape: &AttentionShape, config: &KernelConfig) {
    let &AttentionShape { queries, keys, heads, kv_heads, head_dim: d, cache: dtype, causal } = shape;
    let mut cache = KvCache::new(keys, dtype);
    if keys > queries {
        let before = || random([1, kv_heads, keys - queries, d]);
        cache.append(before(), before()).expect("the cache has room");
    }
    let rotary = Rotary { cos: random([1, queries, d / 2]), sin: random([1, queries, d / 2]) };
    let norms = Some(HeadNorms { q_gamma: ones(d), k_gamma: ones(d), epsilon: 1e-6 });
    let [q, k, v] = [heads, kv_heads, kv_heads].map(|heads| random([1, queries, heads * d]));
    let inputs = RotaryInputs { q, k, v, head_dim: d, norms, rotary: &rotary, lengths: &[queries] };
    let options = AttentionOptions { causal, ..Default::default() };
    drop(B::attention_rotary(inputs, &options, vec![&mut cache], config));
}

/// The tiles that ran last, as they are told.
fn last_tiles() -> String {
    format!("{} x {} tiles", probe::last(Probe::AttentionRows), probe::last(Probe::AttentionKeys))
}

#[test]
fn attention_of_a_layer_is_told() {
    let _turn = alone();
    for_configs(|name, config| {
        for lengths in [[1, 1], [1, 40], [3, 3], [70, 70], [5, 200], [1, 3000]] {
            for (heads, dtype) in [([4, 2], DType::F32), ([4, 4], DType::BF16), ([8, 1], DType::F16)] {
                let shape = shape(lengths, heads, dtype);
                let told = explain(&OpShape::Attention(shape), config);
                let heads_told = explain(&OpShape::Heads(shape), config);
                let before = [Route::AttentionRotary, Route::Attention].map(count);
                attend_with_cache(&shape, config);
                let after = [Route::AttentionRotary, Route::Attention].map(count);
                let [rotary, alone] = [0, 1].map(|i| after[i] > before[i]);
                let case = format!("{name}, {shape:?}: {told}; {heads_told}");
                assert_eq!(told.contains("as one op"), rotary, "{case}");
                assert_eq!(heads_told == "part of the attention's op", rotary, "{case}");
                assert_eq!(told.starts_with("tiled attention"), alone, "{case}");
                assert_eq!(told.contains("tiles"), rotary || alone, "{case}");
                assert!(!(rotary || alone) || told.contains(&last_tiles()), "{case}, not {}", last_tiles());
            }
        }
    });
}

/// Whether keys are shared out, and by how many threads, is told.
#[test]
fn splits_of_keys_are_told() {
    let _turn = alone();
    for_configs(|name, config| {
        let mut config = config.clone();
        // Attention alone, so that only its threads are seen.
        config.fusion.qk_norm_rope = false;
        for lengths in [[1, 100], [1, 3000], [1, 20_000], [4, 3000], [64, 3000]] {
            let shape = shape(lengths, [4, 1], DType::F32);
            let told = explain(&OpShape::Attention(shape), &config);
            let [queries, keys] = lengths;
            let k = random([1, 1, keys, 32]);
            let inputs = AttentionInputs { q: random([1, 4, queries, 32]), k: k.clone(), v: k };
            let before = [Probe::KeySplits, Probe::Threads].map(probe::count);
            let tiled = crate::runs(Route::Attention, || {
                drop(<B as FusedOps>::attention(inputs, &AttentionOptions::default(), None, &config));
            });
            let case = format!("{name}, {shape:?}: {told}");
            assert_eq!(told.starts_with("tiled attention"), tiled > 0, "{case}");
            if tiled > 0 {
                let [splits, threads] = [Probe::KeySplits, Probe::Threads].map(probe::count);
                assert_eq!(told.contains("parts"), splits > before[0], "{case}");
                assert_eq!(told.ends_with(" 1 thread"), threads == before[1], "{case}");
            }
        }
    });
}
