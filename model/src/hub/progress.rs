//! How far a download has come, told to whoever asked.

use hf_hub::api::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// A piece of a file has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadStep<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes that are there, of all files that are fetched together (the shards of a checkpoint, for example).
    pub done: u64,
    /// Bytes of all of them.
    pub total: u64,
}

/// Is told of every piece that arrives. Any `Fn(DownloadStep)` is one.
pub trait DownloadProgress: Send + Sync {
    /// A piece has arrived.
    fn advance(&self, step: DownloadStep<'_>);
}

impl<F: Fn(DownloadStep<'_>) + Send + Sync> DownloadProgress for F {
    fn advance(&self, step: DownloadStep<'_>) {
        self(step);
    }
}

/// A bar on standard error: bytes, speed, time left and the file at hand. It shows nothing where that isn't a terminal,
/// and goes away when it is dropped.
pub fn download_bar() -> DownloadBar {
    let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}");
    // The template is a constant; if it were wrong, indicatif's own style would do.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    DownloadBar { bar: ProgressBar::new(0).with_style(style) }
}

/// What [`download_bar`] makes.
#[derive(Debug)]
pub struct DownloadBar {
    bar: ProgressBar,
}

impl DownloadProgress for DownloadBar {
    fn advance(&self, step: DownloadStep<'_>) {
        self.bar.set_length(step.total);
        self.bar.set_position(step.done);
        if self.bar.message() != step.file {
            self.bar.set_message(step.file.to_owned());
        }
    }
}

impl Drop for DownloadBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Adds one file's bytes to those of the files before it.
pub(super) struct Meter<'a> {
    pub(super) sink: Option<&'a dyn DownloadProgress>,
    pub(super) file: &'a str,
    /// Bytes of the files before.
    pub(super) before: u64,
    /// Bytes of this one.
    pub(super) here: u64,
    pub(super) total: u64,
}

impl Meter<'_> {
    fn tell(&self) {
        if let Some(sink) = self.sink {
            sink.advance(DownloadStep { file: self.file, done: self.before + self.here, total: self.total });
        }
    }
}

impl Progress for Meter<'_> {
    /// Called at every start and restart of the file; what is there already follows as an update.
    fn init(&mut self, _: usize, _: &str) {
        self.here = 0;
    }

    fn update(&mut self, bytes: usize) {
        self.here += bytes as u64;
        self.tell();
    }

    fn finish(&mut self) {
        self.tell();
    }
}
