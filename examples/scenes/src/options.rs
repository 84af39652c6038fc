//! What is drawn, and how often.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rand::Rng;

use crate::art::Art;
use crate::split::Split;
use crate::task::Task;

/// How scenes are drawn.
#[derive(Debug, Clone)]
pub struct Options {
    /// The drawings of things.
    pub art: Arc<Art>,
    /// What may be drawn.
    pub split: Split,
    /// Sides of pictures in pixels, each a multiple of [`Self::multiple`]; 64 to 2048, others are taken as the nearest
    /// of these.
    pub sides: RangeInclusive<u32>,
    /// What sides are a multiple of; Qwen3-VL's merged patches have 32 pixels a side.
    pub multiple: u32,
    /// How many things a scene has, 1 to 5; others are taken as the nearest of these.
    pub things: RangeInclusive<usize>,
    /// Probability that a picture's sides are drawn each by itself; otherwise they are equal.
    pub oblong: f64,
    /// Probability of grain and of JPEG damage, each; half of it that the picture is grey.
    pub damage: f64,
    /// Tasks and how often each of them is asked, beside the others.
    pub tasks: Vec<(Task, f32)>,
}

/// What [`Options::sides`] can be.
const SIDES: (u32, u32) = (64, 2048);
/// What [`Options::things`] can be: questions need more names than a scene has things.
const THINGS: (usize, usize) = (1, 5);

impl Options {
    /// A random side of a picture.
    pub(crate) fn draw_side(&self, rng: &mut impl Rng) -> u32 {
        let multiple = self.multiple.clamp(1, SIDES.0);
        let limit = |side: u32| side.clamp(SIDES.0, SIDES.1);
        let (low, high) = (limit(*self.sides.start()).div_ceil(multiple), limit(*self.sides.end()) / multiple);
        rng.random_range(low..=high.max(low)) * multiple
    }

    /// A random number of things, at least `fewest`.
    pub(crate) fn draw_count(&self, rng: &mut impl Rng, fewest: usize) -> usize {
        let limit = |count: usize| count.clamp(THINGS.0, THINGS.1);
        let fewest = limit(*self.things.start()).max(fewest);
        rng.random_range(fewest..=limit(*self.things.end()).max(fewest))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            art: Art::embedded(),
            split: Split::Train,
            sides: 96..=224,
            multiple: 32,
            things: 1..=5,
            oblong: 0.3,
            damage: 0.12,
            tasks: Task::ALL.map(|task| (task, task.usual_weight())).to_vec(),
        }
    }
}
