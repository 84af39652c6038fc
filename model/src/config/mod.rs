//! The model's configuration: read from a checkpoint's `config.json`, checked before anything is allocated.
//!
//! The JSON is HF's; both ways of writing RoPE (`rope_theta` beside `rope_scaling`, or `rope_parameters`) are read,
//! unknown fields are ignored, and what is left out is what HF's classes fill in, of which the log hears at debug
//! level.
//!
//! ```no_run
//! let config = qwen3_vl_burn::Qwen3VlConfig::from_dir("Qwen3-VL-2B-Instruct")?;
//! println!("{} layers", config.text.num_hidden_layers);
//! # Ok::<(), qwen3_vl_burn::Error>(())
//! ```

mod activation;
mod defaults;
mod error;
mod fp8;
mod parse;
mod parse_rope;
mod released;
mod rope_scaling;
mod section;
mod size;
mod text;
mod validate;
mod vision;
mod write;

pub use activation::HiddenAct;
pub use error::ConfigError;
pub use fp8::Fp8Config;
pub use released::ReleasedSize;
pub use rope_scaling::{RopeScaling, YarnConfig};
pub use text::{MoeConfig, TextConfig};
pub use vision::VisionConfig;

use crate::{Error, Result};
use burn::config::Config;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The most of a `config.json` that is read, bytes. Released ones are under 3 KiB.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A Qwen3-VL model: its decoder, its vision tower, and the tokens that join them.
///
/// [`Qwen3VlConfig::from_dir`], [`from_file`](Self::from_file) and [`from_json`](Self::from_json) read HF's format and
/// validate. `Config::save` and `Config::load` (Burn's) keep these structs themselves; what they load, like a
/// configuration built by hand, is checked by [`Qwen3VlConfig::validate`].
#[derive(Config, Debug, PartialEq)]
pub struct Qwen3VlConfig {
    /// The text decoder.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Placeholder of one image token.
    pub image_token_id: u32,
    /// Placeholder of one video token.
    pub video_token_id: u32,
    /// Stands before an image, or before each temporal patch of a video.
    pub vision_start_token_id: u32,
    /// Stands after it.
    pub vision_end_token_id: u32,
    /// How the checkpoint's FP8 weights are scaled; `None` where it has none. Says nothing of a model in memory: its
    /// weights are dequantised when they are loaded.
    pub quantization: Option<Fp8Config>,
}

impl Qwen3VlConfig {
    /// Reads and validates `config.json` in `dir`.
    ///
    /// # Errors
    /// As [`Qwen3VlConfig::from_file`].
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        Self::from_file(dir.as_ref().join("config.json"))
    }

    /// Reads and validates a file in the format of HF's `config.json`.
    ///
    /// # Errors
    /// [`ConfigError::Read`], [`ConfigError::TooLarge`], and what [`Qwen3VlConfig::from_json`] returns.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut json = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut json))
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        if json.len() as u64 > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_CONFIG_BYTES }.into());
        }
        let json = String::from_utf8(json).map_err(|error| ConfigError::Json { reason: error.to_string() })?;
        Self::from_json(&json)
    }

    /// Reads and validates text in the format of HF's `config.json`.
    ///
    /// `tie_word_embeddings` may stand at the top, in `text_config`, or both: the top decides, as in HF, where only the
    /// top-level value reaches the weights; where it stands in one place, that one is taken; where it stands in none,
    /// nothing is tied.
    ///
    /// # Errors
    /// [`ConfigError`]: malformed JSON, no `model_type` or another, a value of the wrong type or out of range, an
    /// unsupported activation, RoPE type or quantisation. Each names the field and the value.
    pub fn from_json(json: &str) -> Result<Self> {
        let (config, names) = parse::parse(json)?;
        config.validate().map_err(|error| match error {
            Error::Config(error) => Error::Config(names.respell(error)),
            other => other,
        })?;
        Ok(config)
    }
}
