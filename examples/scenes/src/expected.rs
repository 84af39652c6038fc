//! The right answer to a question, in a form that a program compares.

use serde::{Deserialize, Serialize};

use crate::colour::Colour;
use crate::place::Place;

/// Some things of a caption that are alike and at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What one of them is called: `large red circle`.
    pub phrase: String,
    /// What several are called.
    pub plural: String,
    /// How many.
    pub count: usize,
    /// Where.
    pub place: Place,
}

/// A named box, or a named point, in thousandths of the picture's sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The name.
    pub label: String,
    /// Left, top, right and bottom of the thing.
    pub bounds: [u32; 4],
}

/// What is expected of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Expected {
    /// Every thing with its place; none: that there is nothing.
    Caption {
        /// The things.
        claims: Vec<Claim>,
    },
    /// A number.
    Count {
        /// It.
        count: usize,
    },
    /// A colour.
    Colour {
        /// It.
        colour: Colour,
    },
    /// Yes or no.
    YesNo {
        /// Which.
        yes: bool,
    },
    /// Things without places, each with its article; none: that there is nothing.
    Things {
        /// `a cat`, `two dogs`.
        items: Vec<String>,
    },
    /// A place.
    Place {
        /// It.
        place: Place,
    },
    /// Written text.
    Text {
        /// Its letters.
        text: String,
    },
    /// Boxes in JSON; none: that there is no such thing.
    Boxes {
        /// They.
        located: Vec<Located>,
    },
    /// Points in JSON, each inside of its thing's box.
    Points {
        /// They.
        located: Vec<Located>,
    },
    /// A sentence of the grammar, as it is.
    Sentence {
        /// It.
        text: String,
    },
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    /// The question.
    pub question: String,
    /// The answer, in the words that training should teach.
    pub answer: String,
    /// What a right answer says.
    pub expected: Expected,
}
