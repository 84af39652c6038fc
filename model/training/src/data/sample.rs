//! What a step is given.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use qwen3_vl_burn::ModelInputs;

/// Targets of this value count nothing, as in HF.
pub const IGNORED: i64 = -100;

/// Where a record stands, for messages: `train.jsonl:12`, or `train.json:340 (record 12)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub file: Arc<PathBuf>,
    /// Its line in a JSONL file, its number in a JSON array; from 1.
    pub record: usize,
    /// The line in which it begins; from 1.
    pub line: usize,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)?;
        if self.record == self.line { Ok(()) } else { write!(f, " (record {})", self.record) }
    }
}

/// One conversation, ready for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Tokens and pixels.
    pub inputs: ModelInputs,
    /// For each token the id that it is, where an assistant said it, or -100. Not shifted: the loss of position `i` is
    /// of label `i + 1`, as in HF.
    pub labels: Vec<i64>,
    /// Where it came from.
    pub source: Source,
}

impl Sample {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.inputs.input_ids.len()
    }

    /// Never true of a sample that was read from data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Labels that count: those of position 1 and later that are not -100.
    pub fn targets(&self) -> usize {
        count_targets(&self.labels)
    }
}

/// Labels that count: those of position 1 and later that are not -100.
pub(super) fn count_targets(labels: &[i64]) -> usize {
    labels.iter().skip(1).filter(|&&label| label != IGNORED).count()
}

/// Samples of one forward pass, whose rows lie behind each other; attention keeps them apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// One at least.
    pub samples: Vec<Sample>,
}

impl Batch {
    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.samples.iter().map(Sample::len).sum()
    }

    /// Labels that count.
    pub fn targets(&self) -> usize {
        self.samples.iter().map(Sample::targets).sum()
    }
}
