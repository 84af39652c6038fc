//! Scenes as a data set: record `i` of a stage is drawn from seed `first + i` whenever it is asked for, so that no
//! picture is ever kept.

use burn_core::data::dataset::Dataset;
use image::RgbImage;
use kiln_scenes::{Options, Sample};
use qwen3_vl_burn::processor::VideoOptions;
use qwen3_vl_burn::prompt::{Content, Message, VideoPart};
use qwen3_vl_train::data::{Record, Source};
use std::sync::Arc;

/// Frames a second of videos.
const SAMPLED_FPS: f64 = 2.0;

/// Records drawn from seeds.
pub struct Scenes {
    /// What is drawn.
    pub options: Options,
    /// The seed of the first.
    pub first: u64,
    /// How many.
    pub count: usize,
}

impl Dataset<Record> for Scenes {
    fn get(&self, index: usize) -> Option<Record> {
        (index < self.count).then(|| record(&Sample::draw(self.first + index as u64, &self.options), index))
    }

    fn len(&self) -> usize {
        self.count
    }
}

/// A sample as a conversation: pictures, question, answer.
pub fn record(sample: &Sample, index: usize) -> Record {
    let source = Source { file: Arc::new("scenes".into()), record: index + 1, line: index + 1 };
    Record::new(vec![question(sample), Message::text("assistant", &*sample.dialogue.answer)], source)
}

/// What the user says of a sample.
pub fn question(sample: &Sample) -> Message {
    let pictures = sample.scenes.iter().map(|scene| scene.render());
    let mut content: Vec<Content> = match sample.is_video() {
        true => vec![video(pictures.collect())],
        false => pictures.map(Content::image).collect(),
    };
    content.push(Content::text(&*sample.dialogue.question));
    Message::new("user", content)
}

/// Frames that were sampled as Qwen3-VL samples videos.
fn video(frames: Vec<RgbImage>) -> Content {
    let options = VideoOptions { sample_fps: Some(SAMPLED_FPS), ..VideoOptions::default() };
    Content::video(VideoPart::from(frames).with_options(options))
}
