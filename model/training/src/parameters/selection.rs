//! Rules that name what trains.

use super::{Parameter, Part};
use glob::Pattern;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a rule names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// Every parameter.
    All,
    /// Those of a part. A tied head is the embedding.
    Part(Part),
    /// Those whose names fit a pattern in which `*` stands for anything, `?` for one character, `[..]` for one of some:
    /// `*.layers.1?.*.q_proj.weight`.
    Pattern(Pattern),
}

impl FromStr for Target {
    type Err = ParameterError;

    fn from_str(text: &str) -> Result<Self, ParameterError> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Ok(part) = text.parse() {
            return Ok(Self::Part(part));
        }
        let wrong = |error: glob::PatternError| ParameterError::Pattern { pattern: text.to_owned(), reason: error.msg };
        Pattern::new(text).map(Self::Pattern).map_err(wrong)
    }
}

impl TryFrom<String> for Target {
    type Error = ParameterError;

    fn try_from(text: String) -> Result<Self, ParameterError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Part(part) => part.fmt(f),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}

impl Target {
    /// Whether it names `parameter`; `tied`: whether the embedding is the head.
    fn names(&self, parameter: &Parameter, tied: bool) -> bool {
        match self {
            Self::All => true,
            Self::Part(Part::Head) if tied => parameter.part == Part::Embedding,
            Self::Part(part) => parameter.part == *part,
            Self::Pattern(pattern) => pattern.matches(&parameter.name),
        }
    }
}

/// Parameters that train, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Which.
    pub target: Target,
    /// Their learning rate at the schedule's height; the run's if not given.
    #[serde(default)]
    pub learning_rate: Option<f64>,
    /// Their weight decay; the run's if not given. Norms and biases have none.
    #[serde(default)]
    pub weight_decay: Option<f64>,
}

impl Rule {
    /// With the run's learning rate and weight decay.
    pub fn new(target: Target) -> Self {
        Self { target, learning_rate: None, weight_decay: None }
    }

    /// With a learning rate of its own.
    pub fn with_learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = Some(learning_rate);
        self
    }
}

/// What trains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Of several that name a parameter the last one holds.
    pub rules: Vec<Rule>,
    /// Learning rate at the schedule's height.
    pub learning_rate: f64,
    /// Weight decay of matrices.
    #[serde(default)]
    pub weight_decay: f64,
}

impl Selection {
    /// Every parameter trains.
    pub fn all(learning_rate: f64) -> Self {
        Self::of([Target::All], learning_rate)
    }

    /// These train.
    pub fn of(targets: impl IntoIterator<Item = Target>, learning_rate: f64) -> Self {
        Self { rules: targets.into_iter().map(Rule::new).collect(), learning_rate, weight_decay: 0.0 }
    }

    /// With this weight decay.
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }

    /// For each parameter the rule that holds, if one names it.
    ///
    /// # Errors
    /// [`ParameterError`].
    pub(super) fn resolve<'a>(&'a self, parameters: &[Parameter]) -> Result<Vec<Option<&'a Rule>>, ParameterError> {
        self.validate()?;
        let tied = !parameters.iter().any(|parameter| parameter.part == Part::Head);
        let names = |rule: &Rule, parameter: &Parameter| rule.target.names(parameter, tied);
        for rule in &self.rules {
            if !parameters.iter().any(|parameter| names(rule, parameter)) {
                let target = rule.target.to_string();
                return Err(ParameterError::NoMatch { near: find_near(&target, parameters), target });
            }
        }
        Ok(parameters.iter().map(|parameter| self.rules.iter().rev().find(|rule| names(rule, parameter))).collect())
    }

    fn validate(&self) -> Result<(), ParameterError> {
        if self.rules.is_empty() {
            return Err(ParameterError::NoRule);
        }
        if self.learning_rate == 0.0 {
            return Err(ParameterError::Value { what: "learning rate", value: 0.0 });
        }
        let rates = self.rules.iter().filter_map(|rule| rule.learning_rate).chain([self.learning_rate]);
        let decays = self.rules.iter().filter_map(|rule| rule.weight_decay).chain([self.weight_decay]);
        for (what, mut values) in
            [("learning rate", Box::new(rates) as Box<dyn Iterator<Item = f64>>), ("weight decay", Box::new(decays))]
        {
            if let Some(value) = values.find(|value| !(value.is_finite() && *value >= 0.0)) {
                return Err(ParameterError::Value { what, value });
            }
        }
        Ok(())
    }
}

