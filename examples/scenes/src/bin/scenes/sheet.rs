//! `scenes sheet`: a picture of many samples.

use std::path::PathBuf;

use clap::Args;
use kiln_scenes::{Panel, Sample, Samples, SceneError, draw_sheet, write_png};

use crate::DrawArgs;

/// Draws a contact sheet.
#[derive(Debug, Args)]
pub struct SheetArgs {
    #[command(flatten)]
    draw: DrawArgs,
    /// The file that is written.
    #[arg(long)]
    out: PathBuf,
    /// Pictures in a row.
    #[arg(long, default_value_t = 4)]
    columns: usize,
    /// Without boxes.
    #[arg(long)]
    no_boxes: bool,
}

/// Colours of boxes, questions and answers.
const BOX: [u8; 3] = [255, 0, 255];
const QUESTION: [u8; 3] = [90, 90, 90];
const ANSWER: [u8; 3] = [0, 60, 160];

/// Draws the sheet.
///
/// # Errors
/// Those of reading the art and of writing.
pub fn draw(args: &SheetArgs) -> Result<(), SceneError> {
    let samples = Samples::new(args.draw.seed, args.draw.options()?).take(args.draw.count);
    let panels: Vec<Panel> = samples.map(|sample| panel(&sample, !args.no_boxes)).collect();
    write_png(&args.out, &draw_sheet(&panels, args.columns).into())
}

fn panel(sample: &Sample, boxes: bool) -> Panel {
    let things = sample.scenes[0].things.iter().filter(|_| boxes).map(|thing| thing.bounds);
    Panel {
        pictures: sample.scenes.iter().map(kiln_scenes::Scene::render).collect(),
        boxes: things.map(|bounds| ([bounds.left, bounds.top, bounds.right, bounds.bottom], BOX)).collect(),
        lines: vec![(sample.dialogue.question.clone(), QUESTION), (sample.dialogue.answer.clone(), ANSWER)],
    }
}
