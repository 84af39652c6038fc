//! Heads that are normed, rotated and placed, and attention over them.

use super::case::{
    Cases,
    Kind::{Streaming, Tiled},
    allocate, name,
};
use burn_kiln_fusion::cube::{
    Angles, AttentionInputs, AttentionOutputs, AttentionRules, AttentionStrategy, HeadInputs, Placement, Strategy,
    launch_attention, place_heads,
};
use burn_std::{
    BoolStore,
    DType::{self, BF16, F16, F32, U32},
};

/// Head dims of the models: the text of Qwen3-VL (128), its vision towers (64, 72), and 80.
const HEAD_DIMS: [usize; 4] = [64, 72, 80, 128];

pub fn add(cases: &mut Cases) {
    for d in HEAD_DIMS {
        for cache in [F32, F16, BF16] {
            add_heads(cases, d, cache);
            for (heads, kv_heads, queries) in [(16, 8, 1), (16, 8, 8), (16, 8, 512), (16, 16, 512)] {
                add_attention(cases, d, cache, [heads, kv_heads, queries]);
            }
        }
    }
}

/// Queries, keys and values of one token, the latter two to a cache.
fn add_heads(cases: &mut Cases, d: usize, cache: DType) {
    let (q, k, gamma) = (allocate(&[1, 16, 1, d], F32), allocate(&[1, 8, 1, d], F32), allocate(&[d], F32));
    let (to_q, to_k, to_v) =
        (allocate(&[1, 16, 1, d], F32), allocate(&[1, 8, 1024, d], cache), allocate(&[1, 8, 1024, d], cache));
    let (cos, sin) = (allocate(&[1, 1, d / 2], F32), allocate(&[1, 1, d / 2], F32));
    let placements = [
        Placement { x: &q, gamma: Some(&gamma), to: &to_q },
        Placement { x: &k, gamma: Some(&gamma), to: &to_k },
        Placement { x: &k, gamma: None, to: &to_v },
    ];
    let angles = Angles { cos: &cos, sin: &sin };
    let inputs = HeadInputs { placements: &placements, angles, epsilon: 1e-6, positions: 0..1, start: 1000 };
    cases.add(format!("heads of {d} to {}", name(cache)), Streaming, || {
        place_heads(&inputs, Strategy::Auto).unwrap();
    });
}

/// Causal attention over 1,024 keys; for heads of 128 also behind a mask.
fn add_attention(cases: &mut Cases, d: usize, cache: DType, [heads, kv_heads, queries]: [usize; 3]) {
    let (q, out) = (allocate(&[1, heads, queries, d], F32), allocate(&[1, heads, queries, d], F32));
    let (k, v) = (allocate(&[1, kv_heads, 1024, d], cache), allocate(&[1, kv_heads, 1024, d], cache));
    let mut mask = allocate(&[1, 1, queries, 1024], U32);
    mask.dtype = DType::Bool(BoolStore::U32);
    for mask in [None, Some(&mask)].into_iter().take(if d == 128 { 2 } else { 1 }) {
        let hidden = if mask.is_some() { ", mask" } else { "" };
        let case = format!("attention {heads}/{kv_heads} x {queries} of {d}, {}{hidden}", name(cache));
        let inputs = AttentionInputs { q: &q, k: &k, v: &v, mask, bias: None };
        let rules = AttentionRules { scale: 0.1, causal: true, softcap: None, segments: None };
        cases.add(case, Tiled, || {
            let outputs = AttentionOutputs { out: &out, start: 0, lse: None };
            launch_attention(&inputs, &rules, &outputs, AttentionStrategy::Auto).unwrap();
        });
    }
}
