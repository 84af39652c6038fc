//! From files of conversations to batches.
//!
//! ```text
//! Conversations ─ records ─▶ Encoder ─ samples ─▶ Loader ─▶ batches
//!       └──────── Lengths ───▶ BatchPlan ────────────┘
//! ```
//!
//! [`Conversations`] finds the records of JSONL and JSON files ([`Record`], whatever the format was), [`Encoder`] makes
//! tokens, labels and pixels of one, [`Lengths`] knows how long each is, [`BatchPlan`] says which records make which
//! batch of an epoch, and [`Loader`] encodes them ahead on threads of its own. [`check()`] does all of it but training,
//! and reports. A data set of one's own is a Burn `Dataset` of [`RecordResult`]s, or of [`Record`]s in [`Sound`].
//!
//! # Formats
//! A file is JSONL (an object a line) or a JSON array of objects, in UTF-8. The names in each object tell its format:
//!
//! | names | known from |
//! | --- | --- |
//! | `conversations` of `from`, `value`; `image`, `images`, `video`, `videos` | LLaVA, qwen-vl-finetune, ShareGPT |
//! | `messages` of `role`, `content` (a text, or a list of parts); `images`, `videos` | OpenAI, ms-swift, TRL |
//! | `conversation` of `human`, `assistant` | ShareGPT as ms-swift has it |
//! | `query`, `response`, `history` | ms-swift |
//!
//! - Roles: `system`; `user` or `human`; `assistant` or `gpt`; `tool` or `observation`; `function_call` is a turn of
//!   the assistant.
//! - `<image>` and `<video>` in what others than the assistant say, and parts of a list without a source, take the
//!   files in order; there are as many of them as files. Text around them stays as it is; in `value` of the user it is
//!   trimmed, as qwen-vl-finetune does.
//! - A file is a path (relative to the data file's folder, or to [`ReadOptions::media_root`]), a `data:` URI, or an
//!   object with one and with options (`max_pixels`, ..); a video may be a list of frames.
//! - `system` is a first turn, `tools` descriptions of tools (a list, or a text that holds one). `"loss": false` or
//!   `"weight": 0` in a message leaves that answer out of training.
//! - `objects`: [`Objects`] as ms-swift has them: `ref` for each `<ref-object>`, `bbox` for each `<bbox>` (`bbox_type`:
//!   `real` in pixels, `norm1`, `norm1000`; `image_id` says of which picture). Boxes are written as Qwen3-VL writes
//!   `bbox_2d`: `[x1, y1, x2, y2]` in thousandths of the picture's sides.
//!
//! # Labels
//! Labels are the assistant's answers, each with its `<|im_end|>` and the line break behind it, as in qwen-vl-finetune;
//! all else is [`IGNORED`]. They are found by the tokens of ChatML around turns, which no text of a record may hold.

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
