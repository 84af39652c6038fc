//! `adapter_config.json`.

use super::{ADAPTER_CONFIG, AdapterError, Pattern, PatternError};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// The largest file that is read, bytes.
const MAX_BYTES: u64 = 16 << 20;

/// What PEFT takes in place of names for all linear layers but the head.
const ALL_LINEAR: &str = "all-linear";

/// Which modules an adapter is for, as PEFT's `target_modules` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterTargets {
    /// Whole names of modules, or their last parts.
    Names(Vec<String>),
    /// A regular expression for whole names.
    Pattern(String),
    /// All linear layers but the head.
    AllLinear,
}

/// Settings of a LoRA adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterConfig {
    /// `r`.
    pub rank: usize,
    /// `lora_alpha`.
    pub alpha: f64,
    /// `lora_dropout`.
    pub dropout: f64,
    /// `use_rslora`: `alpha / √rank` in place of `alpha / rank`.
    pub rank_stabilized: bool,
    /// `target_modules`.
    pub targets: AdapterTargets,
    /// `base_model_name_or_path`.
    pub base_model: Option<String>,
    /// `rank_pattern`: ranks of modules whose names end so.
    pub rank_pattern: Vec<(String, usize)>,
    /// `alpha_pattern`.
    pub alpha_pattern: Vec<(String, f64)>,
}

impl AdapterConfig {
    /// Reads the settings in the folder of an adapter.
    ///
    /// # Errors
    /// [`AdapterError`] for a file that is not there, that is no JSON or not a LoRA adapter's, for settings out of
    /// range, and for what is not supported: DoRA, biases, saved modules, and whatever else changes what an adapter
    /// computes.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, AdapterError> {
        let file = dir.as_ref().join(ADAPTER_CONFIG);
        let failed = |source| AdapterError::Read { file: file.clone(), source };
        let bytes = std::fs::metadata(&file).map_err(failed)?.len();
        if bytes > MAX_BYTES {
            let reason = format!("it has {bytes} bytes, more than the {MAX_BYTES} that are read");
            return Err(AdapterError::Json { file, reason });
        }
        let text = std::fs::read_to_string(&file).map_err(failed)?;
        Self::parse(&text, &file)
    }

    fn parse(text: &str, file: &Path) -> Result<Self, AdapterError> {
        let json = |error: serde_json::Error| AdapterError::Json { file: file.to_owned(), reason: error.to_string() };
        let settings: Map<String, Value> = serde_json::from_str(text).map_err(json)?;
        let kind = settings.get("peft_type").and_then(Value::as_str).unwrap_or("missing");
        if kind != "LORA" {
            return Err(unsupported(file, "peft_type", kind, "only LORA adapters are read"));
        }
        refuse_others(&settings, file)?;
        let Raw { r, lora_alpha, lora_dropout, use_rslora, target_modules, rank_pattern, alpha_pattern, .. } =
            serde_json::from_str(text).map_err(json)?;
        let base_model = settings.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned);
        let config = Self {
            rank: r,
            alpha: lora_alpha,
            dropout: lora_dropout.unwrap_or(0.0),
            rank_stabilized: use_rslora.unwrap_or(false),
            targets: match target_modules {
                Some(RawTargets::One(name)) if name.eq_ignore_ascii_case(ALL_LINEAR) => AdapterTargets::AllLinear,
                Some(RawTargets::One(pattern)) => AdapterTargets::Pattern(pattern),
                Some(RawTargets::Many(names)) => AdapterTargets::Names(names),
                None => AdapterTargets::Names(Vec::new()),
            },
            base_model: base_model.filter(|name| !name.is_empty()),
            rank_pattern: rank_pattern.map(|pairs| pairs.0).unwrap_or_default(),
            alpha_pattern: alpha_pattern.map(|pairs| pairs.0).unwrap_or_default(),
        };
        config.check(file).map(|()| config)
    }

    /// Refuses values out of range, which stand in `file`.
    fn check(&self, file: &Path) -> Result<(), AdapterError> {
        let refuse = |setting: String, found: String, expected| {
            Err(AdapterError::Setting { file: file.to_owned(), setting, found, expected })
        };
        let ranks = self.rank_pattern.iter().map(|(key, rank)| (format!("rank_pattern[{key}]"), *rank));
        for (setting, rank) in [("r".to_owned(), self.rank)].into_iter().chain(ranks) {
            if rank == 0 {
                return refuse(setting, rank.to_string(), "a rank is 1 at least");
            }
        }
        let alphas = self.alpha_pattern.iter().map(|(key, alpha)| (format!("alpha_pattern[{key}]"), *alpha));
        for (setting, alpha) in [("lora_alpha".to_owned(), self.alpha)].into_iter().chain(alphas) {
            if !(alpha.is_finite() && alpha >= 0.0) {
                return refuse(setting, alpha.to_string(), "it must be a number from 0 up");
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let expected = "it must be a probability, from 0 up and below 1";
            return refuse("lora_dropout".to_owned(), self.dropout.to_string(), expected);
        }
        Ok(())
    }

    /// Rank and factor of the module that the adapted model calls `module`: those of the first pattern that its name
    /// ends in, else those of all; `alpha / rank`, with rsLoRA `alpha / √rank` (Kalajdzievski 2023, arXiv 2312.03732).
    ///
    /// # Errors
    /// [`PatternError`] of a pattern that cannot be used.
    pub fn rank_and_scale(&self, module: &str) -> Result<(usize, f64), PatternError> {
        let rank = find(&self.rank_pattern, module)?.unwrap_or(self.rank);
        let alpha = find(&self.alpha_pattern, module)?.unwrap_or(self.alpha);
        let divisor = if self.rank_stabilized { (rank as f64).sqrt() } else { rank as f64 };
        Ok((rank, alpha / divisor))
    }

    /// The file's text, as PEFT reads it.
    pub fn to_json(&self) -> String {
        let targets = match &self.targets {
            AdapterTargets::Names(names) => json!(names),
            AdapterTargets::Pattern(pattern) => json!(pattern),
            AdapterTargets::AllLinear => json!(ALL_LINEAR),
        };
        // PEFT writes whole numbers without a point.
        let number = |value: f64| if value.fract() == 0.0 && value < 1e15 { json!(value as u64) } else { json!(value) };
        let ranks: Map<String, Value> =
            self.rank_pattern.iter().map(|(key, rank)| (key.clone(), json!(rank))).collect();
        let alphas: Map<String, Value> =
            self.alpha_pattern.iter().map(|(key, alpha)| (key.clone(), number(*alpha))).collect();
        let settings = json!({
            "alpha_pattern": alphas,
            "auto_mapping": null,
            "base_model_name_or_path": self.base_model,
            "bias": "none",
            "exclude_modules": null,
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layer_replication": null,
            "layers_pattern": null,
            "layers_to_transform": null,
            "lora_alpha": number(self.alpha),
            "lora_bias": false,
            "lora_dropout": self.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": ranks,
            "revision": null,
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.rank_stabilized,
        });
        format!("{settings:#}\n")
    }

    /// The name of the file in an adapter's folder.
    pub fn file_in(dir: &Path) -> PathBuf {
        dir.join(ADAPTER_CONFIG)
    }
}

