//! What is drawn, and how often.

use std::ops::RangeInclusive;
use std::sync::Arc;

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
    /// Sides of pictures in pixels, each a multiple of [`Self::multiple`]; at least 64.
    pub sides: RangeInclusive<u32>,
    /// What sides are a multiple of; Qwen3-VL's merged patches have 32 pixels a side.
    pub multiple: u32,
    /// How many things a scene has.
    pub things: RangeInclusive<usize>,
    /// Probability that a picture's sides are drawn each by itself; otherwise they are equal.
    pub oblong: f64,
    /// Probability of grain and of JPEG damage, each; half of it that the picture is grey.
    pub damage: f64,
    /// Tasks and how often each of them is asked, beside the others.
    pub tasks: Vec<(Task, f32)>,
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
