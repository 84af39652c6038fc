//! From files of conversations to batches.

mod sample;

pub use sample::{Batch, IGNORED, Sample, Source};
