//! Questions about one scene, with their answers.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::art::Art;
use crate::expected::{Dialogue, Expected};
use crate::grammar::{NUMBERS, counted, indefinite, sentence};
use crate::naming::{answer_things, count_alike, pick};
use crate::phrasing;
use crate::place::Place;
use crate::scene::Scene;
use crate::task::Task;
use crate::thing::{Kind, Thing};

impl Scene {
    /// Asks about the scene; `None` where the task does not suit it, or takes more than one picture.
    pub fn ask(&self, task: Task, art: &Art, rng: &mut impl Rng) -> Option<Dialogue> {
        let (question, (answer, expected)) = match task {
            Task::Describe => (pick(rng, phrasing::DESCRIBE, ""), self.caption()),
            Task::Count => self.ask_count(art, rng)?,
            Task::Colour => self.ask_colour(rng)?,
            Task::Relation => self.ask_relation(rng)?,
            Task::Exists => self.ask_exists(art, rng)?,
            Task::Read => self.ask_read(rng)?,
            Task::Locate => self.ask_locate(art, rng, false)?,
            Task::Point => self.ask_locate(art, rng, true)?,
            Task::Choose => self.ask_choose(art, rng)?,
            Task::Where => self.ask_where(rng)?,
            Task::WhatAt => self.ask_what_at(rng),
            Task::Identify => self.ask_identity(rng)?,
            Task::Compare | Task::Motion => return None,
        };
        Some(Dialogue { question, answer, expected })
    }

    fn ask_count(&self, art: &Art, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
        let (question, count) = match rng.random_range(0..10) {
            0 | 1 => (pick(rng, phrasing::COUNT_ALL, ""), self.things.len()),
            2 => {
                let (_, nouns) = self.pick_absent(art, rng);
                (pick(rng, phrasing::COUNT, &nouns), 0)
            }
            _ => {
                let (noun, nouns) = self.pick_present(rng)?;
                let count = self.things.iter().filter(|thing| thing.noun == noun).count();
                (pick(rng, phrasing::COUNT, &nouns), count)
            }
        };
        Some((question, (sentence(NUMBERS[count.min(10)]), Expected::Count { count })))
    }

    fn ask_colour(&self, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
        let alone = |thing: &&Thing| {
            // The name must do without the colour.
            self.definite(thing).filter(|name| thing.is_text() || *name == format!("the {}", thing.noun))
        };
        let coloured = self.things.iter().filter(|thing| thing.colour.is_some());
        let named: Vec<_> = coloured.filter_map(|thing| Some((thing.colour?, alone(&thing)?))).collect();
        let (colour, name) = named.choose(rng)?;
        Some((pick(rng, phrasing::COLOUR, name), (sentence(colour.name()), Expected::Colour { colour: *colour })))
    }

    fn ask_exists(&self, art: &Art, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
        let yes = rng.random();
        let (noun, nouns) = if yes { self.pick_present(rng)? } else { self.pick_absent(art, rng) };
        let there: Vec<&Thing> = self.things.iter().filter(|thing| thing.noun == noun).collect();
        let one = indefinite(&noun);
        let answer = match there.as_slice() {
            [] => format!("No, there is no {noun}."),
            [thing] => format!("Yes, there is {one} {}.", thing.place.phrase()),
            several => format!("Yes, there are {}.", counted(several.len(), &noun, &nouns)),
        };
        Some((pick(rng, phrasing::EXISTS, &one), (answer, Expected::YesNo { yes })))
    }

    fn ask_read(&self, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
        let (thing, name) = self.pick_definite(rng, Thing::is_text)?;
        let (Kind::Word { text, .. } | Kind::Number { text, .. }) = &thing.kind else { return None };
        Some((pick(rng, phrasing::READ, &name), (text.clone(), Expected::Text { text: text.clone() })))
    }

    fn ask_choose(&self, art: &Art, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
        let mut names: Vec<String> = Vec::new();
        let present = if rng.random_bool(0.6) { Some(self.pick_present(rng)?.0) } else { None };
        while names.len() < 3 {
            let (noun, _) = self.pick_absent(art, rng);
            if !names.contains(&noun) {
                names.push(noun);
            }
        }
        if let Some(noun) = &present {
            names[rng.random_range(0..3)].clone_from(noun);
        }
        let names: Vec<String> = names.iter().map(|noun| indefinite(noun)).collect();
        let listed = format!("{}, {} or {}", names[0], names[1], names[2]);
        let answer = match present {
            Some(noun) => sentence(&indefinite(&noun)),
            None => "None of these.".to_owned(),
        };
        let expected = Expected::Sentence { text: answer.clone() };
        Some((pick(rng, phrasing::CHOOSE, &listed), (answer, expected)))
    }

    fn ask_where(&self, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
        let (thing, name) = self.pick_definite(rng, |_| true)?;
        let answer = sentence(thing.place.phrase());
        Some((pick(rng, phrasing::WHERE, &name), (answer, Expected::Place { place: thing.place })))
    }

    fn ask_what_at(&self, rng: &mut impl Rng) -> (String, (String, Expected)) {
        let filled: Vec<Place> = self.things.iter().map(|thing| thing.place).collect();
        let place = match filled.choose(rng) {
            Some(place) if rng.random_bool(0.85) => *place,
            _ => *Place::ALL.choose(rng).expect("there are nine"),
        };
        let mut there: Vec<&Thing> = self.things.iter().filter(|thing| thing.place == place).collect();
        there.sort_by_key(|thing| thing.phrases());
        (pick(rng, phrasing::WHAT_AT, place.phrase()), answer_things(count_alike(&there)))
    }

    fn ask_identity(&self, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
        let things: Vec<&Thing> = self.things.iter().collect();
        (things.len() <= 1).then(|| (pick(rng, phrasing::IDENTIFY, ""), answer_things(count_alike(&things))))
    }
}
