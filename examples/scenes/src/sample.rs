//! Samples for training and evaluation: pictures, a question, the answer; as many as there are seeds.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::clip::Clip;
use crate::colour::Colour;
use crate::expected::{Dialogue, Expected};
use crate::options::Options;
use crate::pair::Pair;
use crate::place::Place;
use crate::scene::{Scene, stream};
use crate::split::Split;
use crate::task::Task;
use crate::thing::Kind;

/// Scenes are tried so often for a task before the scene is described instead.
const TRIES: usize = 24;

/// Pictures with a question and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What it was drawn from.
    pub seed: u64,
    /// Which part of the data it belongs to.
    pub split: Split,
    /// What is asked.
    pub task: Task,
    /// The pictures; the frames of a video for [`Task::Motion`].
    pub scenes: Vec<Scene>,
    /// Question and answer.
    pub dialogue: Dialogue,
}

impl Sample {
    /// The sample of a seed.
    pub fn draw(seed: u64, options: &Options) -> Self {
        let rng = &mut stream(seed, options.split, 1);
        let task = draw_task(rng, &options.tasks);
        for _ in 0..TRIES {
            let found = match task {
                Task::Compare => Pair::compose(rng, options).map(|pair| {
                    let dialogue = pair.ask(rng);
                    (Vec::from(pair.scenes), dialogue)
                }),
                Task::Motion => Clip::compose(rng, options).map(|clip| {
                    let dialogue = clip.ask(rng);
                    (clip.frames, dialogue)
                }),
                _ => {
                    let scene = Scene::compose(rng, task, options);
                    scene.ask(task, &options.art, rng).map(|dialogue| (vec![scene], dialogue))
                }
            };
            if let Some((scenes, dialogue)) = found {
                return Self { seed, split: options.split, task, scenes, dialogue };
            }
        }
        let scene = Scene::compose(rng, Task::Describe, options);
        let dialogue = scene.ask(Task::Describe, &options.art, rng).expect("every scene can be described");
        Self { seed, split: options.split, task: Task::Describe, scenes: vec![scene], dialogue }
    }

    /// Whether the pictures are the frames of a video.
    pub fn is_video(&self) -> bool {
        self.task == Task::Motion
    }

    /// A line of a data set in the `messages` form. `paths` are those of the pictures, as the file names them.
    pub fn line(&self, paths: &[String]) -> String {
        let mark = if self.is_video() { "<video>".to_owned() } else { "<image>".repeat(self.scenes.len()) };
        let question = format!("{mark}{}", self.dialogue.question);
        let line = Line {
            messages: [
                Message { role: "user", content: &question },
                Message { role: "assistant", content: &self.dialogue.answer },
            ],
            images: (!self.is_video()).then_some(paths),
            videos: self.is_video().then_some([paths]),
            meta: Meta {
                seed: self.seed,
                split: self.split,
                task: self.task,
                expected: &self.dialogue.expected,
                scenes: self.scenes.iter().map(SceneMeta::of).collect(),
            },
        };
        serde_json::to_string(&line).expect("it has no maps whose keys are not texts")
    }
}

/// A line of a data set. Structs, as the order of a JSON map's keys depends on features of `serde_json`.
#[derive(Serialize)]
struct Line<'a> {
    messages: [Message<'a>; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    videos: Option<[&'a [String]; 1]>,
    meta: Meta<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct Meta<'a> {
    seed: u64,
    split: Split,
    task: Task,
    expected: &'a Expected,
    scenes: Vec<SceneMeta<'a>>,
}

/// What a scene shows, for programs.
#[derive(Serialize)]
struct SceneMeta<'a> {
    width: u32,
    height: u32,
    things: Vec<ThingMeta<'a>>,
}

#[derive(Serialize)]
struct ThingMeta<'a> {
    name: &'a str,
    phrase: String,
    kind: &'a Kind,
    colour: Option<Colour>,
    place: Place,
    /// Left, top, right and bottom in pixels.
    r#box: [i32; 4],
    held_out: bool,
}

impl<'a> SceneMeta<'a> {
    fn of(scene: &'a Scene) -> Self {
        let things = scene.things.iter().map(|thing| ThingMeta {
            name: &thing.noun,
            phrase: thing.phrases().0,
            kind: &thing.kind,
            colour: thing.colour,
            place: thing.place,
            r#box: [thing.bounds.left, thing.bounds.top, thing.bounds.right, thing.bounds.bottom],
            held_out: thing.is_held_out(),
        });
        Self { width: scene.width, height: scene.height, things: things.collect() }
    }
}

/// A task, each as often as its weight says; describing where no weight is positive.
fn draw_task(rng: &mut ChaCha8Rng, tasks: &[(Task, f32)]) -> Task {
    let mut ticket = rng.random::<f32>() * tasks.iter().map(|(_, weight)| weight.max(0.0)).sum::<f32>();
    for (task, weight) in tasks {
        if ticket < weight.max(0.0) {
            return *task;
        }
        ticket -= weight.max(0.0);
    }
    tasks.iter().rev().find(|(_, weight)| *weight > 0.0).map_or(Task::Describe, |(task, _)| *task)
}

/// Samples of one seed after the other, without an end.
#[derive(Debug, Clone)]
pub struct Samples {
    options: Options,
    next: u64,
}

impl Samples {
    /// Samples from seed `first` on.
    pub fn new(first: u64, options: Options) -> Self {
        Self { options, next: first }
    }
}

impl Iterator for Samples {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        let sample = Sample::draw(self.next, &self.options);
        self.next = self.next.wrapping_add(1);
        Some(sample)
    }
}
