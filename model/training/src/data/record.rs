//! One conversation, whatever its file's format was.

use burn::data::dataset::Dataset;
use qwen3_vl_burn::prompt::{Message, TemplateValue};

use super::{DataError, Source};

/// What a data set gives for an index: a conversation, or what is wrong with it.
pub type RecordResult = Result<Record, DataError>;

/// A conversation with its pictures and videos where they belong.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The turns.
    pub messages: Vec<Message>,
    /// Messages of the assistant that are not trained on.
    pub untrained: Vec<usize>,
    /// Descriptions of tools, for the template.
    pub tools: Vec<TemplateValue>,
    /// What stands for `<ref-object>` and `<bbox>` in the texts.
    pub objects: Option<Objects>,
    /// Where it came from.
    pub source: Source,
}

impl Record {
    /// A conversation; every turn of the assistant is trained on.
    pub fn new(messages: Vec<Message>, source: Source) -> Self {
        Self { messages, untrained: Vec::new(), tools: Vec::new(), objects: None, source }
    }
}

/// Objects of a picture, as ms-swift writes them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    /// What stands for each `<ref-object>`.
    pub refs: Vec<String>,
    /// What stands for each `<bbox>`: `[x1, y1, x2, y2]`, or `[x, y]` for a point.
    pub boxes: Vec<Vec<f64>>,
    /// What the numbers of boxes are.
    pub unit: BoxUnit,
    /// Which picture each box is of, from 0; boxes beyond its end are of the first.
    pub image_ids: Vec<usize>,
}

/// What the numbers of a box are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BoxUnit {
    /// Pixels of the picture as it lies in its file, turned as its EXIF says (`real`).
    #[default]
    Pixels,
    /// Parts of its sides, 0 to 1 (`norm1`).
    Unit,
    /// Thousandths of its sides, 0 to 1000 (`norm1000`), as Qwen3-VL writes them.
    Thousandths,
}

/// A data set of one's own, whose records are never bad.
#[derive(Debug, Clone)]
pub struct Sound<D>(pub D);

impl<D: Dataset<Record>> Dataset<RecordResult> for Sound<D> {
    fn get(&self, index: usize) -> Option<RecordResult> {
        self.0.get(index).map(Ok)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
