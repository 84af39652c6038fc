//! A scene: things at places of a picture, drawn from a seed.

use std::ops::Range;

use image::RgbImage;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::background::Background;
use crate::damage::Damage;
use crate::options::Options;
use crate::place::Place;
use crate::split::Split;
use crate::subject::{Mix, Room, Subject};
use crate::task::Task;
use crate::thing::{Bounds, Kind, Thing, held_out};

/// Boxes share at most this part of the smaller one; written text shares nothing.
const LARGEST_OVERLAP: f32 = 0.2;
/// The middle of a box stays this part of a side away from the lines between places.
const CLEAR_OF_LINES: f32 = 0.02;
/// Colour distance to the background, at least: of shapes and text; of shaded drawings, which have edges of their own.
const CONTRAST: (u32, u32) = (150, 80);
/// Tries to find room for a thing, before another one is chosen, and others, before the scene stays with fewer.
const TRIES: (usize, usize) = (16, 8);

/// A picture's contents.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What lies behind the things.
    pub background: Background,
    /// Things in the order in which they are drawn, each over those before.
    pub things: Vec<Thing>,
    /// What happens to the picture at last.
    pub damage: Damage,
}

/// The stream of random numbers of a seed; `purpose` keeps those of different uses apart.
pub(crate) fn stream(seed: u64, split: Split, purpose: u8) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = split.key();
    key[9] = purpose;
    ChaCha8Rng::from_seed(key)
}

impl Scene {
    /// The scene of a seed.
    pub fn draw(seed: u64, options: &Options) -> Self {
        Self::compose(&mut stream(seed, options.split, 0), Task::Describe, options)
    }

    /// A random scene that suits a task.
    pub(crate) fn compose(rng: &mut impl Rng, task: Task, options: &Options) -> Self {
        let mix = Mix::of(task);
        if options.split != Split::Combinations {
            if rng.random_bool(mix.blank) {
                return Self::draw_blank(rng, options);
            }
            return Self::try_compose(rng, mix, task, options);
        }
        // About every sixth thing is held out somewhere, so this ends soon.
        loop {
            let scene = Self::try_compose(rng, mix, task, options);
            if scene.things.first().is_some_and(Thing::is_held_out) {
                return scene;
            }
        }
    }

    /// A picture with nothing on it, half of the time behind heavy grain.
    fn draw_blank(rng: &mut impl Rng, options: &Options) -> Self {
        let mut scene = Self::draw_empty(rng, options);
        if rng.random() {
            scene.damage.grain = rng.random_range(30..=120);
        }
        scene
    }

    fn draw_empty(rng: &mut impl Rng, options: &Options) -> Self {
        let width = options.draw_side(rng);
        let height = if rng.random_bool(options.oblong) { options.draw_side(rng) } else { width };
        let damage = Damage::draw(rng, options.damage);
        Self { width, height, background: Background::draw(rng, damage.grey), things: Vec::new(), damage }
    }

    fn try_compose(rng: &mut impl Rng, mix: Mix, task: Task, options: &Options) -> Self {
        let mut scene = Self::draw_empty(rng, options);
        let things = match task {
            Task::Identify => 1,
            Task::Relation => options.draw_count(rng, 2),
            _ => options.draw_count(rng, 1),
        };
        let room = Room { width: scene.width, side: scene.width.min(scene.height), things, grey: scene.damage.grey };
        let mut last: Option<Subject> = None;
        for number in 0..things {
            let mix = if task == Task::Read && number > 0 { mix.beside_text() } else { mix };
            for _ in 0..TRIES.1 {
                let subject = match &last {
                    Some(last) if rng.random_bool(mix.again) => Subject::like(last, rng, &options.art, room),
                    _ => Subject::draw(rng, &options.art, mix, room),
                };
                if let Some(thing) = scene.find_room(rng, &subject, options.split) {
                    scene.things.push(thing);
                    last = Some(subject);
                    break;
                }
            }
        }
        scene
    }

    /// Puts a subject where it is allowed, seen, and inside of the picture. `None` where no place was found, or the
    /// text is there already.
    pub(crate) fn find_room(&self, rng: &mut impl Rng, subject: &Subject, split: Split) -> Option<Thing> {
        let text = matches!(subject.kind, Kind::Word { .. } | Kind::Number { .. });
        let drawn = matches!(subject.kind, Kind::Art { .. } | Kind::Unknown);
        let contrast = if drawn { CONTRAST.1 } else { CONTRAST.0 };
        let again = text && self.things.iter().any(|thing| thing.noun == subject.noun);
        if again || subject.sprite.width == 0 || self.background.contrast(subject.shade) < contrast {
            return None;
        }
        let is_held = |place: Place| held_out(&subject.kind, &subject.noun, subject.colour, place);
        let first_held = split == Split::Combinations && self.things.is_empty();
        let allowed: Vec<Place> = Place::ALL
            .into_iter()
            .filter(|place| if first_held { is_held(*place) } else { split == Split::Combinations || !is_held(*place) })
            .collect();
        (0..TRIES.0).find_map(|_| {
            let place = *allowed.choose(rng)?;
            let (column, row) = place.cell();
            let left = draw_begin(rng, column, subject.sprite.width, self.width)?;
            let top = draw_begin(rng, row, subject.sprite.height, self.height)?;
            let thing = self.put(subject, left, top);
            (thing.place == place && self.has_room(&thing)).then_some(thing)
        })
    }

    /// A subject as a thing whose box begins at (`left`, `top`).
    fn put(&self, subject: &Subject, left: i32, top: i32) -> Thing {
        let Subject { kind, noun, nouns, colour, sprite, .. } = subject.clone();
        let bounds = Bounds { left, top, right: left, bottom: top };
        let mut thing = Thing { kind, noun, nouns, colour, bounds, place: Place::Middle, sprite };
        thing.move_to(left, top, (self.width, self.height));
        thing
    }

    /// Whether a thing would lie over the others no more than is allowed.
    pub(crate) fn has_room(&self, thing: &Thing) -> bool {
        self.things.iter().all(|other| {
            let most = if thing.is_text() || other.is_text() { 0.0 } else { LARGEST_OVERLAP };
            thing.bounds.overlap(&other.bounds) <= most
        })
    }

    /// The picture.
    pub fn render(&self) -> RgbImage {
        let mut picture = self.background.paint(self.width, self.height);
        for thing in &self.things {
            thing.sprite.draw_on(&mut picture, thing.bounds.left, thing.bounds.top);
        }
        self.damage.apply(picture)
    }

    /// Whether any of its things is one that training never sees.
    pub fn is_held_out(&self) -> bool {
        self.things.iter().any(Thing::is_held_out)
    }
}

/// Where a box of `length` begins so that its middle is in third `third` of `side`, and all of it inside. `None` where
/// it is too long for that.
fn draw_begin(rng: &mut impl Rng, third: u32, length: u32, side: u32) -> Option<i32> {
    let (s, half) = (side as f32, length as f32 / 2.0);
    let line = |number: u32| number as f32 * s / 3.0;
    let clear = CLEAR_OF_LINES * s;
    let low = if third == 0 { half } else { (line(third) + clear).max(half) };
    let high = if third == 2 { s - half } else { (line(third + 1) - clear).min(s - half) };
    let Range { start, end } = (low - half).ceil() as i32..(high - half).floor() as i32;
    (start <= end && start >= 0 && end + length as i32 <= side as i32).then(|| rng.random_range(start..=end))
}
