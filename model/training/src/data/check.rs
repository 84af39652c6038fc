//! Reads a whole data set without training.

use burn::data::dataset::Dataset;

use super::lengths::{STRIDE, for_each_record};
use super::report::{BadRecord, CheckReport};
use super::{DataError, Encoder, Measure, Record, RecordResult};

/// Encodes every record, several at a time in the caller's thread pool, and tells what they are like. `progress` is
/// told how many are done.
///
/// # Errors
/// [`DataError::Empty`] for a data set without a record. A bad record is part of the report.
pub fn check(
    dataset: &dyn Dataset<RecordResult>,
    encoder: &Encoder,
    progress: &mut dyn FnMut(usize),
) -> Result<CheckReport, DataError> {
    let (mut measures, mut bad, mut done) = (Vec::new(), Vec::new(), 0);
    let measure = |record: &Record| Ok(Measure::of(&encoder.encode(record)?));
    for_each_record(dataset, measure, |index, measured| {
        match measured {
            Ok(measure) => measures.push(measure),
            Err(error) => bad.push(describe(index, &error)),
        }
        done = index + 1;
        if done.is_multiple_of(STRIDE) {
            progress(done);
        }
        Ok(())
    })?;
    progress(done);
    Ok(CheckReport::new(&measures, bad))
}

fn describe(index: usize, error: &DataError) -> BadRecord {
    match error {
        DataError::Record { at, problem } => BadRecord {
            file: at.file.display().to_string(),
            line: at.line,
            record: at.record,
            reason: problem.to_string(),
        },
        other => BadRecord { file: String::new(), line: 0, record: index, reason: other.to_string() },
    }
}
