//! What a run is: what was given on the command line, over the run that is resumed, over what is published.
//!
//! The defaults are those of Qwen's fine-tuning scripts (rate 1e-5, cosine, warm-up 0.03, tower frozen, 50176 pixels)
//! and of ms-swift's for LoRA (rank 8, alpha 32, rate 1e-4).

use crate::args::{FinetuneArgs, ScheduleKind, Train};
use kiln_examples::Error;
use kiln_examples::backend::Dtype;
use qwen3_vl_burn::checkpoint::AdapterConfig;
use qwen3_vl_train::lora::{AdapterTargets, LoraConfig, LoraError};
use qwen3_vl_train::optim::Decay;
use qwen3_vl_train::parameters::{Rule, Selection};
use qwen3_vl_train::run::{BatchLimit, FilePrint, RunLength, TrainOptions};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The parameters of adapters.
const ADAPTERS: &str = "*.lora.*";

/// What may be otherwise when a run goes on: where files are, and what changes no step.
pub const FREE: [&str; 10] = [
    "memory_limit",
    "model.path",
    "lora.base_model",
    "data.files",
    "data.evaluation_file",
    "data.media_root",
    "options.save_every",
    "options.keep",
    "options.eval_every",
    "options.patience",
];

/// What `run.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub model: ModelRecipe,
    pub data: DataRecipe,
    /// The adapter; without one, weights train.
    pub lora: Option<LoraConfig>,
    /// The adapter that it began as.
    pub adapter: Option<PathBuf>,
    pub selection: Selection,
    pub options: TrainOptions,
    pub deterministic: bool,
    /// Bytes that a step may take: it says which layers are computed twice.
    #[serde(default)]
    pub memory_limit: Option<u64>,
}

/// The checkpoint that it begins with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecipe {
    /// Folder or id; the embedded one without.
    pub path: Option<String>,
    /// Its files.
    pub files: Vec<FilePrint>,
    pub bf16: Option<bool>,
}

/// The data.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Those inside the program, if none.
    pub files: Vec<PathBuf>,
    /// Of their contents; pictures are not looked at.
    pub fingerprint: String,
    pub evaluation_file: Option<PathBuf>,
    pub evaluation_fingerprint: Option<String>,
    pub media_root: Option<PathBuf>,
    pub max_pixels: usize,
    pub max_tokens: usize,
    pub skip_bad: bool,
}

impl Recipe {
    /// The recipe of a command line, without fingerprints, for a run that goes on with `before`.
    ///
    /// # Errors
    /// [`Error::Run`] for patterns and adapters that cannot be used; [`Error::Finetune`] for options that contradict
    /// each other.
    pub fn new(args: &FinetuneArgs, before: Option<&Self>) -> Result<Self, Error> {
        let model = before.map(|before| before.model.clone()).unwrap_or_default();
        let given = args.model.model.as_ref().map(|model| model.to_string_lossy().into_owned());
        let bf16 = args.machine.dtype.map(|dtype| dtype == Dtype::Bf16).or(model.bf16);
        let model = ModelRecipe { path: given.or(model.path), bf16, files: Vec::new() };
        // What is shown without an argument: few steps of all of a small model of random weights, which learns fast.
        let shown = model.path.is_none() && args.data.data.is_empty();
        let options = options(args, before.map(|before| &before.options), shown);
        let data = data(args, before.map(|before| &before.data), options.batch);
        let lora = lora(args, before, shown)?.map(|lora| LoraConfig {
            seed: options.seed,
            base_model: model.path.clone(),
            ..lora
        });
        let selection = selection(args, before.map(|before| &before.selection), lora.is_some(), shown)?;
        let adapter = args.trained.adapter.clone().or_else(|| before.and_then(|before| before.adapter.clone()));
        let deterministic = args.machine.deterministic || before.is_some_and(|before| before.deterministic);
        let memory_limit = args.machine.memory_limit.map(|limit| limit.as_u64());
        let memory_limit = memory_limit.or_else(|| before.and_then(|before| before.memory_limit));
        Ok(Self { model, data, lora, adapter, selection, options, deterministic, memory_limit })
    }

