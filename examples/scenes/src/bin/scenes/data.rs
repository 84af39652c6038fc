//! `scenes write` and `scenes score`: data sets on disk, and answers to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use kiln_scenes::{Expected, Samples, SceneError, Tally, score, write_file, write_png};
use serde::Deserialize;

use crate::DrawArgs;

/// Writes a data set.
#[derive(Debug, Args)]
pub struct WriteArgs {
    #[command(flatten)]
    draw: DrawArgs,
    /// The folder that gets `scenes.jsonl` and `images/`.
    #[arg(long)]
    out: PathBuf,
}

/// Scores answers.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// The data set's `scenes.jsonl`.
    #[arg(long)]
    data: PathBuf,
    /// A file with a JSON string a line: the answers, in the order of the questions.
    #[arg(long)]
    answers: PathBuf,
}

/// Writes pictures, and at last the lines that name them.
///
/// # Errors
/// Those of reading the art and of writing.
pub fn write(args: &WriteArgs) -> Result<(), SceneError> {
    let images = args.out.join("images");
    std::fs::create_dir_all(&images).map_err(|source| SceneError::File { path: images.clone(), source })?;
    let mut lines = String::new();
    for sample in Samples::new(args.draw.seed, args.draw.options()?).take(args.draw.count) {
        let mut paths = Vec::new();
        for (number, scene) in sample.scenes.iter().enumerate() {
            let path = format!("images/{:08}-{number}.png", sample.seed);
            write_png(&args.out.join(&path), &scene.render().into())?;
            paths.push(path);
        }
        lines.push_str(&sample.line(&paths));
        lines.push('\n');
    }
    write_file(&args.out.join("scenes.jsonl"), lines.as_bytes())
}

/// The parts of a line that scoring reads.
#[derive(Deserialize)]
struct Line {
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    task: kiln_scenes::Task,
    expected: Expected,
}

/// Prints for each task how many answers are right, and things of captions, lists and boxes.
///
/// # Errors
/// Those of reading both files.
pub fn score_answers(args: &ScoreArgs) -> Result<(), SceneError> {
    let lines: Vec<Line> = read_lines(&args.data)?;
    let answers: Vec<String> = read_lines(&args.answers)?;
    let mut table: BTreeMap<&str, Tally> = BTreeMap::new();
    // An answer that is missing is wrong.
    for (number, Line { meta }) in lines.iter().enumerate() {
        table
            .entry(meta.task.name())
            .or_default()
            .add(&score(answers.get(number).map_or("", String::as_str), &meta.expected));
    }
    for (task, row) in table {
        println!("{task:<10} {row}");
    }
    Ok(())
}

fn read_lines<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>, SceneError> {
    let wrong = |source| SceneError::File { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(wrong)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).map_err(|error| wrong(error.into()))).collect()
}
