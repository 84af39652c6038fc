//! What can be asked.

use serde::{Deserialize, Serialize};

/// A kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Every thing and its place.
    Describe,
    /// How many there are.
    Count,
    /// Of which colour a thing is.
    Colour,
    /// What is left of, right of, above or below a thing; whether one is.
    Relation,
    /// Whether there is one.
    Exists,
    /// What is written.
    Read,
    /// Boxes as JSON.
    Locate,
    /// Middles as JSON.
    Point,
    /// Which of these there is; maybe none of them.
    Choose,
    /// At which place a thing is.
    Where,
    /// What is at a place.
    WhatAt,
    /// What the only thing is; maybe an unknown one, maybe nothing.
    Identify,
    /// What differs between two pictures.
    Compare,
    /// What moves in a video, and where to.
    Motion,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Describe,
        Self::Count,
        Self::Colour,
        Self::Relation,
        Self::Exists,
        Self::Read,
        Self::Locate,
        Self::Point,
        Self::Choose,
        Self::Where,
        Self::WhatAt,
        Self::Identify,
        Self::Compare,
        Self::Motion,
    ];

    /// How often it is asked beside the others, where nothing else is said.
    pub fn usual_weight(self) -> f32 {
        match self {
            Self::Describe => 4.0,
            Self::Relation | Self::Read | Self::Locate => 2.0,
            _ => 1.0,
        }
    }

    /// Its name, as meta data write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Count => "count",
            Self::Colour => "colour",
            Self::Relation => "relation",
            Self::Exists => "exists",
            Self::Read => "read",
            Self::Locate => "locate",
            Self::Point => "point",
            Self::Choose => "choose",
            Self::Where => "where",
            Self::WhatAt => "what_at",
            Self::Identify => "identify",
            Self::Compare => "compare",
            Self::Motion => "motion",
        }
    }
}

impl std::str::FromStr for Task {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|task| task.name() == name)
            .ok_or_else(|| format!("no task {name:?}; tasks: {}", names()))
    }
}
