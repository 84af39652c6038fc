//! Questions about one scene, with their answers.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::art::Art;
use crate::expected::{Claim, Dialogue, Expected, Located};
use crate::grammar::{NUMBERS, counted, indefinite, join, sentence};
use crate::phrasing;
use crate::place::Place;
use crate::scene::Scene;
use crate::task::Task;
use crate::thing::{Kind, Thing, shape_nouns};

/// What a caption says of a picture that shows nothing.
pub const NOTHING: &str = "There is nothing in the picture.";

/// A direction from one thing to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Above,
    Below,
}

/// Middles further apart than this part of the picture's side lie clearly beside each other.
const CLEARLY: f32 = 0.1;
/// Middles no further apart than this do clearly not.
const HARDLY: f32 = 0.03;

impl Side {
    const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Above, Self::Below];

    fn phrase(self) -> &'static str {
        match self {
            Self::Left => "to the left of",
            Self::Right => "to the right of",
            Self::Above => "above",
            Self::Below => "below",
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }

    /// Whether `thing` is on this side of `other`; `None` where that is not clear.
    fn holds(self, thing: &Thing, other: &Thing, scene: &Scene) -> Option<bool> {
        let ((x, y), (ox, oy)) = (thing.bounds.centre(), other.bounds.centre());
        let (w, h) = (scene.width as f32, scene.height as f32);
        let apart = match self {
            Self::Left => (ox - x) / w,
            Self::Right => (x - ox) / w,
            Self::Above => (oy - y) / h,
            Self::Below => (y - oy) / h,
        };
        if apart >= CLEARLY {
            Some(true)
        } else if apart <= HARDLY {
            Some(false)
        } else {
            None
        }
    }
}

/// One of the ways to ask, with `name` in it.
pub(crate) fn pick(rng: &mut impl Rng, ways: &[&str], name: &str) -> String {
    ways.choose(rng).expect("there is a way to ask").replace("{}", name)
}

