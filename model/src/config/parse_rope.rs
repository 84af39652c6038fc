//! From HF's `rope_scaling` or `rope_parameters` to the rotary part of a [`TextConfig`](super::TextConfig).

use super::defaults::{MROPE_SECTION, ROPE_THETA};
use super::section::Section;
use super::{ConfigError, RopeScaling, YarnConfig};

/// Base of the vision tower's frequencies, in all models.
const VISION_ROPE_THETA: f64 = 10_000.0;

/// The types that are read; `mrope` is how Qwen2-VL spelled `default`.
const TYPES: &str = "default, mrope, linear, dynamic, yarn";

/// Keys that every type may have.
const COMMON_KEYS: [&str; 6] =
    ["rope_type", "type", "rope_theta", "mrope_section", "mrope_interleaved", "partial_rotary_factor"];
/// Keys of YaRN.
const YARN_KEYS: [&str; 8] = [
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
];

/// What is read of a RoPE section.
pub(super) struct Rope {
    pub(super) theta: f64,
    pub(super) section: [usize; 3],
    pub(super) scaling: RopeScaling,
    pub(super) names: RopeNames,
}

/// Where the file has what the fields of a [`TextConfig`](super::TextConfig) hold.
pub(super) struct RopeNames {
    /// The object, with the dot behind it.
    section: String,
    /// The base.
    theta: String,
}

impl RopeNames {
    /// The error with the file's names in place of the usual ones.
    pub(super) fn respell(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::Invalid { field, value, required } => {
                let field = match field.strip_prefix("text_config.rope_scaling.") {
                    Some(key) => format!("{}{key}", self.section),
                    None if field == "text_config.rope_theta" => self.theta.clone(),
                    None => field,
                };
                ConfigError::Invalid { field, value, required }
            }
            other => other,
        }
    }
}

/// What the rest of the text configuration says to it.
pub(super) struct Beside {
    pub(super) head_dim: usize,
    pub(super) max_position_embeddings: usize,
}

/// Reads `rope_scaling`, or `rope_parameters` where that is absent or empty, in HF's order: the object's own
/// `rope_theta` before the one beside it. Without either, all is HF's default.
pub(super) fn parse_rope(text: &Section, beside: &Beside) -> Result<Rope, ConfigError> {
    let scaling = text.section("rope_scaling")?.filter(|rope| !rope.is_empty());
    let rope = match scaling {
        Some(rope) => rope,
        None => text.section_or_empty("rope_parameters")?,
    };
    if rope.flag("mrope_interleaved")? == Some(false) {
        return Err(ConfigError::unsupported(rope.path("mrope_interleaved"), false, "true"));
    }
    for section in [&rope, text] {
        if let Some(factor) = section.real("partial_rotary_factor")?.filter(|&factor| factor != 1.0) {
            return Err(ConfigError::unsupported(section.path("partial_rotary_factor"), factor, "1.0"));
        }
    }
    let (theta, place) = match rope.real("rope_theta")? {
        Some(theta) => (theta, &rope),
        None => (text.fill("rope_theta", text.real("rope_theta")?, ROPE_THETA)?, text),
    };
    let names = RopeNames { section: rope.path(""), theta: place.path("rope_theta") };
    let (section, scaling) = (parse_section(&rope, beside.head_dim)?, parse_scaling(text, &rope, beside)?);
    Ok(Rope { theta, section, scaling, names })
}

/// Refuses another rotation of patches than the one that there is: HF 5 writes it out as `rope_parameters` of the
/// vision tower.
pub(super) fn check_vision_rope(vision: &Section) -> Result<(), ConfigError> {
    let rope = match vision.section("rope_scaling")?.filter(|rope| !rope.is_empty()) {
        Some(rope) => rope,
        None => vision.section_or_empty("rope_parameters")?,
    };
    let key = if rope.text("rope_type")?.is_some() { "rope_type" } else { "type" };
    if let Some(kind) = rope.text(key)?.filter(|kind| !["axial", "default"].contains(kind)) {
        return Err(ConfigError::unsupported(rope.path(key), kind, "axial, default"));
    }
    for section in [&rope, vision] {
        if let Some(theta) = section.real("rope_theta")? {
            // The object's own counts.
            let known = theta == VISION_ROPE_THETA;
            let refuse = || ConfigError::unsupported(section.path("rope_theta"), theta, "10000");
            return if known { Ok(()) } else { Err(refuse()) };
        }
    }
    Ok(())
}

fn parse_section(rope: &Section, head_dim: usize) -> Result<[usize; 3], ConfigError> {
    let Some(section) = rope.counts("mrope_section")? else {
        return rope.fill("mrope_section", None, clip_section(MROPE_SECTION, head_dim / 2));
    };
    <[usize; 3]>::try_from(section).map_err(|section| {
        ConfigError::invalid(
            rope.path("mrope_section"),
            format!("{section:?}"),
            "three whole numbers: time, height, width",
        )
    })
}

