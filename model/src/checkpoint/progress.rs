//! How far loading has come, told to whoever asked. Nothing here prints unless a program passes [`progress_bar`].

use indicatif::{ProgressBar, ProgressStyle};

/// One step of loading: a tensor has been loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadStep<'a> {
    /// Bytes of the checkpoint that are done, this tensor included.
    pub done: u64,
    /// Bytes of the checkpoint in all.
    pub total: u64,
    /// The tensor.
    pub tensor: &'a str,
}

/// Is told of every tensor as it is loaded. Any `FnMut(LoadStep)` is one; [`NoProgress`] ignores all.
pub trait LoadProgress {
    /// A tensor has been loaded.
    fn advance(&mut self, step: LoadStep<'_>);
}

impl<F: FnMut(LoadStep<'_>)> LoadProgress for F {
    fn advance(&mut self, step: LoadStep<'_>) {
        self(step);
    }
}

/// Nobody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl LoadProgress for NoProgress {
    fn advance(&mut self, _: LoadStep<'_>) {}
}

/// A bar on standard error: bytes, speed, time left and the tensor at hand. It shows nothing where that isn't a
/// terminal, and goes away when it is dropped.
pub fn progress_bar() -> BarProgress {
    let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}");
    // The template is a constant; if it were wrong, indicatif's own style would do.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    BarProgress { bar: ProgressBar::new(0).with_style(style) }
}

/// What [`progress_bar`] makes.
#[derive(Debug)]
pub struct BarProgress {
    bar: ProgressBar,
}

impl LoadProgress for BarProgress {
    fn advance(&mut self, step: LoadStep<'_>) {
        self.bar.set_length(step.total);
        self.bar.set_position(step.done);
        self.bar.set_message(step.tensor.to_owned());
    }
}

impl Drop for BarProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
