//! What can be wrong with a configuration.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// A configuration that cannot be read or cannot be built.
///
/// `field` is the path of the value in `config.json`, for example `text_config.head_dim`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is larger than a configuration can be.
    #[error("{} is larger than {limit} bytes, too large for a configuration", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, bytes.
        limit: u64,
    },
    /// The text is not JSON, or not a JSON object.
    #[error("the configuration is not a JSON object: {reason}")]
    Json {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// The configuration is of another architecture.
    #[error("model_type is `{found}`; this crate runs `qwen3_vl` and `qwen3_vl_moe`")]
    ModelType {
        /// The value of `model_type`.
        found: String,
    },
    /// A required field is absent or null.
    #[error("config field `{field}` is missing")]
    Missing {
        /// Path of the field.
        field: String,
    },
    /// A field has a value of the wrong type or out of its range.
    #[error("config field `{field}` is {value}, but must be {required}")]
    Invalid {
        /// Path of the field.
        field: String,
        /// The value that was found.
        value: String,
        /// What it must be.
        required: Cow<'static, str>,
    },
    /// A field has a value that other models use and this crate does not run.
    #[error("config field `{field}` is {value}, which is not supported (supported: {supported})")]
    Unsupported {
        /// Path of the field.
        field: String,
        /// The value that was found.
        value: String,
        /// What would be.
        supported: &'static str,
    },
    /// The checkpoint is quantised in a way that is not read.
    #[error(
        "the checkpoint is quantised (`{field}` with quant_method `{method}`), which is not supported: \
         use the model's unquantised checkpoint, or its FP8 one (`-FP8`)"
    )]
    Quantized {
        /// `quantization_config`, or its path in a section.
        field: String,
        /// Its `quant_method`, and its format where the method has several.
        method: String,
    },
    /// A size that follows from the configuration does not fit its integer type.
    #[error("the configuration is too large: its {what} overflows")]
    Overflow {
        /// Which size.
        what: &'static str,
    },
}

impl ConfigError {
    /// A field whose value is out of range.
    pub(crate) fn invalid(
        field: impl Into<String>,
        value: impl ToString,
        required: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Invalid { field: field.into(), value: shorten(value.to_string()), required: required.into() }
    }

    /// A field whose value belongs to something that this crate does not run.
    pub(crate) fn unsupported(field: impl Into<String>, value: impl ToString, supported: &'static str) -> Self {
        Self::Unsupported { field: field.into(), value: shorten(value.to_string()), supported }
    }
}

/// Cuts a value to what an error message can show.
pub(super) fn shorten(mut value: String) -> String {
    const SHOWN: usize = 80;
    if let Some((end, _)) = value.char_indices().nth(SHOWN) {
        value.truncate(end);
        value.push('…');
    }
    value
}