    /// What must be the same on all nodes that train together, as text: all but where files are.
    #[cfg_attr(not(feature = "distributed"), expect(dead_code))]
    pub fn shared(&self) -> String {
        let mut same = self.clone();
        same.model.path = None;
        (same.adapter, same.memory_limit) = (None, None);
        (same.data.files, same.data.evaluation_file, same.data.media_root) = (Vec::new(), None, None);
        if let Some(lora) = &mut same.lora {
            lora.base_model = None;
        }
        serde_json::to_string(&same).unwrap_or_default()
    }
}

fn options(args: &FinetuneArgs, before: Option<&TrainOptions>, shown: bool) -> TrainOptions {
    let mut options = before.cloned().unwrap_or_else(|| TrainOptions {
        length: if shown { RunLength::Steps(40) } else { RunLength::Epochs(1) },
        batch: BatchLimit::Records(4),
        ..TrainOptions::default()
    });
    let steps = &args.steps;
    let set = |place: &mut usize, given: Option<usize>| *place = given.unwrap_or(*place);
    set(&mut options.accumulate, steps.accumulate);
    set(&mut options.keep, args.run.keep);
    match (steps.epochs, steps.steps) {
        (Some(epochs), _) => options.length = RunLength::Epochs(epochs as u64),
        (None, Some(steps)) => options.length = RunLength::Steps(steps as u64),
        (None, None) => {}
    }
    match (steps.batch_size, steps.batch_tokens) {
        (Some(records), _) => options.batch = BatchLimit::Records(records),
        (None, Some(tokens)) => options.batch = BatchLimit::Tokens(tokens),
        (None, None) => {}
    }
    if let Some(schedule) = steps.schedule {
        options.decay = match schedule {
            ScheduleKind::Cosine => Decay::Cosine,
            ScheduleKind::Linear => Decay::Linear,
            ScheduleKind::Constant => Decay::Constant,
        };
    }
    if let Some(clip) = steps.clip {
        options.clip = (clip != 0.0).then_some(clip);
    }
    options.warmup = steps.warmup.unwrap_or(options.warmup);
    options.seed = steps.seed.unwrap_or(options.seed);
    options.eval_every = args.run.eval_every.map(|steps| steps as u64).or(options.eval_every);
    options.patience = args.run.patience.or(options.patience);
    options.save_every = args.run.save_every.map_or(options.save_every, |steps| steps as u64);
    options
}

fn data(args: &FinetuneArgs, before: Option<&DataRecipe>, batch: BatchLimit) -> DataRecipe {
    let longest = match batch {
        BatchLimit::Tokens(tokens) => tokens,
        BatchLimit::Records(_) => 4096,
    };
    let mut data =
        before.cloned().unwrap_or(DataRecipe { max_pixels: 50_176, max_tokens: longest, ..DataRecipe::default() });
    let given = &args.data;
    if !given.data.is_empty() {
        data.files = given.data.clone();
    }
    data.evaluation_file = given.eval.clone().or(data.evaluation_file);
    data.media_root = given.media_root.clone().or(data.media_root);
    data.max_pixels = given.max_pixels.unwrap_or(data.max_pixels);
    data.max_tokens = given.max_tokens.unwrap_or(data.max_tokens);
    data.skip_bad |= given.skip_bad;
    (data.fingerprint, data.evaluation_fingerprint) = (String::new(), None);
    data
}

