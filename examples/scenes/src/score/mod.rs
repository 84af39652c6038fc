//! How right an answer is: each form of answer is read strictly, and what can't be read counts as wrong.
//!
//! An answer is compared as a whole: a right word among others earns nothing.

mod boxes;
mod parse;
mod tally;

pub use tally::Tally;

use serde::{Deserialize, Serialize};

use crate::colour::Colour;
use crate::expected::{Claim, Expected};
use crate::grammar::{NUMBERS, sentence};
use crate::place::Place;

/// How right an answer is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// All of it is right, and nothing else was said. Boxes: each overlaps its own by half at least.
    pub right: bool,
    /// For captions, lists and boxes: what was found of each thing that is expected.
    pub things: Vec<ThingScore>,
    /// Things that were named but are not there, and parts that can't be read.
    pub invented: usize,
}

/// What an answer says of one expected thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThingScore {
    /// The thing.
    pub name: String,
    /// It is named.
    pub named: bool,
    /// It is named at its place.
    pub placed: bool,
    /// Boxes: intersection over union with the box of its name that fits best; 0 without one.
    pub iou: Option<f32>,
}

/// A box is right from this intersection over union on.
const RIGHT_IOU: f32 = 0.5;
/// Longer answers to short questions are wrong.
const MOST_WORDS: usize = 12;

/// Scores an answer.
pub fn score(answer: &str, expected: &Expected) -> Score {
    let answer = answer.trim();
    match expected {
        Expected::Caption { claims } => score_caption(answer, claims),
        Expected::Things { items } => score_things(answer, items),
        Expected::Boxes { located } => boxes::score(answer, located, false),
        Expected::Points { located } => boxes::score(answer, located, true),
        Expected::Count { count } => whole(read_count(answer) == Some(*count)),
        Expected::Colour { colour } => whole(read_colour(answer) == Some(*colour)),
        Expected::YesNo { yes } => whole(read_yes_no(answer) == Some(*yes)),
        Expected::Place { place } => whole(read_place(answer) == Some(*place)),
        Expected::Text { text } => whole(read_text(answer) == *text),
        Expected::Sentence { text } => whole(normal(answer) == normal(text)),
    }
}

fn whole(right: bool) -> Score {
    Score { right, ..Score::default() }
}

/// A sentence without its full stop, with a capital in front, and one space between words.
fn normal(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    sentence(text.strip_suffix('.').unwrap_or(&text))
}

/// Words and numbers of an answer, in small letters.
fn words(answer: &str) -> Vec<String> {
    let split = answer.split(|letter: char| !letter.is_alphanumeric() && letter != '-');
    split.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The one item of a short `answer` that `read` knows; `None` where it knows none, or more than one.
fn only<T>(answer: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let words = words(answer);
    if words.len() > MOST_WORDS {
        return None;
    }
    let mut found = words.iter().filter_map(|word| read(word));
    found.next().filter(|_| found.next().is_none())
}

fn read_count(answer: &str) -> Option<usize> {
    only(answer, |word| match word {
        "no" | "none" | "nothing" => Some(0),
        _ => NUMBERS.iter().position(|number| *number == word).or_else(|| word.parse().ok()),
    })
}

fn read_colour(answer: &str) -> Option<Colour> {
    only(answer, |word| Colour::from_name(if word == "gray" { "grey" } else { word }))
}

/// The first word decides; the other one may not follow.
fn read_yes_no(answer: &str) -> Option<bool> {
    let words = words(answer);
    let yes = match words.first()?.as_str() {
        "yes" => true,
        "no" => false,
        _ => return None,
    };
    let opposite: &[&str] = if yes { &["no", "not"] } else { &["yes"] };
    let contradicted = words[1..].iter().any(|word| opposite.contains(&word.as_str()));
    (!contradicted).then_some(yes)
}

fn read_place(answer: &str) -> Option<Place> {
    let normal = normal(answer);
    Place::ALL.into_iter().find(|place| normal == sentence(place.phrase()))
}

/// The text without quotes and a full stop around it.
fn read_text(answer: &str) -> &str {
    let bare = answer.strip_suffix('.').unwrap_or(answer);
    bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(bare)
}

/// Compares a caption with its claims, each taken as often as it counts.
fn score_caption(answer: &str, claims: &[Claim]) -> Score {
    let mut said = parse::read_caption(answer, claims);
    let expected = claims.iter().flat_map(|claim| std::iter::repeat_n(claim, claim.count));
    let mut things: Vec<ThingScore> = Vec::new();
    let mut left: Vec<(usize, &str)> = Vec::new();
    // What is at its right place is taken first, so that its twin elsewhere can't take it.
    for claim in expected {
        let found = said.named.iter().position(|(name, place)| *name == claim.phrase && *place == Some(claim.place));
        match found {
            Some(at) => drop(said.named.swap_remove(at)),
            None => left.push((things.len(), &claim.phrase)),
        }
        let named = found.is_some();
        things.push(ThingScore { name: claim.phrase.clone(), named, placed: named, iou: None });
    }
    for (number, phrase) in left {
        if let Some(at) = said.named.iter().position(|(name, _)| name == phrase) {
            said.named.swap_remove(at);
            things[number].named = true;
        }
    }
    let invented = said.named.len() + said.unreadable;
    let all = things.iter().all(|thing| thing.named && thing.placed);
    let empty_is_said = !claims.is_empty() || said.says_nothing;
    Score { right: all && invented == 0 && empty_is_said, things, invented }
}

/// Compares a list of things with what is expected, in any order.
fn score_things(answer: &str, items: &[String]) -> Score {
    let mut said: Vec<String> = parse::split_list(answer).into_iter().map(|item| item.to_owned()).collect();
    if items.is_empty() {
        let right = normal(answer) == "Nothing.";
        return Score { right, things: Vec::new(), invented: if right { 0 } else { said.len() } };
    }
    let mut things = Vec::new();
    for item in items {
        let found = said.iter().position(|said| parse::same_item(said, item));
        if let Some(at) = found {
            said.swap_remove(at);
        }
        things.push(ThingScore { name: item.clone(), named: found.is_some(), placed: found.is_some(), iou: None });
    }
    let right = things.iter().all(|thing| thing.named) && said.is_empty();
    Score { right, things, invented: said.len() }
}

#[cfg(test)]
mod tests;
