//! From files of conversations to batches.
//!
//! ```text
//! Conversations ─ records ─▶ Encoder ─ samples ─▶ Loader ─▶ batches
//!       └──────── Lengths ───▶ BatchPlan ────────────┘
//! ```
//!
//! [`Conversations`] finds the records of JSONL and JSON files ([`Record`], whatever the format was), [`Encoder`] makes
//! tokens, labels and pixels of one, [`Lengths`] knows how long each is, [`BatchPlan`] says which records make which
//! batch of an epoch, and [`Loader`] encodes them ahead on threads of its own. [`check`] does all of it but training,
//! and reports. A data set of one's own is a Burn `Dataset` of [`RecordResult`]s, or of [`Record`]s in [`Sound`].

mod check;
mod encoder;
mod error;
mod files;
mod index;
mod json;
mod labels;
mod lengths;
mod loader;
mod media;
mod objects;
mod plan;
mod read;
mod record;
mod report;
mod sample;

pub use check::check;
pub use encoder::{EncodeOptions, Encoder, Measure};
pub use error::{BadRecords, DataError, Problem};
pub use files::{Conversations, ReadOptions};
pub use lengths::Lengths;
pub use loader::{Loaded, Loader, LoaderOptions};
pub use plan::{BatchPlan, Batching, PlanOptions};
pub use record::{BoxUnit, Objects, Record, RecordResult, Sound};
pub use report::{BadRecord, Bin, CheckReport, Spread};
pub use sample::{Batch, IGNORED, Sample, Source};
