//! Names of a scene's things, as questions and answers use them.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::art::Art;
use crate::expected::Expected;
use crate::grammar::{counted, join, sentence};
use crate::scene::Scene;
use crate::thing::{Kind, Thing, shape_nouns};

/// One of the ways to ask, with `name` in it.
pub(crate) fn pick(rng: &mut impl Rng, ways: &[&str], name: &str) -> String {
    ways.choose(rng).expect("there is a way to ask").replace("{}", name)
}

/// Alike things counted, in the order in which they come first: "a cat", "two dogs".
pub(crate) fn count_alike(things: &[&Thing]) -> Vec<String> {
    let mut alike: Vec<((String, String), usize)> = Vec::new();
    for thing in things {
        let phrases = thing.phrases();
        match alike.iter_mut().find(|(known, _)| *known == phrases) {
            Some((_, count)) => *count += 1,
            None => alike.push((phrases, 1)),
        }
    }
    alike.iter().map(|((phrase, plural), count)| counted(*count, phrase, plural)).collect()
}

/// A list of things as an answer.
pub(crate) fn answer_things(items: Vec<String>) -> (String, Expected) {
    let answer = if items.is_empty() { "Nothing.".to_owned() } else { sentence(&join(&items)) };
    (answer, Expected::Things { items })
}

impl Scene {
    /// A name that fits this thing alone: "the cat", "the red circle", "the word".
    pub(crate) fn definite(&self, thing: &Thing) -> Option<String> {
        let alone = |name: fn(&Thing) -> String| {
            (self.things.iter().filter(|other| name(other) == name(thing)).count() == 1)
                .then(|| format!("the {}", name(thing)))
        };
        let kind_name = |thing: &Thing| match thing.kind {
            Kind::Word { .. } => "word".to_owned(),
            Kind::Number { .. } => "number".to_owned(),
            _ => thing.noun.clone(),
        };
        alone(kind_name).or_else(|| if thing.is_text() { None } else { alone(Thing::coloured_phrase) })
    }

    /// A random thing that has a name of its own, with it.
    pub(crate) fn pick_definite(&self, rng: &mut impl Rng, fits: impl Fn(&Thing) -> bool) -> Option<(&Thing, String)> {
        let named: Vec<_> = self
            .things
            .iter()
            .filter(|thing| fits(thing))
            .filter_map(|thing| Some((thing, self.definite(thing)?)))
            .collect();
        named.choose(rng).cloned()
    }

    /// Nouns that are not in the scene.
    pub(crate) fn pick_absent(&self, art: &Art, rng: &mut impl Rng) -> (String, String) {
        let known = &art.table().known;
        loop {
            let (noun, nouns) = if rng.random_bool(0.2) {
                let (noun, nouns) = shape_nouns().nth(rng.random_range(0..8)).expect("there are eight");
                (noun.to_owned(), nouns.to_owned())
            } else {
                let entry = known.choose(rng).expect("there are things");
                (entry.name.clone(), entry.plural.clone())
            };
            if !self.things.iter().any(|thing| thing.noun == noun) {
                return (noun, nouns);
            }
        }
    }

    /// Nouns of a thing that is not text, if there is one.
    pub(crate) fn pick_present(&self, rng: &mut impl Rng) -> Option<(String, String)> {
        let named: Vec<_> = self.things.iter().filter(|thing| !thing.is_text()).collect();
        named.choose(rng).map(|thing| (thing.noun.clone(), thing.nouns.clone()))
    }
}
