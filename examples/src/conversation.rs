//! What `chat` does with a line: a command, or a question.

use crate::interrupt::Interrupt;
use crate::media::MediaLimits;
use crate::talk::Talk;
use crate::{Error, note};
use qwen3_vl_burn::generate::{FinishReason, GenerateOptions};
use qwen3_vl_burn::prompt::{AnswerPiece, Content, Message};
use qwen3_vl_burn::{Qwen3VlProcessor, Reply};
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;

const HELP: &str = "\
/image FILE    show a picture with the next question (again for another one)
/video FILE    show a video, or a folder of frames, with the next question
/system TEXT   start over with this system prompt
/undo          take the last question and its answer back
/again         answer the last question again
/reset         start over
/save FILE     write the conversation as JSON (chat --load goes on with it); nothing is overwritten
/help          this list
/quit          leave
A line that ends with \\ goes on in the next. Ctrl-C ends an answer.";

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Blank.
    Nothing,
    /// What the model is asked.
    Question(&'a str),
    /// `/image FILE`
    Image(&'a str),
    /// `/video FILE`
    Video(&'a str),
    /// `/system TEXT`
    System(&'a str),
    /// `/save FILE`
    Save(&'a str),
    /// `/undo`
    Undo,
    /// `/again`
    Again,
    /// `/reset`
    Reset,
    /// `/help`
    Help,
    /// `/quit`
    Quit,
    /// A command without its argument.
    Incomplete(&'a str),
    /// A command that there isn't.
    Unknown(&'a str),
}

impl<'a> Line<'a> {
    /// Reads a line.
    pub fn parse(line: &'a str) -> Self {
        let line = line.trim();
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let with_argument = |make: fn(&'a str) -> Self| match rest {
            "" => Self::Incomplete(command),
            argument => make(argument),
        };
        match command {
            "" => Self::Nothing,
            "/image" => with_argument(Self::Image),
            "/video" => with_argument(Self::Video),
            "/system" => with_argument(Self::System),
            "/save" => with_argument(Self::Save),
            "/undo" => Self::Undo,
            "/again" => Self::Again,
            "/reset" => Self::Reset,
            "/help" => Self::Help,
            "/quit" | "/exit" => Self::Quit,
            // A path or a fraction is no command: commands are letters.
            command if command.starts_with('/') && command[1..].chars().all(|c| c.is_ascii_alphabetic()) => {
                Self::Unknown(command)
            }
            _ => Self::Question(line),
        }
    }
}

/// A conversation and the pictures that wait for the next question.
pub struct Conversation<'a> {
    chat: &'a mut dyn Talk,
    processor: &'a Qwen3VlProcessor,
    options: GenerateOptions,
    limits: MediaLimits,
    waiting: Vec<Content>,
    /// Whether thoughts are printed.
    pub show_thoughts: bool,
}

impl<'a> Conversation<'a> {
    /// Goes on with `chat`.
    pub fn new(
        chat: &'a mut dyn Talk,
        processor: &'a Qwen3VlProcessor,
        options: GenerateOptions,
        limits: MediaLimits,
    ) -> Self {
        Self { chat, processor, options, limits, waiting: Vec::new(), show_thoughts: true }
    }

    /// Does what a line says; false to leave.
    ///
    /// # Errors
    /// Files that cannot be read or written, and what [`Talk::reply`] refuses; the conversation is as it was before the
    /// line.
    pub fn take(&mut self, line: &str, interrupt: &Interrupt) -> Result<bool, Error> {
        match Line::parse(line) {
            Line::Nothing => {}
            Line::Question(text) => self.ask(text, interrupt)?,
            Line::Image(source) => self.attach(self.limits.image(source))?,
            Line::Video(path) => self.attach(self.limits.video(path))?,
            Line::System(text) => {
                self.reset();
                self.chat.push(Message::text("system", text))?;
                note!("a new conversation with this system prompt");
            }
            Line::Save(path) => self.save(Path::new(path))?,
            Line::Undo => self.undo(),
            Line::Again => self.ask_again(interrupt)?,
            Line::Reset => {
                let system = self.chat.messages().first().filter(|message| message.role == "system").cloned();
                self.reset();
                system.map_or(Ok(()), |message| self.chat.push(message))?;
                note!("a new conversation");
            }
            Line::Help => note!("{HELP}"),
            Line::Quit => return Ok(false),
            Line::Incomplete(command) => return Err(Error::Command { reason: format!("{command} what? See /help") }),
            Line::Unknown(command) => {
                return Err(Error::Command { reason: format!("{command} is no command: see /help") });
            }
        }
        Ok(true)
    }

    /// Goes on with the conversation in a file.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Conversation`], and [`Error::Model`] for pictures that cannot be read any more.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let messages: Vec<Message> = serde_json::from_str(&text)
            .map_err(|error| Error::Conversation { path: path.to_owned(), reason: error.to_string() })?;
        self.reset();
        for message in messages {
            self.chat.push(message)?;
        }
        note!("{} messages", self.chat.messages().len());
        Ok(())
    }

    /// Writes the conversation; nothing is overwritten.
    fn save(&self, path: &Path) -> Result<(), Error> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
            _ => Error::File { path: path.to_owned(), source },
        };
        let text = serde_json::to_string_pretty(self.chat.messages())
            .map_err(|error| Error::Conversation { path: path.to_owned(), reason: error.to_string() })?;
        let mut file = std::fs::File::create_new(path).map_err(failed)?;
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")) {
            // Half a conversation is none.
            let _ = std::fs::remove_file(path);
            return Err(failed(error));
        }
        note!("{} messages in {}", self.chat.messages().len(), path.display());
        Ok(())
    }

    fn reset(&mut self) {
        self.chat.reset();
        self.waiting.clear();
    }

    /// Keeps a picture or video for the next question, once it has been seen to be one.
    fn attach(&mut self, content: Content) -> Result<(), Error> {
        let merge = self.processor.images.picture_config().merge_size;
        if let Some(media) = self.processor.process_media(&content)? {
            note!("{} tokens, for the next question", media.tokens(merge));
        }
        self.waiting.push(content);
        Ok(())
    }

    fn ask(&mut self, text: &str, interrupt: &Interrupt) -> Result<(), Error> {
        let mut content = self.waiting.clone();
        content.push(Content::text(text));
        self.chat.push(Message::new("user", content))?;
        let answered = self.answer(interrupt);
        match answered {
            Ok(()) => self.waiting.clear(),
            Err(_) => drop(self.chat.pop()),
        }
        answered
    }

    /// Takes the last answer back and asks for another.
    fn ask_again(&mut self, interrupt: &Interrupt) -> Result<(), Error> {
        let Some(answer) = self.chat.messages().last().filter(|message| message.role == "assistant").cloned() else {
            return Err(Error::Command { reason: "/again: there is no answer yet".to_owned() });
        };
        self.chat.pop();
        let answered = self.answer(interrupt);
        if answered.is_err() {
            self.chat.push(answer)?;
        }
        answered
    }

    fn undo(&mut self) {
        while let Some(last) = self.chat.messages().last() {
            if last.role == "system" {
                break;
            }
            let asked = last.role == "user";
            self.chat.pop();
            if asked {
                break;
            }
        }
        note!("{} messages", self.chat.messages().len());
    }

    fn answer(&mut self, interrupt: &Interrupt) -> Result<(), Error> {
        let show_thoughts = self.show_thoughts;
        let mut printer = Printer { show_thoughts, terminal: std::io::stdout().is_terminal(), thinking: false };
        let mut written = Ok(());
        let reply = interrupt.watch(|token| {
            let options = self.options.clone().with_cancel(token);
            self.chat.reply(&options, &mut |piece| {
                written = printer.print(piece);
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        })?;
        written.and_then(|()| printer.end()).map_err(Error::Output)?;
        report(&reply);
        Ok(())
    }
}

/// Writes an answer to standard output as it comes; thoughts are dim where that is a terminal.
struct Printer {
    show_thoughts: bool,
    terminal: bool,
    thinking: bool,
}

impl Printer {
    fn print(&mut self, piece: &AnswerPiece) -> std::io::Result<()> {
        let mut output = std::io::stdout().lock();
        match piece {
            AnswerPiece::Thinking(_) if !self.show_thoughts => return Ok(()),
            AnswerPiece::Thinking(text) => {
                let dim = if self.terminal && !self.thinking { "\x1b[2m" } else { "" };
                self.thinking = true;
                write!(output, "{dim}{text}")?;
            }
            AnswerPiece::Content(text) => {
                if std::mem::take(&mut self.thinking) {
                    writeln!(output, "{}\n", if self.terminal { "\x1b[0m" } else { "" })?;
                }
                write!(output, "{text}")?;
            }
        }
        output.flush()
    }

    fn end(&mut self) -> std::io::Result<()> {
        let reset = if self.terminal && std::mem::take(&mut self.thinking) { "\x1b[0m" } else { "" };
        writeln!(std::io::stdout(), "{reset}")
    }
}

/// One line about a turn, on standard error.
fn report(reply: &Reply) {
    let answer = &reply.generation;
    let rate = answer.decode_rate().map(|rate| format!(", {rate:.1} tokens/s")).unwrap_or_default();
    let end = match answer.finish {
        FinishReason::Stop | FinishReason::StopString(_) => "",
        FinishReason::Length => ", cut off at --max-new-tokens or the context's end",
        FinishReason::Cancelled => ", broken off",
    };
    note!(
        "[prompt {} tokens, {} of them kept; answer {} tokens{rate}{end}]",
        answer.prompt_tokens,
        answer.reused_tokens,
        answer.tokens.len()
    );
}
