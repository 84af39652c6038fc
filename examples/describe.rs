//! Answers a question about pictures and videos: text goes to standard output as it comes, times and memory to standard
//! error.

use clap::Parser;
use kiln_examples::answer::{Findings, Output, Times, find_detections, report};
use kiln_examples::backend::Place;
use kiln_examples::console::{write_note, write_out};
use kiln_examples::drawing::{check_target, write_drawing};
use kiln_examples::explain::explain_model;
use kiln_examples::media::{MediaArgs, picture_source};
use kiln_examples::model::ModelArgs;
use kiln_examples::sampling::SamplingArgs;
use kiln_examples::talk::{Opened, talk};
use kiln_examples::{Error, note, program, say};
use qwen3_vl_burn::grounding;
use qwen3_vl_burn::processor::{DecodeLimits, ImageSource};
use qwen3_vl_burn::prompt::{AnswerPiece, Content, Message, RenderOptions};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What is asked without `--prompt`.
fn default_prompt(media: &MediaArgs) -> &'static str {
    let (images, videos) = (media.image.len(), media.video.len());
    match (images, videos) {
        (0, 1) => "Describe this video.",
        (0, 2..) => "Describe these videos.",
        (2.., 0) => "Describe these images.",
        (1.., 1..) => "Describe what you see.",
        _ => "Describe this image.",
    }
}

/// Ask Qwen3-VL about pictures and videos
///
/// The answer goes to standard output as it comes; thoughts, times and memory go to standard error.
///
/// Exit status: 0 for an answer, 1 for a model that cannot be loaded or run and for output that cannot be written, 2
/// for wrong options, 3 for a picture, video or prompt that cannot be used, 4 where --draw finds no box or point in the
/// answer.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What to ask; - reads it from standard input [default: a description of what is shown]
    #[arg(long)]
    prompt: Option<String>,
    /// System prompt
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Number the pictures and videos in the prompt (Picture 1: ..)
    #[arg(long)]
    number_pictures: bool,
    /// Print one JSON object in place of the text: answer, thoughts, tool calls, boxes and points, tokens, times
    #[arg(long)]
    json: bool,
    /// Print which kernel each op of the model would run and how, for inputs of so many tokens, and end: 1 is a step of
    /// decoding
    #[arg(long, value_name = "ROWS", value_delimiter = ',', num_args = 0..=1, default_missing_value = "1,512",
        value_parser = parse_rows)]
    explain: Option<Vec<usize>>,
    /// Log-probabilities of each token and of this many alternatives, in the JSON object
    #[arg(long, value_name = "N", requires = "json")]
    logprobs: Option<usize>,
    /// Draw the answer's boxes and points on the picture and write it as PNG; an existing file is not overwritten
    #[arg(long, value_name = "FILE.png")]
    draw: Option<PathBuf>,
    /// Overwrite the file of --draw
    #[arg(long, requires = "draw")]
    force: bool,
    #[command(flatten)]
    media: MediaArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    place: Place,
}

fn parse_rows(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&rows| rows > 0).ok_or_else(|| "a number of tokens, from 1".to_owned())
}

fn main() -> ExitCode {
    program::run(run)
}

fn run(mut arguments: Arguments) -> Result<(), Error> {
    if let Some(path) = &arguments.draw {
        check_draw(path, &arguments)?;
    }
    let prompt = match arguments.prompt.as_deref() {
        Some("-") => read_prompt()?,
        Some(prompt) => prompt.to_owned(),
        None => default_prompt(&arguments.media).to_owned(),
    };
    let files = arguments.model.open()?;
    if let Some(rows) = &arguments.explain {
        let text = explain_model(&files, &arguments.place, rows)?;
        return write_out(format_args!("{text}"));
    }
    if let Some(picture) =
        files.picture().filter(|_| arguments.media.image.is_empty() && arguments.media.video.is_empty())
    {
        arguments.media.image.push(picture.into_os_string());
    }
    let render = RenderOptions { add_vision_id: arguments.number_pictures, ..Default::default() };
    let place = arguments.place.clone();
    talk(&files, &place, render, Box::new(|opened| describe(arguments, prompt, opened)))
}