/// What `section` means for `half` frequencies. HF gives height the frequencies 1, 4, .. below `3 · section[1]` and
/// width 2, 5, .. below `3 · section[2]`, as many as there are; its default is made for 64.
fn clip_section(section: [usize; 3], half: usize) -> [usize; 3] {
    let count = |first: usize, most: usize| half.saturating_sub(first).div_ceil(3).min(most);
    let (height, width) = (count(1, section[1]), count(2, section[2]));
    [half - height - width, height, width]
}

fn parse_scaling(text: &Section, rope: &Section, beside: &Beside) -> Result<RopeScaling, ConfigError> {
    let (kind, older) = (rope.text("rope_type")?, rope.text("type")?);
    let plain = |kind: &str| if kind == "mrope" { "default".to_owned() } else { kind.to_owned() };
    let key = if kind.is_some() { "rope_type" } else { "type" };
    if let (Some(kind), Some(older)) = (kind, older)
        && plain(kind) != plain(older)
    {
        tracing::warn!(
            "{} is {older} and {} is {kind}: the latter counts, as in HF",
            rope.path("type"),
            rope.path(key)
        );
    }
    let kind = plain(kind.or(older).unwrap_or("default"));
    let factor = || rope.require("factor", rope.real("factor")?);
    let (scaling, keys): (_, &[&str]) = match kind.as_str() {
        "default" => (RopeScaling::Unscaled, &[]),
        "linear" => (RopeScaling::Linear { factor: factor()? }, &["factor"]),
        "dynamic" => (RopeScaling::Dynamic { factor: factor()? }, &["factor"]),
        "yarn" => (RopeScaling::Yarn(parse_yarn(text, rope, beside)?), &YARN_KEYS),
        _ => return Err(ConfigError::unsupported(rope.path(key), kind, TYPES)),
    };
    let unread: Vec<_> = rope.keys().filter(|key| !COMMON_KEYS.contains(key) && !keys.contains(key)).collect();
    if !unread.is_empty() {
        let place = rope.path("");
        tracing::warn!("{} of {} mean nothing for RoPE of type {kind}", unread.join(", "), place.trim_end_matches('.'));
    }
    Ok(scaling)
}

fn parse_yarn(text: &Section, rope: &Section, beside: &Beside) -> Result<YarnConfig, ConfigError> {
    const ORIGINAL: &str = "original_max_position_embeddings";
    let positions = beside.max_position_embeddings;
    // HF lets the key beside the section, where Phi-3 has it, go first.
    let original = match text.count(ORIGINAL)? {
        Some(original) => original,
        None => rope.or_default(ORIGINAL, rope.count(ORIGINAL)?, positions),
    };
    let factor = match rope.real("factor")? {
        None if rope.is_null("factor") => positions as f64 / original as f64,
        factor => rope.require("factor", factor)?,
    };
    let beta = |key, default| Ok::<_, ConfigError>(rope.real(key)?.filter(|&beta| beta != 0.0).unwrap_or(default));
    let ratio = positions as f64 / original as f64;
    if ratio != factor && ratio != 1.0 {
        // HF says so too: often one of them was forgotten.
        tracing::warn!(
            "{} is {factor}, but max_position_embeddings / {ORIGINAL} is {ratio}; the former counts",
            rope.path("factor")
        );
    }
    Ok(YarnConfig {
        factor,
        original_max_position_embeddings: original,
        attention_factor: rope.real("attention_factor")?,
        beta_fast: beta("beta_fast", 32.0)?,
        beta_slow: beta("beta_slow", 1.0)?,
        mscale: rope.real("mscale")?,
        mscale_all_dim: rope.real("mscale_all_dim")?,
        // Null is false to HF.
        truncate: rope.flag("truncate")?.unwrap_or(!rope.is_null("truncate")),
    })
}

#[cfg(test)]
mod tests {
    use super::clip_section;

    /// Against HF's slices, for every head width up to that of the released models.
    #[test]
    fn the_default_section_is_clipped_as_slices_are() {
        for half in 1..=64 {
            let axis = |i: usize| match i % 3 {
                1 if i < 3 * 20 => 1,
                2 if i < 3 * 20 => 2,
                _ => 0,
            };
            let mut expected = [0; 3];
            (0..half).for_each(|i| expected[axis(i)] += 1);
            assert_eq!(clip_section([24, 20, 20], half), expected, "{half}");
        }
        assert_eq!(clip_section([24, 20, 20], 64), [24, 20, 20]);
    }
}
