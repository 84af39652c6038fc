//! What is asked, in the groups of the table.

use kiln_scenes::{Expected, Kind, Options, Sample, Samples, Split, Task};

/// Questions of one kind.
pub struct Group {
    /// What the table calls it.
    pub name: &'static str,
    /// Which part of the tally its figure is.
    pub figure: Figure,
    /// At least, 0 to 1.
    pub goal: Option<f64>,
    task: Task,
    things: std::ops::RangeInclusive<usize>,
    keeps: fn(&Sample) -> bool,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Answers that are right as a whole.
    Answers,
    /// Things named at their places.
    Things,
    /// Mean intersection over union, and the part above a half.
    Boxes,
}

/// Seeds are tried so often for a sample that a group keeps.
const TRIES: usize = 400;

fn any(_: &Sample) -> bool {
    true
}

/// One thing in the picture that has no name, or nothing.
fn is_blank_or_unknown(sample: &Sample) -> bool {
    sample.scenes[0].things.iter().all(|thing| thing.kind == Kind::Unknown)
}

fn is_word(sample: &Sample) -> bool {
    matches!(&sample.dialogue.expected, Expected::Text { text } if text.chars().all(char::is_alphabetic))
}

/// All groups.
pub fn all() -> Vec<Group> {
    let group = |name, figure, goal, task, things, keeps| Group { name, figure, goal, task, things, keeps };
    use Figure::{Answers, Boxes, Things};
    vec![
        group("caption: a thing and its place", Things, Some(0.95), Task::Describe, 1..=5, any as fn(&Sample) -> bool),
        group("whole captions, up to 3 things", Answers, Some(0.85), Task::Describe, 1..=3, any),
        group("counting to 5", Answers, Some(0.95), Task::Count, 1..=5, any),
        group("colour", Answers, Some(0.95), Task::Colour, 1..=5, any),
        group("relation", Answers, Some(0.95), Task::Relation, 1..=5, any),
        group("yes or no", Answers, Some(0.95), Task::Exists, 1..=5, any),
        group("words of 2 to 5 letters", Answers, Some(0.90), Task::Read, 1..=5, is_word),
        group("boxes", Boxes, Some(0.95), Task::Locate, 1..=5, any),
        group("points", Answers, None, Task::Point, 1..=5, any),
        group("one of these, or none", Answers, None, Task::Choose, 1..=5, any),
        group("where it is", Answers, None, Task::Where, 1..=5, any),
        group("what is there", Answers, None, Task::WhatAt, 1..=5, any),
        group("the only thing", Answers, None, Task::Identify, 1..=1, any),
        group("nothing, or unknown", Answers, Some(0.95), Task::Identify, 1..=1, is_blank_or_unknown),
        group("two pictures", Answers, None, Task::Compare, 1..=5, any),
        group("a video", Answers, None, Task::Motion, 1..=5, any),
    ]
}

impl Group {
    /// So many samples of it, from `seed` on.
    pub fn draw(&self, split: Split, seed: u64, count: usize) -> Vec<Sample> {
        let tasks = vec![(self.task, 1.0)];
        let options = Options { split, things: self.things.clone(), tasks, ..Options::default() };
        let samples = Samples::new(seed, options).take(count.saturating_mul(TRIES));
        samples.filter(|sample| sample.task == self.task && (self.keeps)(sample)).take(count).collect()
    }
}
