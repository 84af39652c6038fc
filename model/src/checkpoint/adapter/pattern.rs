//! Regular expressions as PEFT uses them.
//!
//! PEFT takes Python's; these have look-around and back-references too, which its users' patterns do contain
//! (`^(?!.*visual).*proj$`). A search that goes back too often ends in an error.

use fancy_regex::{Regex, RegexBuilder};

/// Steps back of one match, beyond which a pattern is given up.
const MAX_STEPS: usize = 100_000;

/// The longest pattern that is read, bytes.
const MAX_PATTERN_BYTES: usize = 1 << 16;

/// A regular expression that is compared with whole names of modules.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no regular expression that can be used: {reason}")]
pub struct PatternError {
    /// The pattern, or its beginning.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Pattern {
    /// Matches names that the pattern describes from their first letter to their last: Python's `re.fullmatch`, which
    /// PEFT uses for `target_modules`.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn whole(pattern: &str) -> Result<Self, PatternError> {
        Self::compile(pattern, format!("^(?:{pattern})$"))
    }

    /// Matches names that end in what the pattern describes, behind a dot or as a whole: what PEFT does with the keys
    /// of `rank_pattern` and `alpha_pattern`.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn ending(pattern: &str) -> Result<Self, PatternError> {
        Self::compile(pattern, format!(r"^(?:.*\.)?(?:{pattern})$"))
    }

    fn compile(pattern: &str, whole: String) -> Result<Self, PatternError> {
        if pattern.len() > MAX_PATTERN_BYTES {
            let reason = format!("it has {} bytes, more than {MAX_PATTERN_BYTES}", pattern.len());
            return Err(Self::error(pattern, reason));
        }
        let regex = RegexBuilder::new(&whole).backtrack_limit(MAX_STEPS).build();
        regex.map(Self).map_err(|error| Self::error(pattern, error.to_string()))
    }

    /// Whether it matches a module's name.
    ///
    /// # Errors
    /// [`PatternError`] for a pattern that takes too many steps.
    pub fn matches(&self, module: &str) -> Result<bool, PatternError> {
        self.0.is_match(module).map_err(|error| Self::error(self.0.as_str(), error.to_string()))
    }

    fn error(pattern: &str, reason: String) -> PatternError {
        PatternError { pattern: pattern.chars().take(200).collect(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_and_ends_of_names() {
        let q = "model.language_model.layers.0.self_attn.q_proj";
        let whole = |pattern: &str| Pattern::whole(pattern).unwrap().matches(q).unwrap();
        assert!(whole(r".*\.(q|v)_proj") && whole(r"model(?!\.visual).*q_proj") && whole("nothing|.*q_proj"));
        assert!(!whole("q_proj") && !whole(r".*\.q_pro") && !whole(r"(?!.*language).*"));
        let ending = |pattern: &str| Pattern::ending(pattern).unwrap().matches(q).unwrap();
        assert!(ending("q_proj") && ending(r"layers\.0\.self_attn\.q_proj") && ending(q) && ending("[qk]_proj|x"));
        assert!(!ending("proj") && !ending("self_attn"));
    }

    #[test]
    fn patterns_that_cannot_be_used() {
        for pattern in ["(", "[a", "(?P<", &"a".repeat(MAX_PATTERN_BYTES + 1)] {
            assert!(Pattern::whole(pattern).is_err());
        }
        let slow = Pattern::whole(r"(?:(a|aa)+)+\1b").unwrap();
        assert!(slow.matches(&"a".repeat(200)).is_err(), "given up, not run for ever");
    }
}
