//! Asks a model about pictures that it never saw, and counts what is right.

mod groups;
mod sheet;

use burn_kiln_fusion::{FusedOps, TrainingOps};
use clap::Parser;
use groups::{Figure, Group};
use kiln_examples::backend::{Place, Program};
use kiln_examples::model::{Files, Loaded, ModelArgs};
use kiln_examples::scenes::question;
use kiln_examples::{Error, note, program, say};
use kiln_scenes::{Sample, Score, Split, Tally, score};
use qwen3_vl_burn::generate::{GenerationConfig, generate_batch};
use qwen3_vl_burn::prompt::RenderOptions;
use qwen3_vl_burn::{Qwen3Vl, Qwen3VlProcessor};
use sheet::Sheet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measure a model on drawn pictures: a table of what it gets right, and a sheet of pictures with its answers
///
/// Pictures come from seeds, and from pairs of thing, colour and place, that training never saw. The exit status is 1
/// where a row misses its goal.
#[derive(Parser)]
#[command(version, name = "evaluate")]
struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
    /// Questions of each row
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    /// The first seed
    #[arg(long, default_value_t = 1_000_000)]
    seed: u64,
    /// Questions at one time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    /// Most tokens of an answer
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    max_tokens: u16,
    /// Write a contact sheet: pictures with questions, answers and boxes
    #[arg(long, value_name = "PNG")]
    sheet: Option<PathBuf>,
    /// Print each wrong answer beside the right one
    #[arg(long)]
    wrong: bool,
    #[command(flatten)]
    place: Place,
}

/// A question with what was said and how right it is.
struct Answered {
    sample: Sample,
    answer: String,
    score: Score,
}

/// What a model is asked on.
struct Evaluation<'a, B: FusedOps> {
    model: &'a Qwen3Vl<B>,
    processor: &'a Qwen3VlProcessor,
    config: &'a GenerationConfig,
    arguments: &'a Arguments,
}

impl<B: FusedOps> Evaluation<'_, B> {
    fn ask(&self, samples: Vec<Sample>) -> Result<Vec<Answered>, Error> {
        let options = self.config.options(usize::from(self.arguments.max_tokens));
        let mut answered = Vec::with_capacity(samples.len());
        for batch in samples.chunks(usize::from(self.arguments.batch)) {
            let prompt = |sample| self.processor.process(&[question(sample)], &RenderOptions::default());
            let prompts = batch.iter().map(prompt).collect::<Result<Vec<_>, _>>()?;
            let replies = generate_batch(self.model, Some(&self.processor.tokenizer), &prompts, &options)?;
            for (sample, reply) in batch.iter().zip(replies) {
                let answer = reply.text.unwrap_or_default();
                let score = score(&answer, &sample.dialogue.expected);
                answered.push(Answered { sample: sample.clone(), answer, score });
            }
        }
        Ok(answered)
    }

    /// Prints the table, and returns how many rows miss their goal.
    fn run(&self) -> Result<usize, Error> {
        let mut sheet = Sheet::default();
        // What cannot be written is found before anything is asked.
        if let Some(path) = &self.arguments.sheet {
            sheet.write(path)?;
        }
        let mut missed = 0;
        say!("{:<32} {:>22} {:>22}", "", "other seeds", "held-out pairs")?;
        for group in groups::all() {
            let mut cells = Vec::new();
            for split in [Split::Seeds, Split::Combinations] {
                let samples = group.draw(split, self.arguments.seed, usize::from(self.arguments.count));
                let wanted = usize::from(self.arguments.count);
                if samples.len() < wanted {
                    note!("{}, {split:?}: {} questions could be drawn, not {wanted}", group.name, samples.len());
                }
                let mut tally = Tally::default();
                let all = self.ask(samples)?;
                sheet.add(&all);
                for answered in &all {
                    tally.add(&answered.score);
                    if self.arguments.wrong && !answered.score.right {
                        let Answered { sample, answer, .. } = answered;
                        note!(
                            "{}: {:?}\n  expected {:?}\n  answered {answer:?}",
                            group.name,
                            sample.dialogue.question,
                            sample.dialogue.answer
                        );
                    }
                }
                missed += usize::from(misses(&group, &tally));
                cells.push(cell(&group, &tally));
            }
            say!("{:<32} {:>22} {:>22}", group.name, cells[0], cells[1])?;
        }
        if let Some(path) = &self.arguments.sheet {
            sheet.write(path)?;
        }
        Ok(missed)
    }
}

/// The figure of a row that its goal is of.
fn figure(group: &Group, tally: &Tally) -> f64 {
    match group.figure {
        Figure::Answers => tally.right_part(),
        Figure::Things => tally.placed_part(),
        Figure::Boxes => tally.good_boxes(),
    }
}

fn misses(group: &Group, tally: &Tally) -> bool {
    tally.answers > 0 && group.goal.is_some_and(|goal| figure(group, tally) < goal)
}

fn cell(group: &Group, tally: &Tally) -> String {
    if tally.answers == 0 {
        return "-".to_owned();
    }
    let percent = 100.0 * figure(group, tally);
    let iou = if group.figure == Figure::Boxes { tally.mean_iou() } else { None };
    let mark = if misses(group, tally) { "!" } else { " " };
    iou.map_or_else(|| format!("{percent:.1}%{mark}"), |iou| format!("IoU {iou:.3}, {percent:.1}%{mark}"))
}

/// What runs on the backend that was asked for.
struct Work<'a> {
    arguments: &'a Arguments,
    files: &'a Files,
}

impl Program for Work<'_> {
    type Out = usize;

    fn run<B: TrainingOps>(self) -> Result<usize, Error> {
        let Loaded { model, processor, generation, .. } = Loaded::<B>::load(self.files, &self.arguments.place)?;
        let evaluation =
            Evaluation { model: &model, processor: &processor, config: &generation, arguments: self.arguments };
        evaluation.run()
    }
}

fn main() -> ExitCode {
    program::run_checks(|arguments: Arguments| {
        let files = arguments.model.open()?;
        arguments.place.run(Work { arguments: &arguments, files: &files })
    })
}
