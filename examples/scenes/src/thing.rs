//! What a scene shows: a thing with its name, its box and its place.

use serde::{Deserialize, Serialize};

use crate::colour::Colour;
use crate::place::Place;
use crate::shape::{Shape, Size};
use crate::split::{is_held_out, is_word_held_out};
use crate::sprite::Sprite;

/// What kind of thing it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A named thing of the art.
    Art {
        /// Which style it is drawn in.
        style: String,
    },
    /// A geometric shape.
    Shape {
        /// How large it is beside the picture.
        size: Size,
        /// Only its outline is drawn.
        outlined: bool,
    },
    /// A written word.
    Word {
        /// Its letters, as they are written.
        text: String,
        /// The font.
        font: String,
    },
    /// A written number.
    Number {
        /// Its digits.
        text: String,
        /// The font.
        font: String,
    },
    /// Something that has no name here.
    Unknown,
}

/// The name of an unknown thing.
pub const UNKNOWN: (&str, &str) = ("unknown thing", "unknown things");

/// A box in pixels: left and top are inside, right and bottom are the first column and row behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Bounds {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
}

impl Bounds {
    /// The middle.
    pub fn centre(&self) -> (f32, f32) {
        ((self.left + self.right) as f32 / 2.0, (self.top + self.bottom) as f32 / 2.0)
    }

    fn area(&self) -> i32 {
        (self.right - self.left).max(0) * (self.bottom - self.top).max(0)
    }

    /// The part that two boxes share, of the smaller one.
    pub fn overlap(&self, other: &Self) -> f32 {
        let shared = Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        };
        shared.area() as f32 / self.area().min(other.area()).max(1) as f32
    }

    /// Left, top, right and bottom in thousandths of the picture's sides, as Qwen3-VL writes them.
    pub fn thousandths(&self, width: u32, height: u32) -> [u32; 4] {
        let part = |value: i32, side: u32| (value as f64 * 1000.0 / f64::from(side)).round().clamp(0.0, 1000.0) as u32;
        [part(self.left, width), part(self.top, height), part(self.right, width), part(self.bottom, height)]
    }
}

/// A thing in a scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// What kind it is.
    pub kind: Kind,
    /// What it is called without its colour and size: `cat`, `circle`, `word "sun"`, `number 7`.
    pub noun: String,
    /// What several of them are called.
    pub nouns: String,
    /// The colour that its caption says: that of shapes, tinted things, and text (whose caption leaves it out).
    pub colour: Option<Colour>,
    /// The smallest box that has all of it.
    pub bounds: Bounds,
    /// Where the middle of the box lies.
    pub place: Place,
    pub(crate) sprite: Sprite,
}

impl Thing {
    /// Whether it is written text.
    pub fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Word { .. } | Kind::Number { .. })
    }

    /// Noun and plural with what stands before them: `small red outlined circle`, `blue cat`.
    pub fn phrases(&self) -> (String, String) {
        let mut before = String::new();
        let mut put = |word: Option<&str>| before.extend(word.into_iter().flat_map(|word| [word, " "]));
        let colour = self.colour.filter(|_| !self.is_text()).map(Colour::name);
        match self.kind {
            Kind::Shape { size, outlined } => {
                put(size.word());
                put(colour);
                put(outlined.then_some("outlined"));
            }
            _ => put(colour),
        }
        (format!("{before}{}", self.noun), format!("{before}{}", self.nouns))
    }

    /// The phrase without size and outline: `red circle`.
    pub fn coloured_phrase(&self) -> String {
        match self.colour.filter(|_| !self.is_text()) {
            Some(colour) => format!("{} {}", colour.name(), self.noun),
            None => self.noun.clone(),
        }
    }

    /// Whether training never sees it like this.
    pub fn is_held_out(&self) -> bool {
        held_out(&self.kind, &self.noun, self.colour, self.place)
    }

    /// Puts it elsewhere: its box begins at (`left`, `top`) of a picture of `width` x `height`.
    pub(crate) fn move_to(&mut self, left: i32, top: i32, (width, height): (u32, u32)) {
        let (w, h) = (self.sprite.width as i32, self.sprite.height as i32);
        self.bounds = Bounds { left, top, right: left + w, bottom: top + h };
        let (x, y) = self.bounds.centre();
        self.place = Place::of(x, y, width, height);
    }
}

/// Whether training never sees a thing like this at a place.
pub(crate) fn held_out(kind: &Kind, noun: &str, colour: Option<Colour>, place: Place) -> bool {
    match kind {
        Kind::Art { .. } | Kind::Shape { .. } => is_held_out(Some(noun), colour, place),
        Kind::Word { text, .. } => is_word_held_out(text),
        Kind::Number { .. } | Kind::Unknown => false,
    }
}

/// Shapes by their names, for questions about what is not there.
pub(crate) fn shape_nouns() -> impl Iterator<Item = (&'static str, &'static str)> {
    Shape::ALL.into_iter().map(|shape| (shape.name(), shape.plural()))
}
