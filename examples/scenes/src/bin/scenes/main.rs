//! Draws scenes: data sets, contact sheets, atlases.

mod atlas;
mod data;
mod sheet;
mod speed;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kiln_scenes::{Art, Options, SceneError, Split, Task};

/// Draws scenes of named things, shapes and words, with questions and answers.
#[derive(Debug, Parser)]
#[command(name = "scenes")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes pictures (PNG) and `scenes.jsonl` in the `messages` form.
    Write(data::WriteArgs),
    /// Scores answers to the questions of a written data set.
    Score(data::ScoreArgs),
    /// Draws a contact sheet with captions and boxes.
    Sheet(sheet::SheetArgs),
    /// Measures how many samples are drawn a second.
    Speed(speed::SpeedArgs),
    Atlas(atlas::AtlasArgs),
}

/// What is drawn.
#[derive(Debug, Args)]
pub struct DrawArgs {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many samples.
    #[arg(long, default_value_t = 24)]
    count: usize,
    /// Which part of the data.
    #[arg(long, value_enum, default_value_t = SplitName::Train)]
    split: SplitName,
    /// Tasks, separated by commas; all of them without this.
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<Task>,
    /// A folder with `things.json` and atlases, in place of the art that is built in.
    #[arg(long)]
    art: Option<std::path::PathBuf>,
    /// At most so many things in a scene.
    #[arg(long, default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=5))]
    things: usize,
    /// The shortest side of pictures in pixels.
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u32).range(64..=2048))]
    shortest: u32,
    /// The longest side of pictures in pixels.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(64..=2048))]
    longest: u32,
}

/// [`Split`] by its name on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum SplitName {
    Train,
    Seeds,
    Combinations,
}

impl DrawArgs {
    /// The options that these arguments say.
    ///
    /// # Errors
    /// Those of reading the art.
    fn options(&self) -> Result<Options, SceneError> {
        let mut options = Options {
            split: match self.split {
                SplitName::Train => Split::Train,
                SplitName::Seeds => Split::Seeds,
                SplitName::Combinations => Split::Combinations,
            },
            things: 1..=self.things,
            sides: self.shortest..=self.longest,
            ..Options::default()
        };
        if !self.tasks.is_empty() {
            options.tasks = self.tasks.iter().map(|task| (*task, 1.0)).collect();
        }
        if let Some(folder) = &self.art {
            options.art = std::sync::Arc::new(Art::load(folder)?);
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Write(args) => data::write(&args),
        Command::Score(args) => data::score_answers(&args),
        Command::Sheet(args) => sheet::draw(&args),
        Command::Speed(args) => speed::measure(&args),
        Command::Atlas(args) => atlas::make(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