/// The value of the first pattern that the module's name ends in.
fn find<T: Copy>(patterns: &[(String, T)], module: &str) -> Result<Option<T>, PatternError> {
    for (key, value) in patterns {
        if Pattern::ending(key)?.matches(module)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn unsupported(file: &Path, setting: &str, found: impl fmt::Display, instead: &'static str) -> AdapterError {
    let (file, setting, found) = (file.to_owned(), setting.to_owned(), found.to_string());
    AdapterError::Unsupported { file, setting, found, instead }
}

/// Settings that change what an adapter computes, or what it is made of, and what to do about them.
const REFUSED: [(&str, &str); 14] = [
    ("use_dora", "merge it with PEFT (merge_and_unload) and use the result"),
    ("use_qalora", "merge it with PEFT (merge_and_unload) and use the result"),
    ("use_bdlora", "merge it with PEFT (merge_and_unload) and use the result"),
    ("lora_bias", "merge it with PEFT (merge_and_unload) and use the result"),
    ("modules_to_save", "its modules replace those of the base model: merge it with PEFT (merge_and_unload)"),
    ("trainable_token_indices", "it changes the token embedding: merge it with PEFT (merge_and_unload)"),
    ("target_parameters", "it adapts experts: merge it with PEFT (merge_and_unload)"),
    ("layer_replication", "it makes a model of other layers: merge it with PEFT (merge_and_unload)"),
    ("alora_invocation_tokens", "it works from some token on, and cannot be merged"),
    ("arrow_config", "it chooses between adapters, and cannot be merged"),
    ("kasa_config", "merge it with PEFT (merge_and_unload) and use the result"),
    ("monteclora_config", "merge it with PEFT (merge_and_unload) and use the result"),
    ("fan_in_fan_out", "the model has no such layers"),
    ("megatron_config", "merge it with PEFT (merge_and_unload) and use the result"),
];

/// How adapters begin whose base model stays as it is; the others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) change it.
const BEGINNINGS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

fn refuse_others(settings: &Map<String, Value>, file: &Path) -> Result<(), AdapterError> {
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
        Value::Number(_) | Value::String(_) => true,
    };
    for (setting, instead) in REFUSED {
        if let Some(value) = settings.get(setting).filter(|value| is_set(value)) {
            return Err(unsupported(file, setting, value, instead));
        }
    }
    if let Some(bias) = settings.get("bias").filter(|bias| !bias.is_null() && *bias != "none") {
        return Err(unsupported(file, "bias", bias, "merge it with PEFT (merge_and_unload) and use the result"));
    }
    let beginning = settings.get("init_lora_weights").and_then(Value::as_str);
    if let Some(name) = beginning.filter(|name| !BEGINNINGS.contains(&name.to_ascii_lowercase().as_str())) {
        let instead = "it is relative to a changed base model: convert it to plain LoRA \
                       (PEFT: save_pretrained(.., path_initial_model_for_weight_conversion=..))";
        return Err(unsupported(file, "init_lora_weights", name, instead));
    }
    Ok(())
}

/// The settings that are used.
#[derive(Deserialize)]
struct Raw {
    r: usize,
    lora_alpha: f64,
    lora_dropout: Option<f64>,
    use_rslora: Option<bool>,
    target_modules: Option<RawTargets>,
    rank_pattern: Option<Pairs<usize>>,
    alpha_pattern: Option<Pairs<f64>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTargets {
    One(String),
    Many(Vec<String>),
}

/// An object's members in their order, which decides where several patterns match.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of patterns")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs<T>, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}
