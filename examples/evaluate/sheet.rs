//! A contact sheet: pictures with what was asked and said, and the boxes of answers.

use crate::Answered;
use kiln_examples::Error;
use kiln_scenes::{Panel, draw_sheet, write_png};
use qwen3_vl_burn::grounding::{Point, Shape, parse};
use std::path::Path;

/// Pictures of each row and split.
const EACH: usize = 2;
/// Columns of the sheet.
const COLUMNS: usize = 6;
/// Half a side of the square that stands for a point, pixels.
const POINT: f64 = 3.0;

const BOX: [u8; 3] = [220, 20, 60];
const QUESTION: [u8; 3] = [90, 90, 90];
const RIGHT: [u8; 3] = [0, 110, 40];
const WRONG: [u8; 3] = [190, 0, 0];

/// What will be drawn.
#[derive(Default)]
pub struct Sheet {
    panels: Vec<Panel>,
}

impl Sheet {
    /// Takes the first of some answers, right or wrong.
    pub fn add(&mut self, answered: &[Answered]) {
        self.panels.extend(answered.iter().take(EACH).map(panel));
    }

    /// Draws and writes it.
    ///
    /// # Errors
    /// [`Error::Scenes`] where the disk does not take it.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Ok(write_png(path, &draw_sheet(&self.panels, COLUMNS).into())?)
    }
}

fn panel(answered: &Answered) -> Panel {
    let Answered { sample, answer, score } = answered;
    let mut lines = vec![(sample.dialogue.question.clone(), QUESTION)];
    if score.right {
        lines.push((answer.clone(), RIGHT));
    } else {
        lines.push((answer.clone(), WRONG));
        lines.push((sample.dialogue.answer.clone(), RIGHT));
    }
    Panel {
        pictures: sample.scenes.iter().map(kiln_scenes::Scene::render).collect(),
        boxes: boxes(answered).into_iter().map(|bounds| (bounds, BOX)).collect(),
        lines,
    }
}

/// Boxes and points of an answer, in pixels of its first picture.
fn boxes(Answered { sample, answer, .. }: &Answered) -> Vec<[i32; 4]> {
    let Ok(found) = parse(answer) else { return Vec::new() };
    let scene = &sample.scenes[0];
    let pixels = found.detections.iter().map(|detection| match detection.to_pixels(scene.width, scene.height).shape {
        Shape::Box(bounds) => [bounds.x1, bounds.y1, bounds.x2, bounds.y2],
        Shape::Point(Point { x, y }) => [x - POINT, y - POINT, x + POINT, y + POINT],
    });
    pixels.map(|bounds| bounds.map(|side| side.round() as i32)).collect()
}
