//! Runs: the loop over batches and steps, checkpoints that go on bit for bit, metrics, a plot.

mod dataset;
mod error;
mod event;
mod fingerprint;
mod folder;
#[cfg(feature = "learner")]
mod learner;
mod manifest;
mod memory;
mod metrics;
mod options;
mod plot;
mod progress;
mod recording;
mod save;
mod state;
mod trainer;
mod weight_check;
mod weights;

pub use dataset::TrainingData;
pub use error::{Difference, RunError};
pub use event::{NoObserver, RunEvent, RunObserver};
pub use fingerprint::{FilePrint, checkpoint_prints};
pub use folder::{RunFolder, read_manifest};
#[cfg(feature = "learner")]
pub use learner::{Learned, LearnedLoss, SampleBatcher};
pub use metrics::{MetricsFile, StepMetrics, read_metrics};
pub use options::{BatchLimit, RunLength, TrainOptions};
pub use progress::{RunProgress, progress_bar};
pub use save::Output;
pub use state::{Best, RunState};
pub use trainer::{RunSummary, Trainer};
pub use weights::write_weights;