/// Alike things counted, in the order in which they come first: "a cat", "two dogs".
fn count_alike(things: &[&Thing]) -> Vec<String> {
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
fn answer_things(items: Vec<String>) -> (String, Expected) {
    let answer = if items.is_empty() { "Nothing.".to_owned() } else { sentence(&join(&items)) };
    (answer, Expected::Things { items })
}

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

    /// The scene's things as a caption says them: by place, row by row, and by name where they share one.
    pub fn claims(&self) -> Vec<Claim> {
        let mut claims: Vec<Claim> = Vec::new();
        for thing in &self.things {
            let (phrase, plural) = thing.phrases();
            match claims.iter_mut().find(|claim| claim.phrase == phrase && claim.place == thing.place) {
                Some(claim) => claim.count += 1,
                None => claims.push(Claim { phrase, plural, count: 1, place: thing.place }),
            }
        }
        claims.sort_by(|a, b| (a.place, &a.phrase).cmp(&(b.place, &b.phrase)));
        claims
    }

    /// The caption.
    pub fn caption(&self) -> (String, Expected) {
        let claims = self.claims();
        let say =
            |claim: &Claim| format!("{} {}", counted(claim.count, &claim.phrase, &claim.plural), claim.place.phrase());
        let said: Vec<String> = claims.iter().map(say).collect();
        let answer = if said.is_empty() { NOTHING.to_owned() } else { sentence(&join(&said)) };
        (answer, Expected::Caption { claims })
    }

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
    fn pick_definite(&self, rng: &mut impl Rng, fits: impl Fn(&Thing) -> bool) -> Option<(&Thing, String)> {
        let named: Vec<_> = self
            .things
            .iter()
            .filter(|thing| fits(thing))
            .filter_map(|thing| Some((thing, self.definite(thing)?)))
            .collect();
        named.choose(rng).cloned()
    }

    /// Nouns that are not in the scene.
    fn pick_absent(&self, art: &Art, rng: &mut impl Rng) -> (String, String) {
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
    fn pick_present(&self, rng: &mut impl Rng) -> Option<(String, String)> {
        let named: Vec<_> = self.things.iter().filter(|thing| !thing.is_text()).collect();
        named.choose(rng).map(|thing| (thing.noun.clone(), thing.nouns.clone()))
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

    fn ask_relation(&self, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
        let (other, name) = self.pick_definite(rng, |_| true)?;
        let side = *Side::ALL.choose(rng)?;
        if rng.random_bool(0.5) {
            let others = self.things.iter().filter(|thing| !std::ptr::eq(*thing, other));
            let judged: Option<Vec<_>> = others.map(|thing| Some((thing, side.holds(thing, other, self)?))).collect();
            let mut there: Vec<&Thing> =
                judged?.into_iter().filter(|(_, holds)| *holds).map(|(thing, _)| thing).collect();
            there.sort_by_key(|thing| (thing.place, thing.phrases()));
            let question = pick(rng, phrasing::BESIDE, &format!("{} {name}", side.phrase()));
            return Some((question, answer_things(count_alike(&there))));
        }
        let (thing, first) = self.pick_definite(rng, |thing| !std::ptr::eq(thing, other))?;
        let yes = side.holds(thing, other, self)?;
        let asked = format!("{first} {} {name}", side.phrase());
        let question = format!("{} {asked}?", ["Is", "Do you see"][usize::from(rng.random_bool(0.2))]);
        let answer = if yes {
            format!("Yes, {first} is {} {name}.", side.phrase())
        } else if side.opposite().holds(thing, other, self)? {
            format!("No, {first} is {} {name}.", side.opposite().phrase())
        } else {
            format!("No, {first} is not {} {name}.", side.phrase())
        };
        Some((question, (answer, Expected::YesNo { yes })))
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

    fn ask_locate(&self, art: &Art, rng: &mut impl Rng, points: bool) -> Option<(String, (String, Expected))> {
        let ways = if points { phrasing::POINT } else { phrasing::LOCATE };
        let (name, things): (String, Vec<&Thing>) = match rng.random_range(0..10) {
            0 => {
                let (noun, _) = self.pick_absent(art, rng);
                let answer = format!("There is no {noun}.");
                let located = Vec::new();
                let expected = if points { Expected::Points { located } } else { Expected::Boxes { located } };
                return Some((pick(rng, ways, &format!("the {noun}")), (answer, expected)));
            }
            1 | 2 if !self.things.is_empty() => ("every thing".to_owned(), self.things.iter().collect()),
            _ => {
                let (noun, nouns) = self.pick_present(rng)?;
                let things: Vec<&Thing> = self.things.iter().filter(|thing| thing.noun == noun).collect();
                (if things.len() == 1 { format!("the {noun}") } else { format!("all {nouns}") }, things)
            }
        };
        let mut located: Vec<(Place, Located)> = things
            .into_iter()
            .map(|thing| {
                let bounds = thing.bounds.thousandths(self.width, self.height);
                (thing.place, Located { label: thing.noun.replace('"', ""), bounds })
            })
            .collect();
        located.sort_by(|(place, a), (other, b)| (place, &a.label, a.bounds).cmp(&(other, &b.label, b.bounds)));
        let located: Vec<Located> = located.into_iter().map(|(_, located)| located).collect();
        let answer = write_json(&located, points);
        let expected = if points { Expected::Points { located } } else { Expected::Boxes { located } };
        Some((pick(rng, ways, &name), (answer, expected)))
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

/// Boxes, or their middles, as Qwen3-VL writes them: a fenced list with an object a line.
fn write_json(located: &[Located], points: bool) -> String {
    let object = |Located { label, bounds: [left, top, right, bottom] }: &Located| {
        if points {
            format!("\t{{\"point_2d\": [{}, {}], \"label\": \"{label}\"}}", (left + right) / 2, (top + bottom) / 2)
        } else {
            format!("\t{{\"bbox_2d\": [{left}, {top}, {right}, {bottom}], \"label\": \"{label}\"}}")
        }
    };
    let objects: Vec<String> = located.iter().map(object).collect();
    format!("```json\n[\n{}\n]\n```", objects.join(",\n"))
}
