//! Questions about what lies beside what.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::expected::Expected;
use crate::naming::{answer_things, count_alike, pick};
use crate::phrasing;
use crate::scene::Scene;
use crate::thing::Thing;

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

impl Scene {
    /// What is on a side of a thing, or whether another one is; `None` where that is not clear.
    pub(crate) fn ask_relation(&self, rng: &mut impl Rng) -> Option<(String, (String, Expected))> {
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
}
