//! What can be wrong with training data.

use std::path::PathBuf;

use qwen3_vl_burn::prompt::Modality;
use thiserror::Error;

use super::Source;

/// Why data cannot be trained on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A folder, pipe or device where a file is expected.
    #[error("{} is {found}, expected a JSONL or JSON file", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },

    /// A file that is neither JSONL nor a JSON array.
    #[error("{} begins with {found}: expected one JSON object a line (JSONL) or a JSON array of objects, in UTF-8", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it begins with.
        found: String,
    },

    /// A JSON array that cannot be taken apart into records.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Array {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The byte in the line, from 1.
        column: usize,
        /// What is wrong there.
        reason: &'static str,
    },

    /// There is no record.
    #[error("no record in {files}: expected one conversation at least")]
    Empty {
        /// The files, or what else was looked at.
        files: String,
    },

    /// A file is not what it was when it was opened.
    #[error("{} has changed since it was opened: start again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },

    /// What is wrong with one record.
    #[error("{at}: {problem}")]
    Record {
        /// Where it stands.
        at: Source,
        /// What is wrong with it.
        #[source]
        problem: Box<Problem>,
    },

    /// A record that fits no batch.
    #[error(
        "record {record} (from 0) has {tokens} tokens, and a batch takes {limit}: raise the batch, or lower the longest sequence or the pixels of pictures"
    )]
    Batch {
        /// Its index.
        record: usize,
        /// Its tokens.
        tokens: usize,
        /// Most tokens of a batch.
        limit: usize,
    },

    /// An option with a value that cannot work.
    #[error("option `{name}` is {value}, which is not {expected}")]
    Option {
        /// Its name.
        name: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },

    /// A tokenizer whose conversations are not ChatML, so that answers cannot be found by its tokens.
    #[error("the tokenizer has no token `{token}`: answers are found by the tokens of ChatML, which Qwen3-VL has")]
    NoTurnToken {
        /// The token.
        token: &'static str,
    },

    /// Every record is bad.
    #[error("all of {records} records are bad; the first: {first}")]
    AllBad {
        /// How many there are.
        records: usize,
        /// What is wrong with the first.
        first: Box<DataError>,
    },

    /// A thread that loads batches cannot be started, or panicked.
    #[error("loading record {record} (from 0) failed: {reason}")]
    Worker {
        /// Index of the record.
        record: usize,
        /// What was said.
        reason: String,
    },
}

impl DataError {
    /// Says where `problem` stands.
    pub(super) fn at(at: &Source, problem: Problem) -> Self {
        Self::Record { at: at.clone(), problem: Box::new(problem) }
    }
}

/// What is wrong with one record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// A record beyond the limit; it was not read.
    #[error("a record of {bytes} bytes, more than {max_bytes}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// Most bytes of a record.
        max_bytes: u64,
    },

    /// Bytes that are no UTF-8.
    #[error("no UTF-8 at byte {byte} of the record: save the file as UTF-8")]
    Utf8 {
        /// The first wrong byte, from 0.
        byte: usize,
    },

    /// No JSON: bad syntax, a key that stands twice, nesting without end.
    #[error("line {line}, column {column}: {reason}")]
    Json {
        /// The line in the file, from 1.
        line: usize,
        /// The byte in the line, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },

    /// A value of another type than expected.
    #[error("`{field}` is {found}, expected {expected}")]
    Type {
        /// Its name.
        field: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },

    /// None of the names under which conversations stand.
    #[error(
        "no conversation: expected `messages`, `conversations`, `conversation`, or `query` with `response`; found {found}"
    )]
    NoConversation {
        /// The names found.
        found: String,
    },

    /// A conversation with a message that cannot be read.
    #[error("message {message} (from 0): {reason}")]
    Message {
        /// Which message.
        message: usize,
        /// What is wrong with it.
        reason: String,
    },

    /// A role that means nothing here.
    #[error("message {message} (from 0) has the role `{role}`: expected system, user (human), assistant (gpt) or tool")]
    Role {
        /// Which message.
        message: usize,
        /// The role.
        role: String,
    },

    /// Nothing to train on.
    #[error("no answer to train on: expected an assistant's turn (`assistant` or `gpt`)")]
    NoAnswer,

    /// An assistant's turn without a word.
    #[error("message {message} (from 0) is an empty answer: give its text, or mark it with \"loss\": false")]
    EmptyAnswer {
        /// Which message.
        message: usize,
    },

    /// More or fewer placeholders than pictures (or videos).
    #[error("{placeholders} `<{modality}>` placeholders in the conversation, and {given} files: they must be equal")]
    Placeholders {
        /// Pictures or videos.
        modality: Modality,
        /// Placeholders in the conversation.
        placeholders: usize,
        /// Files given.
        given: usize,
    },

    /// More or fewer placeholders than objects.
    #[error("{placeholders} `{placeholder}` in the conversation, and {given} in `objects`: they must be equal")]
    Objects {
        /// `<bbox>` or `<ref-object>`.
        placeholder: &'static str,
        /// Placeholders in the conversation.
        placeholders: usize,
        /// Given in `objects`.
        given: usize,
    },

    /// A box that cannot be one of the picture.
    #[error("box {index} (from 0) is {found}: {reason}")]
    Box {
        /// Which box.
        index: usize,
        /// Its numbers.
        found: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A text that holds a token with which the template marks turns or pictures.
    #[error(
        "message {message} (from 0) holds `{token}`, which marks turns or pictures: take it out; pictures are `<image>`, videos `<video>`"
    )]
    ControlToken {
        /// Which message; the number of messages for the descriptions of tools.
        message: usize,
        /// The token.
        token: &'static str,
    },

    /// The template did not write one turn for each answer.
    #[error("the chat template writes {found} turns of the assistant for {expected} answers: labels cannot be placed")]
    Turns {
        /// Answers of the record.
        expected: usize,
        /// Turns in the prompt.
        found: usize,
    },

    /// Longer than a sequence may be.
    #[error("{tokens} tokens, more than {limit}: shorten it, lower the pixels of its pictures, or raise the limit")]
    TooLong {
        /// Tokens, or as many as were counted.
        tokens: usize,
        /// Most tokens of a sequence.
        limit: usize,
    },

    /// A picture or video that cannot be had, or a conversation that the template refuses.
    #[error(transparent)]
    Model(#[from] qwen3_vl_burn::Error),
}

/// What is done about a bad record in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadRecords {
    /// The first one ends training.
    #[default]
    Stop,
    /// It is left out, with a warning.
    Skip,
}
