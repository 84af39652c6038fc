//! A conversation in the terminal.

use clap::Parser;
use kiln_examples::backend::Place;
use kiln_examples::conversation::Conversation;
use kiln_examples::interrupt::Interrupt;
use kiln_examples::media::MediaLimits;
use kiln_examples::model::ModelArgs;
use kiln_examples::sampling::SamplingArgs;
use kiln_examples::talk::{Opened, talk};
use kiln_examples::{Error, note, program};
use qwen3_vl_burn::prompt::{Message, RenderOptions};
use rustyline::error::ReadlineError;
use rustyline::history::{FileHistory, History};
use rustyline::{Config, Editor};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Talk with Qwen3-VL about pictures and videos
///
/// Each turn computes only what is new: keys and values of the conversation are kept, pictures are encoded once.
/// Commands begin with a slash; /help lists them. Ctrl-C ends an answer, Ctrl-D the program.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// System prompt
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Go on with a conversation that /save wrote
    #[arg(long, value_name = "FILE.json")]
    load: Option<PathBuf>,
    /// Keep what is typed in this file, for the arrow keys next time
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Do not show thoughts
    #[arg(long)]
    hide_thoughts: bool,
    #[command(flatten)]
    media: MediaLimits,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    program::run(|arguments: Arguments| {
        let files = arguments.model.open()?;
        let interrupt = Interrupt::install()?;
        let program = |opened: Opened<'_>| converse(&arguments, &interrupt, opened);
        talk(&files, &arguments.place, RenderOptions::default(), Box::new(program))
    })
}

/// Prepares the conversation and goes on until the end of input.
fn converse(arguments: &Arguments, interrupt: &Interrupt, opened: Opened<'_>) -> Result<(), Error> {
    let Opened { chat, processor, generation, backend, .. } = opened;
    let options = arguments.sampling.apply(generation)?;
    if let Some(system) = &arguments.system {
        chat.push(Message::text("system", system.as_str()))?;
    }
    let mut conversation = Conversation::new(chat, processor, options, arguments.media.clone());
    conversation.show_thoughts = !arguments.hide_thoughts;
    if let Some(path) = &arguments.load {
        conversation.load(path)?;
    }
    note!("{backend}: /help for commands");
    read_lines(&mut conversation, interrupt, arguments.history.as_deref())
}

/// Reads lines until the end of input or `/quit`. What goes wrong in a turn is said and the conversation goes on; where
/// nobody sits at the terminal, it ends the program.
fn read_lines(conversation: &mut Conversation<'_>, interrupt: &Interrupt, history: Option<&Path>) -> Result<(), Error> {
    let terminal = std::io::stdin().is_terminal();
    let failed = |error: ReadlineError| Error::Terminal { reason: error.to_string() };
    let mut editor = Editor::<(), FileHistory>::with_config(Config::default()).map_err(failed)?;
    if let Some(path) = history.filter(|path| path.exists()) {
        editor.load_history(path).map_err(failed)?;
    }
    let mut text = String::new();
    loop {
        let prompt = if text.is_empty() { "> " } else { ". " };
        match editor.readline(if terminal { prompt } else { "" }) {
            // A backslash at its end joins a line with the next.
            Ok(line) if line.ends_with('\\') => {
                text.push_str(&line[..line.len() - 1]);
                text.push('\n');
            }
            Ok(line) => {
                text.push_str(&line);
                let entry = std::mem::take(&mut text);
                if !entry.trim().is_empty() {
                    editor.add_history_entry(entry.as_str()).map_err(failed)?;
                }
                match conversation.take(&entry, interrupt) {
                    Ok(true) => {}
                    Ok(false) => break,
                    // Without a reader of the answers there is nobody to talk to.
                    Err(error @ Error::Output(_)) => return Err(error),
                    Err(error) if terminal => note!("error: {error}"),
                    Err(error) => return Err(error),
                }
            }
            Err(ReadlineError::Interrupted) => text.clear(),
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        }
    }
    if let Some(path) = history.filter(|_| !editor.history().is_empty()) {
        editor.save_history(path).map_err(failed)?;
    }
    Ok(())
}
