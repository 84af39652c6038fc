//! From gradients to new parameters: clipping, AdamW, learning rates over time.

mod adamw;
mod clip;
mod moments;
mod record;
mod schedule;
mod state_file;

pub use adamw::{AdamW, AdamWConfig};
pub use clip::{GradientNorm, clip_gradients, measure_gradients};
pub use record::{AdamWRecord, MomentsRecord};
pub use schedule::{Decay, Schedule};
pub use state_file::StateError;