/// The adapter that trains, if one does.
fn lora(args: &FinetuneArgs, before: Option<&Recipe>, shown: bool) -> Result<Option<LoraConfig>, Error> {
    let given = &args.trained;
    let full = match given.train {
        Some(train) => train == Train::Full,
        None => before.map_or(shown, |before| before.lora.is_none()),
    };
    if full {
        let lora_options = [
            ("--lora-rank", given.lora_rank.is_some()),
            ("--lora-alpha", given.lora_alpha.is_some()),
            ("--lora-dropout", given.lora_dropout.is_some()),
            ("--lora-targets", !given.lora_targets.is_empty()),
            ("--rslora", given.rslora),
            ("--adapter", given.adapter.is_some()),
        ];
        let surplus = lora_options.into_iter().find(|(_, is_given)| *is_given);
        return match surplus {
            Some((option, _)) => Err(Error::Finetune { reason: format!("{option} is for --train lora") }),
            None => Ok(None),
        };
    }
    let mut lora = match (before.and_then(|before| before.lora.clone()), &given.adapter) {
        (Some(lora), _) => lora,
        (None, Some(dir)) => LoraConfig::from_adapter(&AdapterConfig::from_dir(dir).map_err(LoraError::from)?, 0),
        (None, None) => LoraConfig { dropout: 0.05, ..LoraConfig::new(8, 32.0) },
    };
    lora.rank = given.lora_rank.unwrap_or(lora.rank);
    lora.alpha = given.lora_alpha.unwrap_or(lora.alpha);
    lora.dropout = given.lora_dropout.unwrap_or(lora.dropout);
    lora.rank_stabilized |= given.rslora;
    if !given.lora_targets.is_empty() {
        lora.targets = targets(&given.lora_targets);
    }
    lora.check()?;
    Ok(Some(lora))
}

/// Ends of names, unless it is one regular expression.
fn targets(given: &[String]) -> AdapterTargets {
    match given {
        [one] if one == "all-linear" => AdapterTargets::AllLinear,
        [one] if one.contains(['*', '(', '[', '|', '\\', '+', '?']) => AdapterTargets::Pattern(one.clone()),
        names => AdapterTargets::Names(names.to_vec()),
    }
}

fn selection(args: &FinetuneArgs, before: Option<&Selection>, lora: bool, shown: bool) -> Result<Selection, Error> {
    let parts = &args.trained.parts;
    if lora && !parts.is_empty() {
        return Err(Error::Finetune { reason: "--parts is for --train full; --lora-targets names layers".to_owned() });
    }
    let usual = || -> Vec<String> {
        let names: &[&str] = match (lora, shown) {
            (true, _) => &[ADAPTERS],
            (false, true) => &["all"],
            (false, false) => &["merger", "text"],
        };
        names.iter().map(|&name| name.to_owned()).collect()
    };
    let rules = match before {
        Some(before) if parts.is_empty() => before.rules.clone(),
        _ => {
            let parts = if parts.is_empty() { usual() } else { parts.clone() };
            parts.iter().map(|part| parse_rule(part)).collect::<Result<_, _>>()?
        }
    };
    let rate = if shown {
        3e-3
    } else if lora {
        1e-4
    } else {
        1e-5
    };
    let learning_rate = args.steps.lr.or(before.map(|before| before.learning_rate)).unwrap_or(rate);
    let weight_decay = args.steps.weight_decay.or(before.map(|before| before.weight_decay)).unwrap_or(0.0);
    Ok(Selection { rules, learning_rate, weight_decay })
}

/// `PART` or `PART=RATE`.
fn parse_rule(text: &str) -> Result<Rule, Error> {
    let (name, rate) = text.split_once('=').map_or((text, None), |(name, rate)| (name, Some(rate)));
    let rule = Rule::new(name.parse().map_err(qwen3_vl_train::run::RunError::from)?);
    match rate.map(str::parse) {
        None => Ok(rule),
        Some(Ok(rate)) => Ok(rule.with_learning_rate(rate)),
        Some(Err(_)) => {
            Err(Error::Finetune { reason: format!("--parts {text}: expected PART=RATE, such as vision=2e-6") })
        }
    }
}
