//! Runs: the loop over batches and steps, checkpoints that go on bit for bit, metrics, a plot.

mod error;
mod event;
mod fingerprint;
mod folder;
mod manifest;
mod metrics;
mod plot;
mod progress;

pub use error::{Difference, RunError};
pub use event::{NoObserver, RunEvent, RunObserver};
pub use fingerprint::{FilePrint, checkpoint_prints};
pub use folder::RunFolder;
pub use metrics::{MetricsFile, StepMetrics, read_metrics};
pub use progress::{RunProgress, progress_bar};
