//! What a step may find.

use crate::data::Source;
use std::fmt::Write;

/// Errors of a step. Whatever it is, no parameter has been changed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The loss is no number.
    #[error("the loss is {loss}, at {}: a smaller learning rate, or another record", list(.sources))]
    Loss {
        /// What it is.
        loss: f64,
        /// The records that have such a loss alone; all of the batch where none has.
        sources: Vec<Source>,
    },
    /// The norm of the gradient is no number.
    #[error("the norm of the gradient is {norm}, at {}: a smaller learning rate, or another record", list(.sources))]
    GradientNorm {
        /// What it is.
        norm: f64,
        /// The records of the step.
        sources: Vec<Source>,
    },
    /// A sample whose labels are not one for each token.
    #[error("{}: {labels} labels for {tokens} tokens", list(std::slice::from_ref(.source_of)))]
    Labels {
        /// The record.
        source_of: Source,
        /// Labels.
        labels: usize,
        /// Tokens.
        tokens: usize,
    },
    /// A label that is no token id.
    #[error("{}: label {label} at token {index}; ids are below {vocab_size}", list(std::slice::from_ref(.source_of)))]
    Label {
        /// The record.
        source_of: Source,
        /// Which token.
        index: usize,
        /// Its label.
        label: i64,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// A batch without a sample.
    #[error("a batch without a sample")]
    EmptyBatch,
    /// A count of targets to divide by that is 0.
    #[error("a step without a target: every label is ignored")]
    NoTargets,
    /// A plan for another model.
    #[error("a plan for {planned_vision} blocks and {planned_text} layers, but there are {vision} and {text}")]
    Plan {
        /// Blocks of the plan.
        planned_vision: usize,
        /// Layers of the plan.
        planned_text: usize,
        /// Blocks of the model.
        vision: usize,
        /// Layers of the model.
        text: usize,
    },
    /// A model whose weights are not all in memory.
    #[error("a model with a memory limit on its weights cannot train: load it without one")]
    Streamed,
    /// Inputs that don't fit the model.
    #[error("{}: {error}", list(std::slice::from_ref(.source_of)))]
    Inputs {
        /// The record.
        source_of: Source,
        /// Why.
        #[source]
        error: Box<qwen3_vl_burn::Error>,
    },
}

/// The first few records, and how many there are beside them.
fn list(sources: &[Source]) -> String {
    const SHOWN: usize = 4;
    let mut text = String::new();
    for (index, source) in sources.iter().take(SHOWN).enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        let _ = write!(text, "{comma}{}:{}", source.file.display(), source.record);
    }
    if sources.len() > SHOWN {
        let _ = write!(text, " and {} more", sources.len() - SHOWN);
    }
    text
}
