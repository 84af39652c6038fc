//! Two pictures that differ in one thing, or in none.

use rand::Rng;

use crate::expected::{Dialogue, Expected};
use crate::grammar::{indefinite, sentence};
use crate::naming::pick;
use crate::options::Options;
use crate::phrasing;
use crate::scene::Scene;
use crate::split::Split;
use crate::task::Task;

/// Two pictures, and what to say of their difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The pictures.
    pub scenes: [Scene; 2],
    /// What differs, in a sentence.
    pub difference: String,
    /// The noun that one of them lacks, and which one has it.
    only_in: Option<(String, usize)>,
    same: bool,
}

/// Pairs are tried so often before another kind of question is asked.
const TRIES: usize = 12;

impl Pair {
    /// A random pair; `None` where none was found in a few tries.
    pub(crate) fn compose(rng: &mut impl Rng, options: &Options) -> Option<Self> {
        (0..TRIES).find_map(|_| Self::try_compose(rng, options))
    }

    fn try_compose(rng: &mut impl Rng, options: &Options) -> Option<Self> {
        let first = Scene::compose(rng, Task::Compare, options);
        let changed = rng.random_range(0..first.things.len().max(1));
        let thing = first.things.get(changed)?;
        let name = first.definite(thing)?;
        let mut second = first.clone();
        let one = indefinite(&thing.phrases().0);
        let unique = first.things.iter().filter(|other| other.noun == thing.noun).count() == 1;
        let only = (unique && !thing.is_text()).then(|| thing.noun.clone());
        match rng.random_range(0..10) {
            0..4 => Some(Self {
                scenes: [first, second],
                difference: "The two pictures are the same.".to_owned(),
                only_in: None,
                same: true,
            }),
            4 | 5 => {
                let difference = format!("{} is gone.", sentence(&name).trim_end_matches('.'));
                second.things.remove(changed);
                Some(Self { scenes: [first, second], difference, only_in: only.map(|noun| (noun, 0)), same: false })
            }
            6 | 7 => {
                let difference = format!("{} was added.", sentence(&one).trim_end_matches('.'));
                let mut before = second.clone();
                before.things.remove(changed);
                Some(Self { scenes: [before, second], difference, only_in: only.map(|noun| (noun, 1)), same: false })
            }
            _ => {
                let mut moved = second.things.remove(changed);
                let from = moved.place;
                let reach = |side: u32, own: u32| 0..=side.saturating_sub(own) as i32;
                let left = rng.random_range(reach(first.width, moved.sprite.width));
                let top = rng.random_range(reach(first.height, moved.sprite.height));
                moved.move_to(left, top, (first.width, first.height));
                let hidden = options.split != Split::Combinations && moved.is_held_out();
                if moved.place == from || hidden || !second.has_room(&moved) {
                    return None;
                }
                let name = sentence(&name);
                let name = name.trim_end_matches('.');
                let difference = format!("{name} moved from {} to {}.", from.noun(), moved.place.noun());
                second.things.insert(changed, moved);
                Some(Self { scenes: [first, second], difference, only_in: None, same: false })
            }
        }
    }

    /// Asks about the pair.
    pub fn ask(&self, rng: &mut impl Rng) -> Dialogue {
        let sentence_of = |text: String| (text.clone(), Expected::Sentence { text });
        let (question, (answer, expected)) = match (rng.random_range(0..3), &self.only_in) {
            (0, _) => {
                let answer =
                    if self.same { "Yes, they are the same.".to_owned() } else { format!("No. {}", self.difference) };
                (pick(rng, phrasing::SAME, ""), (answer, Expected::YesNo { yes: self.same }))
            }
            (1, Some((noun, picture))) => {
                let which = ["The first picture.", "The second picture."][*picture];
                (pick(rng, phrasing::WHICH_PICTURE, &indefinite(noun)), sentence_of(which.to_owned()))
            }
            _ => (pick(rng, phrasing::DIFFERENCE, ""), sentence_of(self.difference.clone())),
        };
        Dialogue { question, answer, expected }
    }
}
