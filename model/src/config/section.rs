//! Typed access to one object of `config.json`, so that every bad value is reported with its field's path.
//!
//! Serde's derived structs would say "invalid type: string, expected usize at line 41": the line, but not the field.

use super::ConfigError;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::LazyLock;

/// An object of the JSON, and where it stands in it.
pub(super) struct Section<'a> {
    /// Path of the object, with its dot; empty at the top.
    prefix: String,
    map: &'a Map<String, Value>,
}

/// What an object that isn't there holds.
static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl<'a> Section<'a> {
    /// The top of the JSON.
    pub(super) fn top(map: &'a Map<String, Value>) -> Self {
        Self { prefix: String::new(), map }
    }

    /// Path of `key`, as errors name it.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The value of `key`; null counts as absent, as in HF.
    fn find(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn invalid(&self, key: &str, value: &Value, required: impl Into<Cow<'static, str>>) -> ConfigError {
        ConfigError::invalid(self.path(key), value, required)
    }

    /// Whether `key` is there and null, where HF tells that from absence.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// Names of all keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// `value` where it is there, and where `key` is absent HF's `default` of it, of which the log hears. Null is an
    /// error, as HF's classes have it.
    pub(super) fn fill<T: Debug>(&self, key: &str, value: Option<T>, default: T) -> Result<T, ConfigError> {
        if value.is_none() && self.is_null(key) {
            return Err(ConfigError::Missing { field: self.path(key) });
        }
        Ok(self.or_default(key, value, default))
    }

    /// The same for keys that may be null.
    pub(super) fn or_default<T: Debug>(&self, key: &str, value: Option<T>, default: T) -> T {
        value.unwrap_or_else(|| {
            tracing::debug!(field = self.path(key), value = ?default, "not in config.json: HF's default");
            default
        })
    }

    /// The object at `key`; where there is none, one without a key.
    pub(super) fn section_or_empty(&self, key: &str) -> Result<Section<'a>, ConfigError> {
        let absent = || Section { prefix: format!("{}.", self.path(key)), map: &NOTHING };
        Ok(self.section(key)?.unwrap_or_else(absent))
    }

    /// `value` where it is there, and an error that names `key` where not.
    pub(super) fn require<T>(&self, key: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Missing { field: self.path(key) })
    }

    /// The object at `key`.
    pub(super) fn section(&self, key: &str) -> Result<Option<Section<'a>>, ConfigError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.invalid(key, value, "an object"))?;
        Ok(Some(Section { prefix: format!("{}.", self.path(key)), map }))
    }

    /// The whole number at `key`.
    pub(super) fn count(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.find(key).map(|value| self.to_count(key, value)).transpose()
    }

    /// The whole numbers in the list at `key`.
    pub(super) fn counts(&self, key: &str) -> Result<Option<Vec<usize>>, ConfigError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| self.invalid(key, value, "a list of whole numbers"))?;
        list.iter().map(|value| self.to_count(key, value)).collect::<Result<_, _>>().map(Some)
    }

    fn to_count(&self, key: &str, value: &Value) -> Result<usize, ConfigError> {
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| self.invalid(key, value, "a whole number, not negative"))
    }

    /// The token id at `key`.
    pub(super) fn token(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        self.find(key).map(|value| self.to_token(key, value)).transpose()
    }

    /// The token ids at `key`: a list, or one id, or none.
    pub(super) fn tokens(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(|value| self.to_token(key, value)).collect(),
            Some(value) => Ok(vec![self.to_token(key, value)?]),
        }
    }

    fn to_token(&self, key: &str, value: &Value) -> Result<u32, ConfigError> {
        let token = value.as_u64().and_then(|token| u32::try_from(token).ok());
        token.ok_or_else(|| self.invalid(key, value, "a token id"))
    }

    /// The number at `key`.
    pub(super) fn real(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        value.as_f64().ok_or_else(|| self.invalid(key, value, "a number")).map(Some)
    }

    /// The boolean at `key`.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        value.as_bool().ok_or_else(|| self.invalid(key, value, "true or false")).map(Some)
    }

    /// The text at `key`.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        let Some(value) = self.find(key) else { return Ok(None) };
        value.as_str().ok_or_else(|| self.invalid(key, value, "a string")).map(Some)
    }

    /// Whether it has no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The objects in the object, in the order of their names. What isn't an object is an error.
    pub(super) fn sections(&self) -> Result<Vec<Section<'a>>, ConfigError> {
        self.map.keys().map(|key| self.require(key, self.section(key)?)).collect()
    }
}
