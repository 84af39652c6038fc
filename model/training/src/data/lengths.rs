//! How long every record is, found in one pass over a data set that decodes no picture.

use burn::data::dataset::Dataset;
use rayon::prelude::*;

use super::{BadRecords, DataError, Encoder, Measure, Record, RecordResult};

/// Records that are measured between two calls of a progress callback.
pub(super) const STRIDE: usize = 64;

/// The lengths of all records of a data set; 16 bytes a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Of each record; `None` for a bad one.
    records: Vec<Option<Length>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Length {
    tokens: u32,
    /// Labels that count.
    targets: u32,
    /// Of all pictures and videos.
    patches: u32,
}

impl Lengths {
    /// Measures every record, several at a time, in the caller's thread pool. `progress` is told how many are done.
    /// Bad records are left out with a warning under [`BadRecords::Skip`].
    ///
    /// # Errors
    /// [`DataError::Empty`] for a data set without a record, [`DataError::AllBad`]; under [`BadRecords::Stop`] the
    /// first bad record's.
    pub fn measure(
        dataset: &dyn Dataset<RecordResult>,
        encoder: &Encoder,
        bad: BadRecords,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, DataError> {
        let (mut records, mut first) = (Vec::new(), None);
        for_each_record(
            dataset,
            |record| encoder.measure(record),
            |_, measured| {
                match measured {
                    Ok(Measure { tokens, targets, image_patches, video_patches, .. }) => {
                        let [tokens, targets, patches] = [tokens, targets, image_patches + video_patches].map(narrow);
                        records.push(Some(Length { tokens, targets, patches }));
                    }
                    Err(error) if bad == BadRecords::Stop => return Err(error),
                    Err(error) => {
                        tracing::warn!("left out: {error}");
                        records.push(None);
                        first.get_or_insert(error);
                    }
                }
                if records.len() % STRIDE == 0 {
                    progress(records.len());
                }
                Ok(())
            },
        )?;
        progress(records.len());
        match first {
            Some(first) if records.iter().all(Option::is_none) => {
                Err(DataError::AllBad { records: records.len(), first: Box::new(first) })
            }
            _ => Ok(Self { records }),
        }
    }

    /// Lengths that are known: tokens and labels that count of each record, without pictures.
    pub fn new(records: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let length = |(tokens, targets)| Length { tokens: narrow(tokens), targets: narrow(targets), patches: 0 };
        Self { records: records.into_iter().map(|record| Some(length(record))).collect() }
    }

    /// Records, bad ones too.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bad records.
    pub fn bad(&self) -> usize {
        self.records.iter().filter(|record| record.is_none()).count()
    }

    /// Tokens of a record; `None` for a bad one.
    pub fn tokens(&self, record: usize) -> Option<usize> {
        self.get(record).map(|length| length.tokens as usize)
    }

    /// Labels of a record that count; `None` for a bad one.
    pub fn targets(&self, record: usize) -> Option<usize> {
        self.get(record).map(|length| length.targets as usize)
    }

    /// Patches of a record's pictures and videos; `None` for a bad one.
    pub fn patches(&self, record: usize) -> Option<usize> {
        self.get(record).map(|length| length.patches as usize)
    }

    fn get(&self, record: usize) -> Option<Length> {
        self.records.get(record).copied().flatten()
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Runs `work` on every record, a few hundred at a time on the caller's thread pool, and gives the results to `take` in
/// order until it fails.
///
/// # Errors
/// [`DataError::Empty`] for a data set without a record, and those of `take`.
pub(super) fn for_each_record<T: Send>(
    dataset: &dyn Dataset<RecordResult>,
    work: impl Fn(&Record) -> Result<T, DataError> + Sync,
    mut take: impl FnMut(usize, Result<T, DataError>) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let length = dataset.len();
    if length == 0 {
        return Err(DataError::Empty { files: "the data set".to_owned() });
    }
    for start in (0..length).step_by(STRIDE) {
        let range = start..length.min(start + STRIDE);
        let results: Vec<_> = range.clone().into_par_iter().map(|index| work(&get(dataset, index)?)).collect();
        range.zip(results).try_for_each(|(index, result)| take(index, result))?;
    }
    Ok(())
}

/// The record at `index`; a data set without one there is shorter than it says.
pub(super) fn get(dataset: &dyn Dataset<RecordResult>, index: usize) -> RecordResult {
    let reason = || format!("the data set says that it has {} records, and gives none", dataset.len());
    dataset.get(index).unwrap_or_else(|| Err(DataError::Worker { record: index, reason: reason() }))
}
