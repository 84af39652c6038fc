//! Writes a checkpoint with random weights in the released layout: for benchmarks and tests where the real one can't be had.

use clap::{Parser, ValueEnum};
use kiln_examples::Error;
use kiln_examples::backend::Dtype;
use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::write_random;
use qwen3_vl_burn::config::{ReleasedSize, TextConfig, VisionConfig};
use qwen3_vl_burn::prompt::{CHAT_TOKENS, byte_level_tokenizer};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    /// 0.5 million parameters
    Tiny,
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
    /// Seed of the weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A tokenizer.json to copy; without it, one token stands for one byte
    #[arg(long)]
    tokenizer: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let config = match arguments.size {
        Size::Tiny => tiny(),
        Size::B2 => Qwen3VlConfig::released(ReleasedSize::B2),
        Size::B4 => Qwen3VlConfig::released(ReleasedSize::B4),
        Size::B8 => Qwen3VlConfig::released(ReleasedSize::B8),
        Size::B32 => Qwen3VlConfig::released(ReleasedSize::B32),
    };
    write_random(&config, &arguments.out, arguments.dtype.burn(), arguments.seed)?;
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
    let pixels = if arguments.size == Size::Tiny { [4096, 65_536] } else { [65_536, 16_777_216] };
    write("preprocessor_config.json", &preprocessor(pixels))?;
    println!("{} ({} parameters)", arguments.out.display(), config.num_parameters().unwrap_or_default());
    Ok(())
}

/// A model that runs in a moment, with every part of the large ones.
fn tiny() -> Qwen3VlConfig {
    let text = TextConfig::new(320, 64, 160, 4, 4, 2, 32, [6, 5, 5], true).with_eos_token_ids(vec![2]);
    let vision = VisionConfig::new(4, 48, 96, 4, 64, vec![0, 1, 2]).with_num_position_embeddings(64);
    Qwen3VlConfig::new(text, vision, 5, 6, 3, 4)
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
