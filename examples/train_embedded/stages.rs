//! The curriculum: what is drawn in each stage, how much of it, and at which rates.
//!
//! A stage is a run of its own, with its own warm-up and moments. The first shows one thing in a small picture, so that
//! the tower learns to see before the decoder learns to write; each further one has more of what the last one has.

use kiln_scenes::{Options, Task};

/// One stage.
pub struct Stage {
    /// Its folder.
    pub name: &'static str,
    /// Samples, at `--scale 1`.
    pub samples: usize,
    /// Tokens of a batch, those of pictures too.
    pub batch_tokens: usize,
    /// Learning rate at its height.
    pub rate: f64,
    /// What is drawn.
    pub options: fn() -> Options,
}

/// All of them, in their order.
pub const STAGES: [Stage; 3] = [
    Stage { name: "1-one-thing", samples: 120_000, batch_tokens: 4096, rate: 1.5e-3, options: one_thing },
    Stage { name: "2-few-things", samples: 140_000, batch_tokens: 6144, rate: 1e-3, options: few_things },
    Stage { name: "3-everything", samples: 160_000, batch_tokens: 8192, rate: 7e-4, options: everything },
];

fn one_thing() -> Options {
    let tasks = vec![
        (Task::Identify, 4.0),
        (Task::Colour, 1.0),
        (Task::Describe, 4.0),
        (Task::Where, 1.0),
        (Task::Exists, 1.0),
        (Task::Choose, 1.0),
        (Task::Read, 2.0),
        (Task::Locate, 2.0),
    ];
    Options { sides: 96..=128, things: 1..=1, oblong: 0.1, damage: 0.05, tasks, ..Options::default() }
}

fn few_things() -> Options {
    Options { sides: 96..=192, things: 1..=3, ..Options::default() }
}

fn everything() -> Options {
    Options::default()
}
