//! The table that `verify` prints.

use std::fmt;

/// How a stage came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within the tolerance.
    Pass,
    /// Not.
    Fail,
}

/// One stage of one case.
#[derive(Debug, Clone)]
pub struct Row {
    /// The case.
    pub case: String,
    /// The stage.
    pub stage: String,
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
    /// Whether it is.
    pub verdict: Verdict,
}

/// Every row, and the count at the end.
#[derive(Debug, Clone, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Rows that failed.
    pub fn failed(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict == Verdict::Fail).count()
    }

    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<14} {:<14} {:>26} {:>26}  result", "case", "stage", "found", "allowed")?;
        for row in &self.rows {
            let verdict = match row.verdict {
                Verdict::Pass => "ok",
                Verdict::Fail => "FAILED",
            };
            writeln!(f, "{:<14} {:<14} {:>26} {:>26}  {verdict}", row.case, row.stage, row.found, row.allowed)?;
        }
        let failed = self.failed();
        write!(f, "{} passed, {failed} failed", self.rows.len() - failed)
    }
}
