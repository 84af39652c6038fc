//! Parts of the model.

use std::fmt;
use std::str::FromStr;

/// A part of the model, by the names of its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The vision tower without its mergers.
    Vision,
    /// The merger and the DeepStack mergers: from the tower into the decoder.
    Merger,
    /// The decoder's layers and its final norm.
    Text,
    /// The token embedding, which is the head too where the two are tied.
    Embedding,
    /// The output head, where it is a matrix of its own.
    Head,
}

/// What names of a part begin with. The first that fits holds.
const PREFIXES: [(&str, Part); 5] = [
    ("model.visual.merger.", Part::Merger),
    ("model.visual.deepstack_merger_list.", Part::Merger),
    ("model.visual.", Part::Vision),
    ("model.language_model.embed_tokens.", Part::Embedding),
    ("lm_head.", Part::Head),
];

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vision, Self::Merger, Self::Text, Self::Embedding, Self::Head];

    /// The part that a parameter belongs to.
    pub fn of(name: &str) -> Self {
        PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(Self::Text, |(_, part)| *part)
    }

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Merger => "merger",
            Self::Text => "text",
            Self::Embedding => "embedding",
            Self::Head => "head",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|part| part.name() == name).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_part() {
        for (name, part) in [
            ("model.visual.blocks.0.attn.qkv.weight", Part::Vision),
            ("model.visual.patch_embed.proj.bias", Part::Vision),
            ("model.visual.merger.norm.weight", Part::Merger),
            ("model.visual.deepstack_merger_list.2.linear_fc1.bias", Part::Merger),
            ("model.language_model.layers.3.mlp.gate_proj.weight", Part::Text),
            ("model.language_model.norm.weight", Part::Text),
            ("model.language_model.embed_tokens.weight", Part::Embedding),
            ("lm_head.weight", Part::Head),
        ] {
            assert_eq!(Part::of(name), part, "{name}");
            assert_eq!(part.name().parse(), Ok(part));
        }
    }
}
