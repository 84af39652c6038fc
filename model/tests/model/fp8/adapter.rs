//! Adapters of FP8 checkpoints: dequantised and merged in f32, rounded once.

use super::{f32_bytes, fp8_json, quantize_fixture, round_to_bf16, write};
use crate::files::{Raw, file_of};

use burn::tensor::DType;
use burn_flex::Flex;
use qwen3_vl_burn::checkpoint::{AdapterError, MergedCheckpoint};
use qwen3_vl_burn::{Error, LoadOptions, Qwen3Vl};
use std::fs;
use std::path::Path;

/// An adapter of the first layer's `gate_proj`, `[160, 64]`.
fn adapter() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let settings = r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": ["gate_proj"]}"#;
    fs::write(dir.path().join("adapter_config.json"), settings).unwrap();
    let module = "base_model.model.model.language_model.layers.0.mlp.gate_proj";
    let (a, b) = (format!("{module}.lora_A.weight"), format!("{module}.lora_B.weight"));
    let values = |count: usize| f32_bytes(&(0..count).map(|i| ((i * 7 % 23) as f32 - 11.0) / 50.0).collect::<Vec<_>>());
    let (a_bytes, b_bytes) = (values(128), values(320));
    let raw: [Raw; 2] = [(&a, "F32", &[2, 64], &a_bytes), (&b, "F32", &[160, 2], &b_bytes)];
    fs::write(dir.path().join("adapter_model.safetensors"), file_of(&raw, 0)).unwrap();
    dir
}

fn gate(dir: &Path, options: LoadOptions<'_>) -> Vec<f32> {
    let model = Qwen3Vl::<Flex>::load(dir, &Default::default(), options).unwrap();
    let qwen3_vl_burn::text::Mlp::Dense(mlp) = &model.language_model.layers[0].mlp else { panic!() };
    mlp.gate_proj.weight.val().into_data().iter::<f32>().collect()
}

#[test]
fn dequantised_weights_are_merged_in_f32() {
    let (quantized, plain) = quantize_fixture("tiny-dense", [32, 32]);
    let quantized = write("tiny-dense", &quantized, Some(fp8_json(Some([32, 32]))));
    let plain = write("tiny-dense", &plain, None);
    let adapter = adapter();
    let f32s = || LoadOptions::default().with_dtype(DType::F32);
    let base = gate(plain.path(), f32s());
    let expected = gate(plain.path(), f32s().with_adapter(adapter.path()));
    assert_ne!(base, expected);
    assert_eq!(gate(quantized.path(), f32s().with_adapter(adapter.path())), expected);
    let bf16s = gate(quantized.path(), LoadOptions::default().with_adapter(adapter.path()));
    let once: Vec<f32> = expected.iter().map(|&x| f32::from_bits(u32::from(round_to_bf16(x)) << 16)).collect();
    assert_eq!(bf16s, once);
}

#[test]
fn merged_weights_cannot_be_written_as_fp8() {
    let (quantized, _) = quantize_fixture("tiny-dense", [32, 32]);
    let quantized = write("tiny-dense", &quantized, Some(fp8_json(Some([32, 32]))));
    let out = tempfile::tempdir().unwrap();
    let merge = MergedCheckpoint::prepare(quantized.path(), adapter().path(), out.path().join("merged"));
    let error = merge.map(drop).unwrap_err();
    assert!(matches!(error, Error::Adapter(AdapterError::MergeFp8 { .. })), "{error:?}");
    assert!(error.to_string().contains("layers.0.mlp.gate_proj.weight"), "{error}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
