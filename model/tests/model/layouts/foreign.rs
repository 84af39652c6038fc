//! Checkpoints that are not read, and are known.

use super::{copy_config, load_error, rename, write};
use crate::files::folder_with;
use crate::fp8::{self, Stored, f32_bytes, stored};

use qwen3_vl_burn::checkpoint::{CheckpointError, ForeignFormat};
use qwen3_vl_burn::{Error, Qwen3VlProcessor};
use std::fs;
use std::path::Path;

#[track_caller]
fn assert_foreign(dir: &Path, expected: ForeignFormat, words: &[&str]) {
    let error = load_error(dir);
    let CheckpointError::Foreign { format, dir: named } = &error else { panic!("{error:?}") };
    assert_eq!((*format, &**named), (expected, dir));
    let message = error.to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

/// MLX's names.
fn mlx_name(name: &str) -> Option<String> {
    let text = name.strip_prefix("model.language_model.").map(|rest| format!("language_model.model.{rest}"));
    text.or_else(|| Some(format!("vision_tower.{}", name.strip_prefix("model.visual.")?)))
}

/// `[out, in, t, h, w]` to `[out, t, h, w, in]`.
fn put_channels_last(patches: &mut Stored) {
    let [out, channels, t, h, w] = patches.shape[..] else { panic!("{:?}", patches.shape) };
    let place = t * h * w;
    let mut moved = Vec::with_capacity(patches.bytes.len());
    for at in 0..out * place * channels {
        let (kernel, place_at, channel) = (at / (place * channels), at / channels % place, at % channels);
        let from = (kernel * channels + channel) * place + place_at;
        moved.extend_from_slice(&patches.bytes[4 * from..][..4]);
    }
    (patches.shape, patches.bytes) = (vec![out, t, h, w, channels], moved);
}

/// With the patch convolution as MLX has it, as HF has it, and quantised. HF would make random weights.
#[test]
fn mlx_is_named() {
    let mut tensors = rename("tiny-dense", mlx_name);
    let format = |channels_last, quantized| ForeignFormat::Mlx { channels_last, quantized };
    assert_foreign(write("tiny-dense", &tensors).path(), format(false, false), &["MLX", "[out, in, t, h, w]"]);
    put_channels_last(tensors.get_mut("vision_tower.patch_embed.proj.weight").unwrap());
    assert_foreign(write("tiny-dense", &tensors).path(), format(true, false), &["MLX", "[out, t, h, w, in]"]);
    let packed = "language_model.model.layers.0.mlp.up_proj";
    tensors.insert(format!("{packed}.weight"), stored("U32", &[160, 8], vec![0; 5120]));
    tensors.insert(format!("{packed}.scales"), stored("F32", &[160, 1], vec![0; 640]));
    tensors.insert(format!("{packed}.biases"), stored("F32", &[160, 1], vec![0; 640]));
    assert_foreign(write("tiny-dense", &tensors).path(), format(true, true), &["MLX", "packed to integers"]);

    // Released names, MLX's convolution.
    let mut tensors = fp8::read_fixture("tiny-dense");
    put_channels_last(tensors.get_mut("model.visual.patch_embed.proj.weight").unwrap());
    assert_foreign(write("tiny-dense", &tensors).path(), format(true, false), &["MLX"]);
}

/// A PEFT model's own state, with the base model's weights in it: under a prefix, and where adapters were injected.
#[test]
fn unmerged_adapters_are_named() {
    const WORDS: [&str; 3] = ["PEFT", "adapter", "merge_and_unload"];
    let adapted = |name: &str| name.ends_with("self_attn.q_proj.weight");
    for prefix in ["base_model.model.", ""] {
        let base = |name: &str| {
            let name = if adapted(name) { name.replace(".weight", ".base_layer.weight") } else { name.to_owned() };
            Some(format!("{prefix}{name}"))
        };
        let mut tensors = rename("tiny-dense", base);
        for layer in 0..4 {
            for (matrix, shape) in [("lora_A", [4, 64]), ("lora_B", [128, 4])] {
                let name =
                    format!("{prefix}model.language_model.layers.{layer}.self_attn.q_proj.{matrix}.default.weight");
                tensors.insert(name, stored("F32", &shape, f32_bytes(&vec![0.0; shape[0] * shape[1]])));
            }
        }
        assert_foreign(write("tiny-dense", &tensors).path(), ForeignFormat::UnmergedAdapter, &WORDS);
    }
    // All weights, and adapters beside them: to pass them over would be another model.
    let mut tensors = fp8::read_fixture("tiny-dense");
    let name = "model.visual.blocks.0.attn.qkv.lora_A.weight";
    tensors.insert(name.into(), stored("F32", &[4, 48], f32_bytes(&[0.0; 192])));
    assert_foreign(write("tiny-dense", &tensors).path(), ForeignFormat::UnmergedAdapter, &WORDS);
}

/// An adapter's folder, with a configuration of the base model or without; with a tokenizer or without.
#[test]
fn adapter_folders_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let weights = folder_with(&crate::files::file_of(
        &[(
            "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight",
            "F32",
            &[4, 64],
            &[0; 1024],
        )],
        0,
    ));
    fs::copy(weights.path().join("model.safetensors"), dir.path().join("adapter_model.safetensors")).unwrap();
    let settings = r#"{"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3-VL-2B-Instruct", "r": 4}"#;
    fs::write(dir.path().join("adapter_config.json"), settings).unwrap();
    for _ in 0..2 {
        assert_foreign(dir.path(), ForeignFormat::Adapter, &["adapter", "base model", "merge"]);
        let error = Qwen3VlProcessor::load(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, Error::Checkpoint(CheckpointError::Foreign { .. })), "{error:?}");
        copy_config("tiny-dense", dir.path());
    }
    // Beside a whole model it is only spoken of.
    let tensors = fp8::read_fixture("tiny-dense");
    let whole = write("tiny-dense", &tensors);
    fs::write(whole.path().join("adapter_config.json"), settings).unwrap();
    let (_, warnings) =
        crate::heard::listen(tracing::Level::WARN, || super::assert_loads_as("tiny-dense", whole.path()));
    assert!(warnings.iter().any(|warning| warning.contains("adapter")), "{warnings:?}");
}
