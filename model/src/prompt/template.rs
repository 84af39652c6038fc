//! Chat templates: messages in, prompt text out.
//!
//! Templates are Jinja, as HF runs it: `trim_blocks` and `lstrip_blocks`, loop controls, Python's string methods,
//! `tojson` in Python's format, `raise_exception`, `strftime_now` and `{% generation %}`. A template that loops for
//! ever or builds texts without end is stopped.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use minijinja::{Environment, Error, ErrorKind, Value};

use super::ignored::Reported;
use super::template_source::prepare_source;
use super::{CHATML_TEMPLATE, Message, PromptError, strftime, template_file, template_limits};

/// The stack of the engine's thread, of which the system gives what is touched. Its parser and compiler recurse.
const STACK_BYTES: usize = 64 << 20;

/// A checkpoint's chat template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// What the engine renders: the source, prepared.
    source: String,
    origin: String,
    /// What time `strftime_now` tells, if not the present.
    time: Option<SystemTime>,
    /// Keys of messages that were said to be ignored.
    reported: Reported,
}

/// What a template is told besides the messages.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderOptions {
    /// Whether the text ends where the assistant's answer begins (true by default).
    pub add_generation_prompt: bool,
    /// Whether pictures and videos are numbered (`Picture 1: ..`).
    pub add_vision_id: bool,
    /// Descriptions of tools, for templates that know them. These values keep the order of keys, which shows in the
    /// prompt: read them from JSON text directly.
    pub tools: Vec<Value>,
    /// Further variables of the template (`enable_thinking`, ..).
    pub variables: BTreeMap<String, Value>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { add_generation_prompt: true, add_vision_id: false, tools: Vec::new(), variables: BTreeMap::new() }
    }
}

impl ChatTemplate {
    /// Parses a template; `origin` names it in errors.
    ///
    /// # Errors
    /// [`PromptError::Template`] for what is no valid Jinja, [`PromptError::Unbounded`] for a template that is too
    /// large, [`PromptError::Engine`] for one that the engine cannot bear.
    pub fn new(source: impl AsRef<str>, origin: impl Into<String>) -> Result<Self, PromptError> {
        let origin = origin.into();
        let source = source.as_ref();
        let source = match run_apart(&origin, || prepare_source(source))? {
            Ok(source) => source,
            Err(reason) => return Err(PromptError::Unbounded { origin, reason }),
        };
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.add_function("raise_exception", raise_exception);
        let template = Self { environment, source, origin, time: None, reported: Reported::default() };
        template.guard(|| template.environment.template_from_str(&template.source).map(drop))?;
        Ok(template)
    }

    /// The built-in [`CHATML_TEMPLATE`].
    ///
    /// # Errors
    /// [`PromptError::Template`], never in a tested build.
    pub fn chatml() -> Result<Self, PromptError> {
        Self::new(CHATML_TEMPLATE, "built-in ChatML")
    }

    /// Reads the template from the folder of a checkpoint: `chat_template.jinja`, `chat_template.json`, or the
    /// `chat_template` of `tokenizer_config.json`, in this order; the built-in one where there is none.
    ///
    /// # Errors
    /// [`PromptError::Read`] and [`PromptError::Json`] for files that cannot be used, [`PromptError::Template`] for
    /// what is no valid Jinja.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, PromptError> {
        match template_file::find_template(folder.as_ref())? {
            Some((source, path)) => Self::new(source, path.display().to_string()),
            None => Self::chatml(),
        }
    }

    /// Makes `strftime_now` tell `time` in place of the present, so that prompts are the same every day. It is told in
    /// UTC.
    pub fn with_time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Renders a conversation. Keys of messages that the template never names are named in a warning, once.
    ///
    /// # Errors
    /// [`PromptError::Refused`] when the template raises an exception of its own, [`PromptError::Template`] when it
    /// fails, [`PromptError::Unbounded`] when it runs or writes on and on, [`PromptError::Engine`] when it makes the
    /// engine panic (where panics unwind).
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String, PromptError> {
        self.reported.warn_unread(messages.iter().flat_map(|message| &message.extra), &self.source);
        let mut variables = options.variables.clone();
        let messages: Vec<Value> = messages.iter().map(Message::to_template_value).collect();
        let mut environment = self.environment.clone();
        let mut prompt = template_limits::limit(&mut environment, &messages);
        let time = self.time.unwrap_or_else(SystemTime::now);
        environment.add_function("strftime_now", move |format: &str| strftime::format_time(time, format));
        variables.insert("messages".to_owned(), Value::from(messages));
        variables.insert("add_generation_prompt".to_owned(), Value::from(options.add_generation_prompt));
        variables.insert("add_vision_id".to_owned(), Value::from(options.add_vision_id));
        if !options.tools.is_empty() {
            variables.insert("tools".to_owned(), Value::from(options.tools.clone()));
        }
        self.guard(|| {
            environment.template_from_str(&self.source)?.render_captured_to(&variables, &mut prompt).map(drop)
        })?;
        // Only whole texts are written.
        Ok(String::from_utf8_lossy(&prompt.bytes).into_owned())
    }

    /// Runs the engine.
    fn guard(&self, run: impl FnOnce() -> Result<(), Error> + Send) -> Result<(), PromptError> {
        run_apart(&self.origin, run)?.map_err(|source| self.blame(source))
    }

    fn blame(&self, source: Error) -> PromptError {
        let origin = self.origin.clone();
        if let Some(message) = find_exception(&source) {
            return PromptError::Refused { origin, message };
        }
        match template_limits::find_exceeded(&source) {
            Some(reason) => PromptError::Unbounded { origin, reason },
            None => PromptError::Template { origin, source },
        }
    }
}

/// Runs what recurses as deep as a template nests on a thread of its own, whose stack is as large as the deepest
/// template that is accepted needs, compiled without optimisation too. The engine panics on some templates: in 2.24,
/// where one goes backwards through an empty list (`[][::-1]`).
fn run_apart<T: Send>(origin: &str, run: impl FnOnce() -> T + Send) -> Result<T, PromptError> {
    let broken = |reason| PromptError::Engine { origin: origin.to_owned(), reason };
    let builder = thread::Builder::new().name("chat template".to_owned()).stack_size(STACK_BYTES);
    thread::scope(|scope| {
        let thread = builder.spawn_scoped(scope, run).map_err(|error| broken(format!("no thread: {error}")))?;
        thread.join().map_err(|panic| broken(describe_panic(&*panic)))
    })
}

fn describe_panic(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// What a template raises through `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Exception(String);

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Exception(message)))
}

/// Finds the exception among the causes of an error: macros and includes wrap it.
fn find_exception(error: &Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Exception(message)) = error.downcast_ref() {
            return Some(message.clone());
        }
        cause = error.source();
    }
    None
}
