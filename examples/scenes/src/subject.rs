//! Chooses what is drawn: a thing before it has a place.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::art::Art;
use crate::colour::Colour;
use crate::font::Font;
use crate::shape::{Shape, Size};
use crate::sprite::{Sprite, Turn};
use crate::task::Task;
use crate::thing::{Kind, UNKNOWN};
use crate::unknown;
use crate::words::draw_word;

/// How often each kind is chosen beside the others.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    art: u32,
    tinted: u32,
    shape: u32,
    word: u32,
    number: u32,
    unknown: u32,
    /// Probability that a thing is like the one before it.
    pub again: f64,
    /// Probability that the picture has nothing on it.
    pub blank: f64,
}

impl Mix {
    /// What a task needs.
    pub fn of(task: Task) -> Self {
        let usual = Self { art: 60, tinted: 8, shape: 20, word: 5, number: 4, unknown: 2, again: 0.08, blank: 0.0 };
        match task {
            Task::Describe => Self { blank: 0.06, ..usual },
            Task::Count => Self { again: 0.6, ..usual },
            Task::Colour => Self { art: 20, tinted: 25, shape: 45, word: 10, ..usual },
            Task::Read => Self { art: 0, tinted: 0, shape: 0, word: 80, number: 20, unknown: 0, ..usual },
            Task::Identify => Self { unknown: 25, blank: 0.15, ..usual },
            _ => usual,
        }
    }

    /// What comes beside the text of a reading task.
    pub fn beside_text(self) -> Self {
        Self { art: 60, tinted: 5, shape: 30, word: 5, ..self }
    }
}

/// A thing without a place.
#[derive(Debug, Clone)]
pub struct Subject {
    pub kind: Kind,
    pub noun: String,
    pub nouns: String,
    pub colour: Option<Colour>,
    pub sprite: Sprite,
    /// The colour that must be told from the background.
    pub shade: [u8; 3],
}

/// The room that a thing may take.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Width of the picture.
    pub width: u32,
    /// Its shorter side.
    pub side: u32,
    /// How many things share it.
    pub things: usize,
    /// The picture has no hues.
    pub grey: bool,
}

/// Things of the art are drawn with sides of at least and at most so many pixels.
const ART_SIDES: (f32, f32) = (20.0, 60.0);
/// Heights of text in pixels, from the deepest to the highest letter; capitals have about six tenths of it.
const SMALLEST_TEXT: f32 = 20.0;
const LARGEST_TEXT: f32 = 56.0;

impl Room {
    /// A side of a thing of the art.
    fn art_side(&self, rng: &mut impl Rng) -> u32 {
        let part = [0.6, 0.46, 0.4, 0.34, 0.32][self.things.clamp(1, 5) - 1];
        let high = (part * self.side as f32).clamp(ART_SIDES.0 + 4.0, ART_SIDES.1);
        let low = (0.17 * self.side as f32).clamp(ART_SIDES.0, high - 2.0);
        rng.random_range(low..high) as u32
    }
}

impl Subject {
    /// A random one.
    pub fn draw(rng: &mut impl Rng, art: &Art, mix: Mix, room: Room) -> Self {
        let weights = [mix.art, mix.tinted * u32::from(!room.grey), mix.shape, mix.word, mix.number, mix.unknown];
        let mut ticket = rng.random_range(0..weights.iter().sum());
        let kind = weights.iter().position(|weight| {
            let here = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            here
        });
        match kind {
            Some(0) => Self::draw_art(rng, art, room, false),
            Some(1) => Self::draw_art(rng, art, room, true),
            Some(2) => Self::draw_shape(rng, room),
            Some(3) => Self::draw_text(rng, room, true),
            Some(4) => Self::draw_text(rng, room, false),
            _ => Self::draw_unknown(rng, art, room),
        }
    }

    /// A thing of the same name as another, drawn anew.
    pub fn like(other: &Self, rng: &mut impl Rng, art: &Art, room: Room) -> Self {
        match &other.kind {
            Kind::Art { .. } => {
                let known = &art.table().known;
                let cell =
                    known.iter().position(|entry| entry.name == other.noun).expect("it was drawn from the table");
                Self::draw_cell(rng, art, room, cell, other.colour)
            }
            Kind::Shape { .. } => {
                let shape =
                    Shape::ALL.into_iter().find(|shape| shape.name() == other.noun).expect("it was drawn from them");
                let same = rng.random_bool(0.5);
                let colour = other.colour.filter(|_| same).unwrap_or_else(|| draw_colour(rng, room));
                Self::draw_this_shape(rng, room, shape, colour)
            }
            _ => Self::draw_art(rng, art, room, false),
        }
    }