/// Refuses a drawing that could not be made or written, before anything is computed.
fn check_draw(path: &Path, arguments: &Arguments) -> Result<(), Error> {
    check_target(path, arguments.force)?;
    let (images, videos) = (arguments.media.image.len(), arguments.media.video.len());
    // The embedded checkpoint brings a picture of its own.
    let own = arguments.model.model.is_none() && images == 0;
    if images + usize::from(own) != 1 || videos > 0 {
        return Err(Error::DrawOn { images, videos });
    }
    Ok(())
}

fn read_prompt() -> Result<String, Error> {
    let mut prompt = Vec::new();
    let path = || PathBuf::from("standard input");
    std::io::stdin().read_to_end(&mut prompt).map_err(|source| Error::File { path: path(), source })?;
    let prompt = String::from_utf8(prompt)
        .map_err(|error| Error::PromptEncoding { position: error.utf8_error().valid_up_to() })?;
    let prompt = prompt.trim_end_matches(['\r', '\n']);
    if prompt.is_empty() { Err(Error::NoPrompt) } else { Ok(prompt.to_owned()) }
}

/// Asks, shows the answer as it comes, and does what else was asked for with it.
fn describe(arguments: Arguments, prompt: String, opened: Opened<'_>) -> Result<(), Error> {
    let Opened { chat, generation, backend, load, .. } = opened;
    note!("backend: {backend}");
    let mut options = arguments.sampling.apply(generation)?;
    options.logprobs = arguments.logprobs;

    if let Some(system) = &arguments.system {
        chat.push(Message::text("system", system.as_str()))?;
    }
    let mut content = arguments.media.contents();
    content.push(Content::text(prompt));
    let began = Instant::now();
    chat.push(Message::new("user", content))?;
    let pictures = began.elapsed();

    let mut printer = Printer { quiet: arguments.json, written: Ok(()), thought: false };
    let reply = chat.reply(&options, &mut |piece| printer.print(piece))?;
    let times = Times { load, pictures, generation: reply.generation.timings };
    printer.written?;
    let pictures: Vec<ImageSource> = arguments.media.image.iter().map(|source| picture_source(source)).collect();
    let findings = find_detections(&reply.answer.content, &pictures)?;
    if arguments.json {
        say!("{}", Output::new(&reply, &findings, &times).to_json())?;
    } else {
        say!("")?;
    }
    report(&reply.generation, &times, chat.streaming().as_ref());
    if let Some(problems) = findings.describe_problems() {
        note!("warning: not every box or point of the answer can be read: {problems}");
    }
    match &arguments.draw {
        Some(path) => draw(path, &pictures, &findings),
        None => Ok(()),
    }
}

/// Shows an answer as it comes.
struct Printer {
    /// Whether it is shown later, as JSON.
    quiet: bool,
    written: Result<(), Error>,
    /// Whether the last piece was a thought.
    thought: bool,
}

impl Printer {
    fn print(&mut self, piece: &AnswerPiece) -> ControlFlow<()> {
        if self.quiet {
            return ControlFlow::Continue(());
        }
        self.written = match piece {
            AnswerPiece::Thinking(text) => {
                self.thought = true;
                write_note(format_args!("{text}"));
                Ok(())
            }
            AnswerPiece::Content(text) => {
                if std::mem::take(&mut self.thought) {
                    note!("");
                }
                write_out(format_args!("{text}"))
            }
        };
        if self.written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Draws on the only picture.
fn draw(path: &Path, pictures: &[ImageSource], findings: &Findings) -> Result<(), Error> {
    let (Some(source), false) = (pictures.first(), findings.detections.is_empty()) else {
        let path = path.to_owned();
        return Err(match findings.describe_problems() {
            Some(reason) => Error::NothingReadable { path, reason },
            None => Error::NothingFound { path },
        });
    };
    let mut picture = source.decode(&DecodeLimits::default())?.into_owned();
    grounding::draw(&mut picture, &findings.detections, &grounding::DrawStyle::default());
    write_drawing(path, &picture)?;
    note!("drew {} on {}", findings.detections.len(), path.display());
    Ok(())
}
