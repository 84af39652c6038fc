//! A model against the reference outputs of HF transformers: every case of a folder, every stage of the model, or of
//! the processor alone.

mod case;
mod check;
mod checkpoint;
mod pixels;
mod processor;
mod routing;
mod table;
mod tokenizer;
mod training;

pub use case::{Case, list_cases};
pub use check::{Checks, Precision};
pub use checkpoint::{check_checkpoint, check_techniques};
pub use processor::{check_processor, has_processor_cases};
pub use routing::{Flip, Router, Routing, compare_routing};
pub use table::{Report, Row, Verdict};
pub use training::check_training;