    fn draw_art(rng: &mut impl Rng, art: &Art, room: Room, tinted: bool) -> Self {
        let cell = rng.random_range(0..art.table().known.len());
        let tint = if tinted { art.tints(cell).choose(rng).copied() } else { None };
        Self::draw_cell(rng, art, room, cell, tint)
    }

    fn draw_cell(rng: &mut impl Rng, art: &Art, room: Room, cell: usize, tint: Option<Colour>) -> Self {
        let entry = &art.table().known[cell];
        let side = room.art_side(rng);
        let (style, sprite) = draw_style(rng, art, cell, side);
        let sprite = match tint {
            Some(colour) => sprite.tinted(colour.shade(rng)),
            None => sprite,
        };
        Self {
            kind: Kind::Art { style },
            noun: entry.name.clone(),
            nouns: entry.plural.clone(),
            colour: tint,
            shade: sprite.mean_colour(),
            sprite,
        }
    }

    fn draw_shape(rng: &mut impl Rng, room: Room) -> Self {
        let shape = *Shape::ALL.choose(rng).expect("there are shapes");
        let colour = draw_colour(rng, room);
        Self::draw_this_shape(rng, room, shape, colour)
    }

    fn draw_this_shape(rng: &mut impl Rng, room: Room, shape: Shape, colour: Colour) -> Self {
        let most = if room.things > 3 { 2 } else { 3 };
        let size = Size::ALL[rng.random_range(0..most)];
        let outlined = rng.random_bool(0.3);
        let side = (size.part(rng) * room.side as f32).round() as u32;
        Self::of_shape(shape, colour, colour.shade(rng), size, outlined, side)
    }

    /// A shape of which all is known.
    pub fn of_shape(shape: Shape, colour: Colour, shade: [u8; 3], size: Size, outlined: bool, side: u32) -> Self {
        Self {
            kind: Kind::Shape { size, outlined },
            noun: shape.name().to_owned(),
            nouns: shape.plural().to_owned(),
            colour: Some(colour),
            sprite: shape.draw(side, shade, outlined),
            shade,
        }
    }

    fn draw_text(rng: &mut impl Rng, room: Room, word: bool) -> Self {
        let font = Font::embedded().choose(rng).expect("there are fonts");
        let colour = draw_colour(rng, room);
        let shade = colour.shade(rng);
        let text = if word {
            draw_word(rng)
        } else {
            let digits = rng.random_range(1..=3);
            rng.random_range(0..10_u32.pow(digits)).to_string()
        };
        let high = (room.side as f32 * 0.4).clamp(SMALLEST_TEXT + 4.0, LARGEST_TEXT);
        let mut sprite = font.write(&text, rng.random_range(SMALLEST_TEXT..high), shade);
        if sprite.width as f32 > room.width as f32 * 0.85 {
            sprite = font.write(&text, SMALLEST_TEXT, shade);
        }
        let name = font.name.clone();
        let (kind, noun) = if word {
            (Kind::Word { text: text.clone(), font: name }, format!("word \"{text}\""))
        } else {
            (Kind::Number { text: text.clone(), font: name }, format!("number {text}"))
        };
        Self { kind, nouns: noun.clone(), noun, colour: Some(colour), sprite, shade }
    }

    fn draw_unknown(rng: &mut impl Rng, art: &Art, room: Room) -> Self {
        let side = room.art_side(rng);
        let known = art.table().known.len();
        let cells = known..known + art.table().unknown.len();
        let sprite = if !cells.is_empty() && rng.random_bool(0.4) {
            {
                let cell = rng.random_range(cells);
                draw_style(rng, art, cell, side).1
            }
        } else {
            unknown::draw(rng, side, room.grey)
        };
        let (noun, nouns) = UNKNOWN;
        let shade = sprite.mean_colour();
        Self { kind: Kind::Unknown, noun: noun.to_owned(), nouns: nouns.to_owned(), colour: None, sprite, shade }
    }
}

/// A cell in a random style, mirrored or tilted a little.
fn draw_style(rng: &mut impl Rng, art: &Art, cell: usize, side: u32) -> (String, Sprite) {
    let style = *art.styles(cell).choose(rng).expect("each thing has a style");
    let tilt = if rng.random_bool(0.4) { rng.random_range(-0.2..0.2) } else { 0.0 };
    let turn = Turn { mirrored: rng.random(), angle: tilt };
    let sprite = art.draw(cell, style, side, turn).expect("the style has it");
    (art.table().styles[style].clone(), sprite)
}

fn draw_colour(rng: &mut impl Rng, room: Room) -> Colour {
    let colours: &[Colour] = if room.grey { &Colour::GREYS } else { &Colour::ALL };
    *colours.choose(rng).expect("there are colours")
}