/// Names that a mistyped target may have meant: parts, and the last parts of parameters' names.
fn find_near(target: &str, parameters: &[Parameter]) -> Vec<String> {
    const SHOWN: usize = 3;
    const LEAST: f64 = 0.6;
    let bare = target.replace('*', "").trim_matches('.').to_owned();
    let mut candidates: Vec<String> = Part::ALL.iter().map(|part| part.name().to_owned()).collect();
    for parameter in parameters {
        candidates.push(parameter.name.clone());
        // Every end of the name, so that `q_porj.weight` finds `q_proj.weight`.
        candidates.extend(parameter.name.match_indices('.').map(|(at, _)| parameter.name[at + 1..].to_owned()));
    }
    candidates.sort();
    candidates.dedup();
    let likeness = |name: &String| strsim::normalized_damerau_levenshtein(name, &bare);
    let mut scored: Vec<(f64, String)> = candidates.into_iter().map(|name| (likeness(&name), name)).collect();
    scored.retain(|(score, _)| *score >= LEAST);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(SHOWN).map(|(_, name)| name).collect()
}

/// Why a selection does not fit a model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParameterError {
    /// Nothing would train.
    #[error("nothing is named that should train")]
    NoRule,
    /// A part or pattern that names no parameter.
    #[error("no parameter is named by `{target}`{}", suggest(.near))]
    NoMatch {
        /// As given.
        target: String,
        /// What it may have meant.
        near: Vec<String>,
    },
    /// A pattern that is none.
    #[error("`{pattern}` is no pattern of names: {reason}")]
    Pattern {
        /// As given.
        pattern: String,
        /// Why.
        reason: &'static str,
    },
    /// A number out of range.
    #[error("a {what} of {value}; it must be a number from 0 up, and the run's learning rate above 0")]
    Value {
        /// Which.
        what: &'static str,
        /// As given.
        value: f64,
    },
}

fn suggest(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; near it: {}", near.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::ParamId;

    fn parameters() -> Vec<Parameter> {
        [
            "model.visual.blocks.0.norm1.weight",
            "model.visual.merger.norm.weight",
            "model.language_model.embed_tokens.weight",
            "model.language_model.layers.0.self_attn.q_proj.weight",
            "model.language_model.layers.1.self_attn.q_proj.weight",
        ]
        .map(|name| Parameter { name: name.to_owned(), id: ParamId::new(), shape: vec![2], part: Part::of(name) })
        .to_vec()
    }

    fn selected(targets: &[&str]) -> Result<Vec<bool>, ParameterError> {
        let targets = targets.iter().map(|target| target.parse()).collect::<Result<Vec<Target>, _>>()?;
        let selection = Selection::of(targets, 1e-4);
        Ok(selection.resolve(&parameters())?.iter().map(Option::is_some).collect())
    }

    #[test]
    fn parts_and_patterns_name_parameters() {
        assert_eq!(selected(&["all"]).unwrap(), [true; 5]);
        assert_eq!(selected(&["vision", "merger"]).unwrap(), [true, true, false, false, false]);
        assert_eq!(selected(&["head"]).unwrap(), [false, false, true, false, false], "a tied head");
        assert_eq!(selected(&["*.layers.1.*.q_proj.weight"]).unwrap(), [false, false, false, false, true]);
        assert_eq!(selected(&["text"]).unwrap(), [false, false, false, true, true]);
    }

    #[test]
    fn the_last_rule_holds() {
        let rules = vec![Rule::new(Target::All), Rule::new("*layers.1*".parse().unwrap()).with_learning_rate(3.0)];
        let selection = Selection { rules, learning_rate: 1.0, weight_decay: 0.0 };
        let parameters = parameters();
        let rates: Vec<_> =
            selection.resolve(&parameters).unwrap().iter().map(|rule| rule.unwrap().learning_rate).collect();
        assert_eq!(rates, [None, None, None, None, Some(3.0)]);
    }

    #[test]
    fn what_names_nothing_is_an_error() {
        let error = selected(&["*.q_porj.weight"]).unwrap_err();
        let ParameterError::NoMatch { target, near } = &error else { panic!("{error}") };
        assert_eq!((target.as_str(), near[0].as_str()), ("*.q_porj.weight", "q_proj.weight"));
        let error = selected(&["visoin"]).unwrap_err();
        assert_eq!(error.to_string(), "no parameter is named by `visoin`; near it: vision");
        assert!(matches!(selected(&["a[b"]), Err(ParameterError::Pattern { .. })));
        assert_eq!(selected(&[]), Err(ParameterError::NoRule));
        let selection = Selection::all(f64::NAN);
        assert!(matches!(selection.resolve(&parameters()), Err(ParameterError::Value { what: "learning rate", .. })));
    }
}
