//! A run in pieces: on a machine that others need too, operations are measured one after the other, and the lines of
//! `--json` of those runs become one record.

use crate::report::Report;
use crate::row::Row;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Why lines are no report.
#[derive(Debug, thiserror::Error)]
pub enum PiecesError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is neither a machine nor a row.
    #[error("{path}, line {line}: {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// What several runs gathered.
#[derive(Debug, Default)]
pub struct Pieces {
    /// Their facts, each once, the range of their peaks, and their rows in order.
    pub report: Report,
    /// Their commands, without the operations by which they differ.
    pub commands: Vec<String>,
}

/// Smallest and largest figure of each peak, by instruction set and threads.
type Ranges = BTreeMap<(String, u64), BTreeMap<&'static str, [f64; 2]>>;

impl Pieces {
    /// Reads the lines of `--json` of several runs.
    ///
    /// # Errors
    /// [`PiecesError`] where a file cannot be read or a line is something else.
    pub fn read(paths: &[PathBuf]) -> Result<Self, PiecesError> {
        let (mut pieces, mut ranges) = (Self::default(), Ranges::new());
        for path in paths {
            let text =
                std::fs::read_to_string(path).map_err(|source| PiecesError::Read { path: path.clone(), source })?;
            for (i, line) in text.lines().enumerate() {
                pieces.add(path, i + 1, line, &mut ranges)?;
            }
        }
        pieces.report.facts.extend(ranges.iter().map(describe_peaks));
        Ok(pieces)
    }

    fn add(&mut self, path: &Path, line: usize, text: &str, ranges: &mut Ranges) -> Result<(), PiecesError> {
        let wrong = |source| PiecesError::Line { path: path.into(), line, source };
        let value: Value = serde_json::from_str(text).map_err(wrong)?;
        if value["op"] != "machine" {
            self.report.rows.push(serde_json::from_value::<Row>(value).map_err(wrong)?);
            return Ok(());
        }
        for fact in value["facts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            add_once(&mut self.report.facts, fact.into());
        }
        if let Some(command) = value["command"].as_str() {
            add_once(&mut self.commands, hide_operations(command));
        }
        let peaks = &value["peaks"];
        let key = (peaks["isa"].as_str().unwrap_or_default().to_string(), peaks["threads"].as_u64().unwrap_or(0));
        let range = ranges.entry(key).or_default();
        let figures = [
            ("fma GFLOP/s", &peaks["fma"]),
            ("bf16 GFLOP/s", &peaks["bf16"]["gflops"]),
            ("read GB/s", &peaks["read"]),
            ("copy GB/s", &peaks["copy"]),
            ("non-temporal copy GB/s", &peaks["copy_streaming"]),
        ];
        for (name, figure) in figures.into_iter().filter_map(|(name, figure)| Some((name, figure.as_f64()?))) {
            let [least, most] = range.entry(name).or_insert([figure; 2]);
            (*least, *most) = (least.min(figure), most.max(figure));
        }
        Ok(())
    }
}

fn add_once(texts: &mut Vec<String>, text: String) {
    if !texts.contains(&text) {
        texts.push(text);
    }
}

/// A command without the values of `--op`.
fn hide_operations(command: &str) -> String {
    let mut words: Vec<&str> = command.split(' ').collect();
    for i in 1..words.len() {
        if words[i - 1] == "--op" {
            words[i] = "..";
        }
    }
    words.join(" ")
}

fn describe_peaks(((isa, threads), range): (&(String, u64), &BTreeMap<&'static str, [f64; 2]>)) -> String {
    let figures: Vec<String> =
        range.iter().map(|(name, [least, most])| format!("{name} {least:.0} to {most:.0}")).collect();
    format!("peaks before the pieces, {threads} threads, {isa}: {}", figures.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_report() {
        let folder = tempfile::tempdir().unwrap();
        let machine = |op: &str, fma: f64| {
            let peaks = serde_json::json!({ "isa": "avx2", "threads": 2, "fma": fma, "read": 30.0, "copy": 20.0 });
            let facts = ["machine: one", op];
            let command = format!("kernels --op {op} --threads 2");
            serde_json::json!({ "op": "machine", "facts": facts, "peaks": peaks, "command": command }).to_string()
        };
        let row = r#"{"op":"gemm","shape":"square 64","dtype":"f32","isa":"avx2","threads":2,"unit":"GFLOP/s","kiln":1.0,
            "kiln_packed":null,"kiln_unpacked":1.0,"limit":2.0,"limit_name":"fma","percent":50.0,"peers":{},"ratio":null,
            "ratios":{},"missing":{},"notes":{},"rounds":5}"#
            .replace('\n', "");
        let paths = [("gemm", 100.0), ("add", 120.0)].map(|(op, fma)| {
            let path = folder.path().join(op);
            std::fs::write(&path, format!("{}\n{row}\n", machine(op, fma))).unwrap();
            path
        });
        let Pieces { report, commands } = Pieces::read(&paths).unwrap();
        assert_eq!(commands, ["kernels --op .. --threads 2"]);
        assert_eq!(report.rows.len(), 2);
        assert_eq!(report.facts[..3], ["machine: one", "gemm", "add"]);
        assert!(report.facts[3].contains("2 threads, avx2") && report.facts[3].contains("fma GFLOP/s 100 to 120"));
    }

    #[test]
    fn other_lines_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "{\"op\": \"machine\"}\nno json\n").unwrap();
        let error = Pieces::read(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(matches!(Pieces::read(&[folder.path().join("none")]), Err(PiecesError::Read { .. })));
    }
}
