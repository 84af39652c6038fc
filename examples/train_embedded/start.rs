//! The checkpoint that training begins with: configuration, tokenizer, settings, random weights.

use crate::vocabulary::Vocabulary;
use burn_tensor::DType;
use kiln_examples::Error;
use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::write_random;
use qwen3_vl_burn::config::{TextConfig, VisionConfig};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Tokens that are learnt beside the 26 special ones.
const TOKENS: usize = 2048;

/// Samples whose texts are read for them, at a scale of 1 and at least.
const SAMPLES: usize = 30_000;
const FEWEST: usize = 1000;

/// The longest conversation, tokens.
const CONTEXT: usize = 4096;

/// Sides of pictures are brought between these, pixels of a square.
const SIDES: [usize; 2] = [96, 256];

/// The model: 7.8 million parameters, 15.6 MB as bf16, with every part of the large ones.
///
/// The tower is as wide as a picture of a few things needs and sees 6 x 6 to 16 x 16 patches; half of the parameters
/// are the decoder's, whose work is to name what it sees at places that attention finds.
fn model(vocabulary: &Vocabulary) -> Qwen3VlConfig {
    let text = TextConfig::new(vocabulary.len(), 256, 576, 6, 4, 2, 64, [12, 10, 10], true)
        .with_eos_token_ids(vec![vocabulary.id("<|im_end|>")])
        .with_max_position_embeddings(CONTEXT);
    let vision = VisionConfig::new(6, 160, 480, 4, 256, vec![1, 3]).with_num_position_embeddings(256);
    let ids =
        ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"].map(|token| vocabulary.id(token));
    Qwen3VlConfig::new(text, vision, ids[0], ids[1], ids[2], ids[3])
}

/// Writes it into the new folder `dir`, whole or not at all; `scale` is that of the run.
///
/// # Errors
/// [`Error::File`] and [`Error::Model`] where the disk does not take it.
pub fn write(dir: &Path, seed: u64, scale: f64) -> Result<(), Error> {
    let part = dir.with_extension("part");
    let failed = |source| Error::File { path: part.clone(), source };
    // What is left of a start that was broken off.
    if part.exists() {
        fs::remove_dir_all(&part).map_err(failed)?;
    }
    fs::create_dir_all(&part).map_err(failed)?;
    write_files(&part, seed, scale)?;
    fs::rename(&part, dir).map_err(failed)
}

fn write_files(dir: &Path, seed: u64, scale: f64) -> Result<(), Error> {
    let samples = ((SAMPLES as f64 * scale.min(1.0)) as usize).max(FEWEST);
    let vocabulary = Vocabulary::learn(TOKENS, seed.wrapping_add(1 << 40), samples)
        .map_err(|error| Error::Vocabulary { reason: error.to_string() })?;
    write_random(&model(&vocabulary), dir, DType::F32, seed)?;
    let put = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|source| Error::File { path, source })
    };
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("plain data") + "\n";
    put(
        "tokenizer.json",
        vocabulary.tokenizer_json().map_err(|error| Error::Vocabulary { reason: error.to_string() })?,
    )?;
    put("tokenizer_config.json", pretty(&vocabulary.config_json()))?;
    put(
        "generation_config.json",
        pretty(&json!({
            "eos_token_id": [vocabulary.id("<|im_end|>"), vocabulary.id("<|endoftext|>")],
            "pad_token_id": vocabulary.id("<|endoftext|>"),
            "do_sample": false,
        })),
    )?;
    let pixels = SIDES.map(|side| side * side);
    let processor = |class: &str| {
        json!({
            "size": { "shortest_edge": pixels[0], "longest_edge": pixels[1] },
            "patch_size": 16,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "processor_class": "Qwen3VLProcessor",
            "image_processor_type": class,
        })
    };
    put("preprocessor_config.json", pretty(&processor("Qwen2VLImageProcessorFast")))?;
    let mut video = processor("Qwen2VLImageProcessorFast");
    let fields = video.as_object_mut().expect("an object");
    fields.remove("image_processor_type");
    fields.insert("video_processor_type".to_owned(), json!("Qwen3VLVideoProcessor"));
    // All frames of a video together.
    fields["size"] = json!({ "shortest_edge": pixels[0], "longest_edge": 8 * pixels[1] });
    put("video_preprocessor_config.json", pretty(&video))
}
