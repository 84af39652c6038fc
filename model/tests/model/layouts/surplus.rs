//! Tensors that the model has no place for.

use super::{assert_loads_as, write};
use crate::fixture;
use crate::fp8::{self, Tensors, f32_bytes, stored};
use crate::heard::listen;

use burn_flex::Flex;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl};
use serde_json::json;
use tracing::Level;

/// Warnings of loading.
fn warnings_of(tensors: &Tensors) -> Vec<String> {
    let dir = write("tiny-dense", tensors);
    let load = || Qwen3Vl::<Flex>::load(dir.path(), &Default::default(), LoadOptions::default()).map(drop);
    let (result, warnings) = listen(Level::WARN, load);
    result.unwrap();
    warnings
}

/// Multi-token prediction, value heads, cache scales, a layer more: one warning, whatever their number, and the same
/// numbers. HF reports them as unexpected.
#[test]
fn surplus_tensors_are_passed_over_with_one_warning() {
    let plain = fp8::read_fixture("tiny-dense");
    assert_eq!(warnings_of(&plain), [""; 0]);
    let mut tensors = plain.clone();
    for (name, shape) in [
        ("mtp.fc.weight", &[64usize, 128][..]),
        ("mtp.norm.weight", &[64]),
        ("mtp.layers.0.self_attn.q_proj.weight", &[128, 64]),
        ("v_head.summary.weight", &[1, 64]),
        ("v_head.summary.bias", &[1]),
        ("score.weight", &[1, 64]),
        ("model.language_model.layers.0.self_attn.k_scale", &[1]),
        ("model.language_model.layers.0.self_attn.v_scale", &[]),
        ("model.language_model.layers.4.input_layernorm.weight", &[64]),
        ("step", &[]),
    ] {
        let values = f32_bytes(&vec![0.5; shape.iter().product()]);
        tensors.insert(name.into(), stored("F32", shape, values));
    }
    // Of any dtype: it is not read.
    tensors.insert("optimizer.step".into(), stored("I64", &[1], vec![0; 8]));
    let warnings = warnings_of(&tensors);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("11 surplus") && warnings[0].contains("mtp.fc.weight"), "{warnings:?}");
    assert_loads_as("tiny-dense", write("tiny-dense", &tensors).path());

    // What some tools save of a tied model is nothing to speak of.
    let mut tensors = plain;
    tensors.insert("lm_head.weight".into(), tensors["model.language_model.embed_tokens.weight"].clone());
    tensors.insert("model.language_model.rotary_emb.inv_freq".into(), stored("F32", &[16], f32_bytes(&[1.0; 16])));
    assert_eq!(warnings_of(&tensors), [""; 0]);
}

/// An FP8 checkpoint with an FP8 cache, as compressed-tensors writes it: its scales are passed over, and the weights
/// are those of the checkpoint without them.
#[test]
fn scales_of_an_fp8_cache_are_passed_over() {
    let quantization = |cache: bool| {
        let scheme =
            json!({ "num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": true, "dynamic": false });
        json!({
            "quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head", "re:.*visual.*"],
            "config_groups": { "group_0": { "targets": ["Linear"], "weights": {
                "num_bits": 8, "type": "float", "strategy": "block", "block_structure": [64, 64],
            } } },
            "kv_cache_scheme": if cache { scheme } else { json!(null) },
        })
    };
    let (mut tensors, _) = fp8::quantize_fixture("tiny-dense", [64, 64]);
    let without = fp8::write("tiny-dense", &tensors, Some(quantization(false)));
    for layer in 0..4 {
        for scale in ["k_scale", "v_scale"] {
            let name = format!("model.language_model.layers.{layer}.self_attn.{scale}");
            tensors.insert(name, stored("F32", &[1], f32_bytes(&[0.125])));
        }
    }
    let with = fp8::write("tiny-dense", &tensors, Some(quantization(true)));
    let case = fixture::Case::open("tiny-dense", "image");
    let logits = |dir: &tempfile::TempDir| super::logits_of(dir.path(), &case, LoadOptions::default()).unwrap();
    let (found, warnings) = listen(Level::WARN, || logits(&with));
    assert_eq!(found, logits(&without));
    assert!(warnings.len() == 1 && warnings[0].contains("8 surplus"), "{warnings:?}");
}
