//! What training never sees: other seeds, and pairs of attributes that a rule keeps back.
//!
//! A pair (thing and place, thing and colour, colour and place) or a word is held out where a hash of its names is
//! divisible by ten, so about one in ten is. `train` and `seeds` draw none of them; in `combinations` every picture
//! has one.

use serde::{Deserialize, Serialize};

use crate::colour::Colour;
use crate::place::Place;

/// One pair in this many is held out.
const ONE_IN: u64 = 10;

/// Which pictures are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For training: no pair that is held out.
    #[default]
    Train,
    /// Other seeds than training's, with the pairs that training may see.
    Seeds,
    /// Other seeds, and the first thing of each picture has a pair, or is a word, that training never sees.
    Combinations,
}

impl Split {
    /// Part of the random generator's key, so that no two splits share a stream.
    pub(crate) fn key(self) -> u8 {
        self as u8
    }
}

/// Whether training never sees these two together.
fn is_pair_held_out(first: &str, second: &str) -> bool {
    hash([first, second]).is_multiple_of(ONE_IN)
}

/// Whether training never sees this word.
pub fn is_word_held_out(word: &str) -> bool {
    hash(["word", &word.to_lowercase()]).is_multiple_of(ONE_IN)
}

/// Whether training never sees a thing of this name (`None`: one whose name does not count) in this colour here.
pub fn is_held_out(noun: Option<&str>, colour: Option<Colour>, place: Place) -> bool {
    let placed = noun.is_some_and(|noun| is_pair_held_out(noun, place.noun()));
    let coloured = colour.is_some_and(|colour| is_pair_held_out(colour.name(), place.noun()));
    let both = noun.zip(colour).is_some_and(|(noun, colour)| is_pair_held_out(noun, colour.name()));
    placed || coloured || both
}

/// FNV-1a of both names with a byte between them, and murmur's finaliser, as FNV's low bits alone are poor.
fn hash(names: [&str; 2]) -> u64 {
    let bytes = names[0].bytes().chain([0]).chain(names[1].bytes());
    let mixed =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_a_tenth_of_pairs_is_held_out() {
        let names: Vec<String> = (0..300).map(|number| format!("thing {number}")).collect();
        let pairs = names.iter().flat_map(|name| Place::ALL.map(|place| is_pair_held_out(name, place.noun())));
        let held = pairs.filter(|held| *held).count();
        assert!((216..=324).contains(&held), "{held} of 2700");
    }

    #[test]
    fn the_rule_stays_as_it_is() {
        // Weights that were trained under it would have seen other pairs.
        let held = Colour::ALL.into_iter().flat_map(|colour| {
            Place::ALL
                .into_iter()
                .filter(move |place| is_held_out(None, Some(colour), *place))
                .map(move |place| (colour.name(), place.noun()))
        });
        assert_eq!(held.collect::<Vec<_>>(), EXPECTED_HELD);
    }

    const EXPECTED_HELD: &[(&str, &str)] = &[
        ("red", "the right"),
        ("orange", "the left"),
        ("green", "the bottom"),
        ("purple", "the top left"),
        ("pink", "the top left"),
        ("pink", "the bottom left"),
        ("brown", "the left"),
        ("black", "the top"),
        ("black", "the bottom left"),
        ("white", "the middle"),
        ("white", "the right"),
    ];
}
