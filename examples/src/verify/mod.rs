//! A model against the reference outputs of HF transformers: every case of a folder, every stage of the model.

mod case;
mod check;
mod table;

pub use case::{Case, list_cases};
pub use check::{Checks, Precision};
pub use table::{Report, Row, Verdict};
