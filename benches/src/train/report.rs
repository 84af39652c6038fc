//! Rows: one engine each, as JSON and as a table.

use serde::Serialize;
use std::fmt::Write;

/// What an engine reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub engine: String,
    /// Seconds of a step; the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_s: Option<f64>,
    /// How much of the time the cores were not shared with a busy hyperthread, where they were gauged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alone: Option<f64>,
    /// Loss of the first and of the last step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub losses: Option<[f64; 2]>,
    /// The most resident memory, mapped files included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// A peer: its step over Kiln's, the median of the rounds; above 1, Kiln is ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// A peer: the largest relative difference of its losses from Kiln's at the same step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_difference: Option<f64>,
    /// What it said of itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
    /// Why it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

impl Row {
    /// Of an engine that did not run.
    pub fn missing(engine: &str, why: String) -> Self {
        Self {
            engine: engine.to_owned(),
            step_s: None,
            alone: None,
            losses: None,
            peak_bytes: None,
            ratio: None,
            loss_difference: None,
            facts: Vec::new(),
            missing: Some(why),
        }
    }
}

/// All rows as a table of Markdown.
pub fn render(rows: &[Row], tokens: u32) -> String {
    // Where it says something: on cores of one's own they are always alone.
    let has_states = rows.iter().filter_map(|row| row.alone).any(|alone| alone < 0.99);
    let [state, line] = if has_states { [" cores alone, % |", " --- |"] } else { [""; 2] };
    let mut text = format!(
        "| engine | step s | tokens/s | loss, first and last | losses differ by at most | peak GiB | Kiln ahead |{state}\n\
         | --- | --- | --- | --- | --- | --- | --- |{line}\n",
    );
    for row in rows {
        let cell = |value: Option<String>| value.unwrap_or_default();
        let step = match (&row.missing, row.step_s) {
            (Some(why), _) => format!("missing: {why}"),
            (None, step) => cell(step.map(|s| format!("{s:.3}"))),
        };
        let speed = cell(row.step_s.map(|s| format!("{:.1}", f64::from(tokens) / s)));
        let losses = cell(row.losses.map(|[first, last]| format!("{first:.5}, {last:.5}")));
        let difference = cell(row.loss_difference.map(|d| format!("{:.4} %", 100.0 * d)));
        let peak = cell(row.peak_bytes.map(|bytes| format!("{:.2}", bytes as f64 / (1u64 << 30) as f64)));
        let ratio = cell(row.ratio.map(|ratio| format!("{ratio:.2}")));
        let alone = row.alone.map_or("-".into(), |alone| format!("{:.0}", 100.0 * alone));
        let alone = if has_states { format!(" {alone} |") } else { String::new() };
        writeln!(text, "| {} | {step} | {speed} | {losses} | {difference} | {peak} | {ratio} |{alone}", row.engine)
            .expect("a string takes all");
    }
    text
}
