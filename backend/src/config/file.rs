//! Configurations in files, and in `KILN_CONFIG`.

use super::{ConfigError, OptimizationConfig};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is read, bytes: a hundred times a full configuration.
const LARGEST_FILE: u64 = 1 << 20;

/// Names the configuration that [`OptimizationConfig::from_env`] reads.
pub(super) const VARIABLE: &str = "KILN_CONFIG";

impl OptimizationConfig {
    /// Reads TOML.
    ///
    /// # Errors
    /// [`ConfigError::Toml`] says where the text is wrong; [`ConfigError::Value`] which field is out of its range.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::parse_toml(text, "text")
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// As for [`OptimizationConfig::from_toml`], with [`ConfigError::Json`].
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Self::parse_json(text, "text")
    }

    /// Reads a `.toml` or `.json` file of at most 1 MiB.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and what is wrong with it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let parse = match extension.to_ascii_lowercase().as_str() {
            "toml" => Self::parse_toml,
            "json" => Self::parse_json,
            _ => return Err(ConfigError::Format { path: path.into() }),
        };
        let failed = |source| ConfigError::Read { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        let mut text = String::new();
        // One byte more than the limit tells a file that is too large, also one that grows or has no size.
        let bytes = file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(failed)? as u64;
        if bytes > LARGEST_FILE {
            return Err(ConfigError::Size { path: path.into(), bytes, limit: LARGEST_FILE });
        }
        parse(&text, &name)
    }

    /// The configuration that the environment variable `KILN_CONFIG` names; without it, [`OptimizationConfig::detect`].
    ///
    /// # Errors
    /// As for [`OptimizationConfig::from_file`].
    pub fn from_env() -> Result<Self, ConfigError> {
        match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => Self::from_file(PathBuf::from(path)),
            None => Ok(Self::detect()),
        }
    }

    /// As TOML, every field written out.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("plain numbers, names and switches")
    }

    fn parse_toml(text: &str, name: &str) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|source| ConfigError::Toml { name: name.into(), source: Box::new(source) })?;
        config.validate().map(|()| config)
    }

    fn parse_json(text: &str, name: &str) -> Result<Self, ConfigError> {
        let config: Self =
            serde_json::from_str(text).map_err(|source| ConfigError::Json { name: name.into(), source })?;
        config.validate().map(|()| config)
    }
}
