//! `metrics.csv`: what every step and evaluation measured.
//!
//! One line a step; the columns of an evaluation are empty where none was made. A file of a run that goes on is cut
//! behind the step of the checkpoint first, so that no step stands in it twice.

use super::error::RunError;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// The first line.
const HEADER: &str =
    "step,epoch,loss,learning_rate,gradient_norm,tokens,targets,tokens_per_second,memory_bytes,eval_loss";

/// What one step of the optimiser measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepMetrics {
    /// Its number, from 1.
    pub step: u64,
    /// Passes over the data behind it, with a fraction.
    pub epoch: f64,
    /// Mean cross entropy of its targets, nats a token.
    pub loss: f64,
    /// The schedule's value; a group's own rate is a multiple of it.
    pub learning_rate: f64,
    /// Euclidean norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Tokens of its batches.
    pub tokens: usize,
    /// Tokens that the loss counts.
    pub targets: usize,
    /// Tokens over the time that it took.
    pub tokens_per_second: f64,
    /// The process's memory that is no page of a file, bytes; 0 where the system doesn't tell.
    pub memory_bytes: u64,
    /// Mean cross entropy of the evaluation data behind this step, where it was asked for.
    pub eval_loss: Option<f64>,
}

impl StepMetrics {
    fn to_line(self) -> String {
        let eval = self.eval_loss.map(|loss| loss.to_string()).unwrap_or_default();
        format!(
            "{},{:.4},{},{},{},{},{},{:.1},{},{eval}",
            self.step,
            self.epoch,
            self.loss,
            self.learning_rate,
            self.gradient_norm,
            self.tokens,
            self.targets,
            self.tokens_per_second,
            self.memory_bytes
        )
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut fields = line.split(',');
        let mut next = || fields.next();
        let metrics = Self {
            step: next()?.parse().ok()?,
            epoch: next()?.parse().ok()?,
            loss: next()?.parse().ok()?,
            learning_rate: next()?.parse().ok()?,
            gradient_norm: next()?.parse().ok()?,
            tokens: next()?.parse().ok()?,
            targets: next()?.parse().ok()?,
            tokens_per_second: next()?.parse().ok()?,
            memory_bytes: next()?.parse().ok()?,
            eval_loss: match next()? {
                "" => None,
                loss => Some(loss.parse().ok()?),
            },
        };
        fields.next().is_none().then_some(metrics)
    }
}

/// Reads a file of metrics up to and with step `last`; nothing where there is no file.
///
/// A line that cannot be read ends it: a process that was killed may leave half of one.
///
/// # Errors
/// [`RunError::Read`].
pub fn read_metrics(path: &Path, last: u64) -> Result<Vec<StepMetrics>, RunError> {
    let failed = |source| RunError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut metrics = Vec::new();
    for line in BufReader::new(file).lines().skip(1) {
        match StepMetrics::from_line(&line.map_err(failed)?) {
            Some(step) if step.step <= last => metrics.push(step),
            _ => break,
        }
    }
    Ok(metrics)
}

/// The file, and all that stands in it.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: File,
    steps: Vec<StepMetrics>,
}

impl MetricsFile {
    /// Opens `path` with the steps up to and with `last` that it has, and nothing behind them.
    ///
    /// # Errors
    /// [`RunError::Read`], [`RunError::Write`].
    pub fn open(path: &Path, last: u64) -> Result<Self, RunError> {
        let steps = read_metrics(path, last)?;
        let mut text = format!("{HEADER}\n");
        for step in &steps {
            text.push_str(&step.to_line());
            text.push('\n');
        }
        super::folder::replace_file(path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path);
        let file = file.map_err(|source| RunError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, steps })
    }

    /// Adds a step, at once.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn push(&mut self, step: StepMetrics) -> Result<(), RunError> {
        let line = format!("{}\n", step.to_line());
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|source| RunError::Write { path: self.path.clone(), source })?;
        self.steps.push(step);
        Ok(())
    }

    /// All steps.
    pub fn steps(&self) -> &[StepMetrics] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, eval_loss: Option<f64>) -> StepMetrics {
        StepMetrics {
            step,
            epoch: 0.5,
            loss: 1.0 / step as f64,
            learning_rate: 1e-5,
            gradient_norm: 0.1,
            tokens: 100,
            targets: 10,
            tokens_per_second: 12.5,
            memory_bytes: 1 << 20,
            eval_loss,
        }
    }

    #[test]
    fn a_run_that_goes_on_has_no_step_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let mut file = MetricsFile::open(&path, 0).unwrap();
        for number in 1..=3 {
            file.push(step(number, (number == 2).then_some(0.25))).unwrap();
        }
        drop(file);
        // The process was killed while it wrote a fourth.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"4,0.5,0.2").unwrap();
        assert_eq!(read_metrics(&path, 9).unwrap(), [step(1, None), step(2, Some(0.25)), step(3, None)]);

        let mut file = MetricsFile::open(&path, 2).unwrap();
        file.push(step(3, Some(0.125))).unwrap();
        assert_eq!(read_metrics(&path, 9).unwrap(), file.steps());
        assert_eq!(file.steps(), [step(1, None), step(2, Some(0.25)), step(3, Some(0.125))]);
    }
}
