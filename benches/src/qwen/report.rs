//! Rows: one engine each, as JSON and as a table.

use super::args::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What an engine reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Seconds of the vision tower.
    pub vision_s: f64,
    /// Tokens of the prompt a second, the vision tower counted in.
    pub prefill_tok_s: f64,
    /// The same for as many tokens of text.
    pub prefill_text_tok_s: f64,
    /// New tokens a second.
    pub decode_tok_s: f64,
    /// Seconds from the prompt to the first token.
    pub first_token_s: f64,
    /// The most resident memory, mapped files included.
    pub peak_bytes: Option<u64>,
    /// How much of the time the cores were not shared with a busy hyperthread: in the vision tower, the prompt, the
    /// prompt of text and new tokens; `None` where they were not gauged.
    pub alone: [Option<f64>; 4],
}

/// A peer's time over Kiln's: above 1, Kiln is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratios {
    /// The vision tower.
    pub vision: f64,
    /// The prompt, the vision tower counted in.
    pub prefill: f64,
    /// A prompt of text.
    pub prefill_text: f64,
    /// New tokens.
    pub decode: f64,
}

/// One engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub engine: String,
    /// Type of the weights.
    pub dtype: String,
    /// Instruction set that it was held to.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// What it reached, unless it is missing.
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// Kiln: new tokens a second if weights and cache were read at the speed of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_decode_tok_s: Option<f64>,
    /// Kiln: against each peer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ratios: BTreeMap<String, Ratios>,
    /// What it said of itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<String>,
    /// Why it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// A peer's row: the ratio that Kiln's row gets.
    #[serde(skip)]
    ratio: Option<Ratios>,
}

impl Row {
    fn new(args: &Args, engine: &str, figures: Option<Figures>) -> Self {
        let dtype = if engine.starts_with("torch") { args.torch_dtype() } else { args.dtype };
        Self {
            engine: engine.into(),
            dtype: dtype.name().into(),
            isa: args.isa(),
            threads: args.thread_count(),
            figures,
            limit_decode_tok_s: None,
            ratios: BTreeMap::new(),
            facts: Vec::new(),
            missing: None,
            ratio: None,
        }
    }

    /// Kiln's row.
    pub fn of_kiln(args: &Args, figures: Figures, limit: Option<f64>, peers: &[Self]) -> Self {
        let ratios = peers.iter().filter_map(|row| Some((row.engine.clone(), row.ratio?))).collect();
        Self { limit_decode_tok_s: limit, ratios, ..Self::new(args, "kiln", Some(figures)) }
    }

    /// The row of a peer that ran in turn with Kiln.
    pub fn of_peer(args: &Args, engine: &str, figures: Figures, ratio: Ratios, facts: Vec<String>) -> Self {
        Self { ratio: Some(ratio), facts, ..Self::new(args, engine, Some(figures)) }
    }

    /// The row of a peer that did not run.
    pub fn missing(args: &Args, engine: &str, why: &str) -> Self {
        Self { missing: Some(why.into()), ..Self::new(args, engine, None) }
    }
}

/// A number, or a dash for none.
fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".into() }
}

/// All rows as a table of Markdown.
pub fn render(rows: &[Row]) -> String {
    // Where it says something: on cores of one's own they are always alone.
    let is_shared =
        |row: &Row| row.figures.iter().flat_map(|figures| figures.alone).flatten().any(|alone| alone < 0.99);
    let has_states = rows.iter().any(is_shared);
    let [state, line] = if has_states { [" cores alone, %: the same |", " --- |"] } else { [""; 2] };
    let mut text = format!(
        "| engine | vision s | prefill tok/s | text prefill tok/s | decode tok/s | first token s | peak GiB | Kiln ahead: vision, prefill, text, decode |{state}\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |{line}\n",
    );
    for row in rows {
        let Some(figures) = &row.figures else {
            let why = row.missing.as_deref().unwrap_or_default();
            writeln!(text, "| {} | missing: {why} | | | | | | |", row.engine).expect("a string takes all");
            continue;
        };
        let ahead = match (row.ratio, row.limit_decode_tok_s) {
            (Some(r), _) => [r.vision, r.prefill, r.prefill_text, r.decode].map(|ratio| number(ratio, 2)).join(", "),
            (None, Some(limit)) => {
                format!("decodes at {:.0} % of the limit of {limit:.2} tok/s", 100.0 * figures.decode_tok_s / limit)
            }
            (None, None) => String::new(),
        };
        let peak = figures.peak_bytes.map_or("-".into(), |bytes| number(bytes as f64 / (1u64 << 30) as f64, 2));
        let alone = |part: Option<f64>| part.map_or("-".into(), |part| number(100.0 * part, 0));
        let alone = if has_states { format!(" {} |", figures.alone.map(alone).join(", ")) } else { String::new() };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {peak} | {ahead} |{alone}",
            row.engine,
            number(figures.vision_s, 3),
            number(figures.prefill_tok_s, 1),
            number(figures.prefill_text_tok_s, 1),
            number(figures.decode_tok_s, 2),
            number(figures.first_token_s, 3),
        )
        .expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn rows_have_the_promised_fields() {
        let args = Args::parse_from(["qwen", "--checkpoint", "x", "--threads", "3"]);
        let figures = Figures {
            vision_s: 1.0,
            prefill_tok_s: 2.0,
            prefill_text_tok_s: 3.0,
            decode_tok_s: 4.0,
            first_token_s: 5.0,
            peak_bytes: Some(6),
            alone: [Some(1.0), Some(0.5), None, Some(1.0)],
        };
        let ratio = Ratios { vision: 1.5, prefill: 2.5, prefill_text: 3.5, decode: 4.5 };
        let peers = [Row::of_peer(&args, "torch", figures, ratio, vec![]), Row::missing(&args, "candle", "not built")];
        let kiln = serde_json::to_value(Row::of_kiln(&args, figures, Some(8.0), &peers)).unwrap();
        for field in [
            "engine",
            "dtype",
            "isa",
            "threads",
            "vision_s",
            "prefill_tok_s",
            "decode_tok_s",
            "peak_bytes",
            "limit_decode_tok_s",
        ] {
            assert!(!kiln[field].is_null(), "{field}");
        }
        assert_eq!(kiln["ratios"]["torch"]["decode"], 4.5);
        assert_eq!(serde_json::to_value(&peers[1]).unwrap()["missing"], "not built");
        let table = render(&peers);
        assert!(table.contains("1.50, 2.50, 3.50, 4.50") && table.contains("missing: not built"), "{table}");
        assert!(table.contains("| 100, 50, -, 100 |"), "{table}");
        let alone = Figures { alone: [Some(1.0); 4], ..figures };
        assert!(!render(&[Row::of_peer(&args, "torch", alone, ratio, vec![])]).contains("alone"));
    }
}
