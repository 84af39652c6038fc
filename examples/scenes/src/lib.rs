//! Drawn scenes with exact answers: pictures of named things, shapes and words, questions about them, and a scorer.
//!
//! Everything comes from a seed and [`Options`]: the same seed gives the same bytes. [`Samples`] is the endless
//! iterator that a training loop reads; [`Sample::line`] is a line of a data set for others.
//!
//! ```
//! use kiln_scenes::{Options, Samples, score};
//!
//! let sample = Samples::new(1, Options::default()).next().expect("there is no end");
//! let picture = sample.scenes[0].render();
//! assert_eq!(picture.width(), sample.scenes[0].width);
//! assert!(score(&sample.dialogue.answer, &sample.dialogue.expected).right);
//! ```
//!
//! [`Split`] says what training never sees.

mod art;
mod ask;
mod background;
mod caption;
mod clip;
mod colour;
mod damage;
mod error;
mod expected;
mod file;
mod font;
mod grammar;
mod locate;
mod naming;
mod options;
mod pair;
mod phrasing;
mod place;
mod relation;
mod sample;
mod scene;
mod score;
mod shape;
mod sheet;
mod split;
mod sprite;
mod subject;
mod task;
mod thing;
mod unknown;
mod words;

pub use art::{Art, COLUMNS, Entry, TABLE, Table};
pub use background::Background;
pub use caption::NOTHING;
pub use clip::Clip;
pub use colour::Colour;
pub use damage::Damage;
pub use error::SceneError;
pub use expected::{Claim, Dialogue, Expected, Located};
pub use file::{write as write_file, write_png};
pub use font::Font;
pub use options::Options;
pub use pair::Pair;
pub use place::Place;
pub use sample::{Sample, Samples};
pub use scene::Scene;
pub use score::{Score, Tally, ThingScore, score};
pub use shape::{Shape, Size};
pub use sheet::{Panel, draw_sheet};
pub use split::{Split, is_held_out, is_word_held_out};
pub use sprite::{Sprite, Turn};
pub use task::Task;
pub use thing::{Bounds, Kind, Thing};
