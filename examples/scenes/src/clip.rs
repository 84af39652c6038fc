//! Short videos: one thing moves, or nothing does.

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::expected::{Dialogue, Expected};
use crate::grammar::sentence;
use crate::naming::pick;
use crate::options::Options;
use crate::phrasing;
use crate::scene::Scene;
use crate::split::Split;
use crate::task::Task;

/// The frames of a video, and what happens in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// The frames.
    pub frames: Vec<Scene>,
    /// What happens, in a sentence.
    pub event: String,
    /// The definite name of the thing that was asked about.
    name: String,
}

/// Where a thing moves to, and how a sentence says it.
const WAYS: [((f32, f32), &str); 4] = [
    ((1.0, 0.0), "moves to the right"),
    ((-1.0, 0.0), "moves to the left"),
    ((0.0, -1.0), "moves up"),
    ((0.0, 1.0), "moves down"),
];

/// A thing moves by this part of the picture's side, at least.
const SHORTEST_WAY: f32 = 0.3;
/// Scenes are tried so often before another kind of question is asked.
const TRIES: usize = 24;

impl Clip {
    /// A random video; `None` where none was found in some tries.
    pub(crate) fn compose(rng: &mut impl Rng, options: &Options) -> Option<Self> {
        let options = Options { things: 1..=(*options.things.end()).min(3), ..options.clone() };
        (0..TRIES).find_map(|_| Self::try_compose(rng, &options))
    }

    fn try_compose(rng: &mut impl Rng, options: &Options) -> Option<Self> {
        let scene = Scene::compose(rng, Task::Motion, options);
        let mover = rng.random_range(0..scene.things.len().max(1));
        let name = scene.definite(scene.things.get(mover)?)?;
        let count = rng.random_range(4..=6);
        if rng.random_bool(0.15) {
            let event = "Nothing moves.".to_owned();
            return Some(Self { frames: vec![scene; count], event, name });
        }
        let ((dx, dy), verb) = *WAYS.choose(rng).expect("there are four");
        let bounds = scene.things[mover].bounds;
        let (w, h) = (scene.width as f32, scene.height as f32);
        // The way to the edge, of which some is taken.
        let free = match (dx, dy) {
            (1.0, _) => scene.width as i32 - bounds.right,
            (-1.0, _) => bounds.left,
            (_, -1.0) => bounds.top,
            _ => scene.height as i32 - bounds.bottom,
        } as f32;
        let shortest = SHORTEST_WAY * (dx * w).abs().max((dy * h).abs());
        if free < shortest {
            return None;
        }
        let length = rng.random_range(shortest..=free);
        let frame = |number: usize| {
            let part = length * number as f32 / (count - 1) as f32;
            let mut frame = scene.clone();
            let mut thing = frame.things.remove(mover);
            thing.move_to(
                bounds.left + (dx * part) as i32,
                bounds.top + (dy * part) as i32,
                (scene.width, scene.height),
            );
            let hidden = options.split != Split::Combinations && thing.is_held_out();
            let fits = !hidden && frame.has_room(&thing);
            frame.things.insert(mover, thing);
            fits.then_some(frame)
        };
        let frames = (0..count).map(frame).collect::<Option<Vec<_>>>()?;
        let event = sentence(&format!("{name} {verb}"));
        Some(Self { frames, event, name })
    }

    /// Asks about the video.
    pub fn ask(&self, rng: &mut impl Rng) -> Dialogue {
        let still = self.event.starts_with("Nothing");
        let (question, answer) = if rng.random_bool(0.3) {
            let still_one = format!("{} does not move.", sentence(&self.name).trim_end_matches('.'));
            let answer = if still { still_one } else { self.event.clone() };
            (pick(rng, phrasing::WHICH_WAY, &self.name), answer)
        } else {
            (pick(rng, phrasing::MOTION, ""), self.event.clone())
        };
        Dialogue { question, expected: Expected::Sentence { text: answer.clone() }, answer }
    }
}
