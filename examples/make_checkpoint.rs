//! Writes a checkpoint with random weights in the released layout: for benchmarks and tests where the real one can't be
//! had.

use clap::{Parser, ValueEnum};
use kiln_examples::backend::Dtype;
use kiln_examples::{Error, program, say};
use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::{RandomOptions, progress_bar, write_random_with};
use qwen3_vl_burn::config::{MoeConfig, ReleasedSize, TextConfig, VisionConfig};
use qwen3_vl_burn::prompt::{CHAT_TOKENS, byte_level_tokenizer};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    /// 0.5 million parameters
    Tiny,
    /// The same with 8 experts in every layer but the first, and an untied head
    TinyMoe,
    /// Qwen3-VL-2B
    #[value(name = "2b")]
    B2,
    /// Qwen3-VL-4B
    #[value(name = "4b")]
    B4,
    /// Qwen3-VL-8B
    #[value(name = "8b")]
    B8,
    /// Qwen3-VL-32B
    #[value(name = "32b")]
    B32,
    /// Qwen3-VL-30B-A3B: 62 GB as bf16
    #[value(name = "30b-a3b")]
    B30A3,
    /// Qwen3-VL-235B-A22B: 471 GB as bf16
    #[value(name = "235b-a22b")]
    B235A22,
}

/// Write a Qwen3-VL checkpoint with random weights
#[derive(Parser)]
struct Arguments {
    /// Which model
    #[arg(long, value_enum, default_value = "tiny")]
    size: Size,
    /// Folder to write; nothing in it is overwritten
    #[arg(long)]
    out: PathBuf,
    /// Type of the weights
    #[arg(long, value_enum, default_value = "bf16")]
    dtype: Dtype,
    /// The most that one file of weights holds, as `5GB`, `500MB` or a number of bytes; without it, there is one file
    #[arg(long, value_parser = parse_bytes)]
    shard_size: Option<u64>,
    /// Seed of the weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A tokenizer.json to copy; without it, one token stands for one byte
    #[arg(long)]
    tokenizer: Option<PathBuf>,
}

fn main() -> ExitCode {
    program::run(|arguments: Arguments| run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let config = match arguments.size {
        Size::Tiny => tiny(),
        Size::TinyMoe => tiny_moe(),
        Size::B2 => Qwen3VlConfig::released(ReleasedSize::B2),
        Size::B4 => Qwen3VlConfig::released(ReleasedSize::B4),
        Size::B8 => Qwen3VlConfig::released(ReleasedSize::B8),
        Size::B32 => Qwen3VlConfig::released(ReleasedSize::B32),
        Size::B30A3 => Qwen3VlConfig::released(ReleasedSize::B30A3),
        Size::B235A22 => Qwen3VlConfig::released(ReleasedSize::B235A22),
    };
    let options = RandomOptions {
        shard_bytes: arguments.shard_size,
        progress: Box::new(progress_bar()),
        ..RandomOptions::new(arguments.dtype.burn(), arguments.seed)
    };
    write_random_with(&config, &arguments.out, options)?;
    let write = |name: &str, text: &str| {
        let path = arguments.out.join(name);
        std::fs::write(&path, text).map_err(|source| Error::File { path, source })
    };
    let tokenizer = match &arguments.tokenizer {
        Some(path) => std::fs::read_to_string(path).map_err(|source| Error::File { path: path.clone(), source })?,
        None => byte_level_tokenizer(config.text.vocab_size, &special_tokens(&config))
            .expect("every size here has room for 256 bytes"),
    };
    write("tokenizer.json", &tokenizer)?;
    let pixels =
        if matches!(arguments.size, Size::Tiny | Size::TinyMoe) { [4096, 65_536] } else { [65_536, 16_777_216] };
    write("preprocessor_config.json", &preprocessor(pixels))?;
    say!("{} ({} parameters)", arguments.out.display(), config.num_parameters().unwrap_or_default())
}

/// The longest sequence of [`tiny`]. A token is a byte there, and the time of a prompt grows with its square: with the
/// released 262,144, a text of 100,000 letters took both cores for a minute, all of it attention.
const TINY_CONTEXT: usize = 32_768;

/// A model that runs in a moment, with every part of the large ones.
fn tiny() -> Qwen3VlConfig {
    let text = TextConfig::new(320, 64, 160, 4, 4, 2, 32, [6, 5, 5], true)
        .with_eos_token_ids(vec![2])
        .with_max_position_embeddings(TINY_CONTEXT);
    let vision = VisionConfig::new(4, 48, 96, 4, 64, vec![0, 1, 2]).with_num_position_embeddings(64);
    Qwen3VlConfig::new(text, vision, 5, 6, 3, 4)
}

/// [`tiny`] with experts: one dense layer, three sparse ones.
fn tiny_moe() -> Qwen3VlConfig {
    let mut config = tiny();
    config.text.tie_word_embeddings = false;
    config.text.moe = Some(MoeConfig::new(8, 3, 48).with_mlp_only_layers(vec![0]));
    config
}

/// Bytes from `5GB` (decimal, as HF means it), `5GiB`, or a plain number.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        other => return Err(format!("`{other}` is not B, KB, MB, GB, KiB, MiB or GiB")),
    };
    let number: u64 = text[..digits].parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
    match number.checked_mul(unit) {
        Some(0) | None => Err(format!("`{text}` is not a size that a file can have")),
        Some(bytes) => Ok(bytes),
    }
}

/// The chat tokens at the ids that the configuration gives them; the released ids for the others.
fn special_tokens(config: &Qwen3VlConfig) -> Vec<(&'static str, u32)> {
    let end = config.text.eos_token_ids.first().copied().unwrap_or(2);
    let ids = [
        end.saturating_sub(2),
        end.saturating_sub(1),
        end,
        config.vision_start_token_id,
        config.vision_end_token_id,
        config.image_token_id,
        config.video_token_id,
    ];
    CHAT_TOKENS.into_iter().zip(ids).collect()
}

fn preprocessor([shortest, longest]: [usize; 2]) -> String {
    format!(
        r#"{{
  "size": {{ "shortest_edge": {shortest}, "longest_edge": {longest} }},
  "patch_size": 16,
  "temporal_patch_size": 2,
  "merge_size": 2,
  "image_mean": [0.5, 0.5, 0.5],
  "image_std": [0.5, 0.5, 0.5],
  "processor_class": "Qwen3VLProcessor",
  "image_processor_type": "Qwen2VLImageProcessorFast"
}}
"#
    )
}
