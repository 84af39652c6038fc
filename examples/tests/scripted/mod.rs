//! A checkpoint whose answers are known: each token is followed by the one that a script names.
//!
//! Every layer adds zeros, so that the row of a token stays its embedding; the head maps the embedding of each scripted
//! token to its successor. What programs make of an answer (boxes, thoughts, ends) can so be tested without a real
//! model.

use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::expected_tensors;
use qwen3_vl_burn::config::{TextConfig, VisionConfig};
use qwen3_vl_burn::prompt::{CHAT_TOKENS, byte_level_tokenizer};
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

const VOCAB: usize = 320;
const HIDDEN: usize = 64;
/// Ids of [`CHAT_TOKENS`].
const END: u32 = 2;
const VISION: [u32; 4] = [3, 4, 5, 6];
/// The first id of a scripted token.
const FIRST: u32 = 7;

/// Writes a checkpoint that answers every prompt with `words`, each one token, and then ends.
#[allow(dead_code)] // as below
pub fn write(dir: &Path, words: &[&str]) {
    write_chain(dir, words, END);
}

/// Writes a checkpoint that answers every prompt with `word`, for ever.
#[allow(dead_code)] // not every test binary needs it
pub fn write_endless(dir: &Path, word: &str) {
    write_chain(dir, &[word], FIRST);
}

/// `last` follows the last word.
fn write_chain(dir: &Path, words: &[&str], last: u32) {
    let text = TextConfig::new(VOCAB, HIDDEN, 32, 1, 2, 1, 32, [6, 5, 5], false).with_eos_token_ids(vec![END]);
    let vision = VisionConfig::new(1, 32, 32, 2, HIDDEN, vec![0]).with_num_position_embeddings(16);
    let [start, end, image, video] = VISION;
    let config = Qwen3VlConfig::new(text, vision, image, video, start, end);
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    write("config.json", config.to_hf_json().to_string().as_bytes());
    write("preprocessor_config.json", br#"{"size": {"shortest_edge": 4096, "longest_edge": 16384}}"#);

    let mut tokens: Vec<(&str, u32)> = CHAT_TOKENS.into_iter().zip(0..).collect();
    tokens.extend(words.iter().copied().zip(FIRST..));
    let mut tokenizer: serde_json::Value =
        serde_json::from_str(&byte_level_tokenizer(VOCAB, &tokens).unwrap()).unwrap();
    // Chat tokens don't show in texts; the script does.
    for token in tokenizer["added_tokens"].as_array_mut().unwrap() {
        token["special"] = (token["id"].as_u64() < Some(u64::from(FIRST))).into();
    }
    // A prompt ends with the line break behind `assistant`.
    let line_break = tokenizer["model"]["vocab"]["\u{10A}"].as_u64().unwrap() as u32;
    write("tokenizer.json", tokenizer.to_string().as_bytes());

    let mut chain = vec![line_break];
    chain.extend((FIRST..).take(words.len()));
    chain.push(last);
    let mut embedding = vec![0f32; VOCAB * HIDDEN];
    let mut head = vec![0f32; VOCAB * HIDDEN];
    for (axis, pair) in chain.windows(2).enumerate() {
        embedding[pair[0] as usize * HIDDEN + axis] = 1.0; // the tokens that have a successor are all different
        head[pair[1] as usize * HIDDEN + axis] = 1.0;
    }
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = expected_tensors(&config)
        .into_iter()
        .map(|tensor| {
            let count = tensor.shape.iter().product();
            let values = match tensor.name.as_str() {
                "model.language_model.embed_tokens.weight" => embedding.clone(),
                "lm_head.weight" => head.clone(),
                name if name.ends_with("norm.weight") => vec![1.0; count],
                _ => vec![0.0; count],
            };
            (tensor.name, tensor.shape, values)
        })
        .collect();
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
}

/// The built program of this name.
pub fn program(name: &str) -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("examples").join(name);
    assert!(path.is_file(), "{} is not built: run `cargo test -p kiln-examples`", path.display());
    path
}
