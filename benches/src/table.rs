//! Results for people: a table in Markdown, columns of equal width.

use crate::engines::{KILN, KILN_PACKED};
use crate::row::Row;
use crate::state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Peers in the order of their columns; others follow by name.
const ORDER: [&str; 9] = [
    "flex",
    "gemm",
    "candle",
    "torch",
    "torch prepacked",
    "torch mkl packed",
    "torch f32",
    "torch eager",
    "kiln 1 thread",
];

/// Columns that stand before the peers.
const OURS: [&str; 2] = [KILN, KILN_PACKED];

/// The rows as a Markdown table, with a line for each state of the cores where there was more than one. A peer that has
/// no figure is `missing`; [`describe_missing`] says why.
pub fn render(rows: &[Row]) -> String {
    let names = rows.iter().flat_map(|row| {
        let states = std::iter::once(&row.figures).chain(&row.states);
        states.flat_map(|figures| figures.peers.keys()).chain(row.missing.keys())
    });
    let present: BTreeSet<&str> = names.map(String::as_str).filter(|name| !OURS.contains(name)).collect();
    let mut peers: Vec<&str> = ORDER.into_iter().filter(|name| present.contains(name)).collect();
    peers.extend(present.iter().filter(|name| !ORDER.contains(name)));

    let has_states = has_states(rows);
    let state = has_states.then_some("state (samples)");
    let mut header: Vec<String> =
        ["op", "shape", "dtype", "isa", "threads"].into_iter().chain(state).map(String::from).collect();
    header.extend(["unit", "limit", "kiln packed", "kiln unpacked"].map(String::from));
    header.extend(peers.iter().map(|name| name.to_string()));
    header.extend(["% of limit", "ratio"].map(String::from));
    let mut lines = vec![header];
    for row in rows.iter().flat_map(Row::by_state) {
        let figures = &row.figures;
        let mut line = vec![
            row.op.to_string(),
            row.shape.clone(),
            row.dtype.to_string(),
            row.isa.clone(),
            row.threads.to_string(),
        ];
        if has_states {
            let [within, all] = row.count_samples(figures.state);
            line.push(format!("{} ({within} of {all})", figures.state));
        }
        line.extend([
            row.unit.to_string(),
            format!("{} ({})", write_figure(Some(figures.limit)), figures.limit_name),
            write_figure(figures.kiln_packed),
            write_figure(figures.kiln_unpacked),
        ]);
        line.extend(peers.iter().map(|&name| match row.missing.contains_key(name) {
            true => "missing".to_string(),
            false => write_figure(figures.peers.get(name).copied()),
        }));
        line.push(figures.percent.map_or("-".into(), |percent| format!("{percent:.0}")));
        line.push(figures.ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")));
        lines.push(line);
    }
    layout(&lines)
}

/// Whether the cores were in more than one state.
pub(crate) fn has_states(rows: &[Row]) -> bool {
    let states = rows.iter().flat_map(Row::by_state).map(|row| row.figures.state);
    states.collect::<BTreeSet<State>>().len() > 1
}

/// How many samples were taken in which state, of all engines, and how many bytes calls out of cache rotated over;
/// nothing where nothing is known of it.
pub fn describe_states(rows: &[Row]) -> String {
    let mut counts = BTreeMap::<State, usize>::new();
    for (state, count) in rows.iter().flat_map(|row| row.samples.values()).flatten() {
        *counts.entry(*state).or_default() += count;
    }
    let is_known = counts.keys().any(|state| *state != State::Unknown);
    let counted: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let mut text = String::new();
    if is_known {
        text += &format!("- samples by the state of the cores: {}\n", counted.join(", "));
    }
    let rotated = || rows.iter().filter_map(|row| row.rotated).map(|bytes| bytes as f64 / (1 << 30) as f64);
    if rotated().next().is_some() {
        let (least, most) = (rotated().fold(f64::MAX, f64::min), rotated().fold(0.0, f64::max));
        text += &format!("- \"cold\" rotated over {least:.2} to {most:.2} GiB\n");
    }
    text
}

/// Lines of cells as a Markdown table.
pub fn layout(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |i: usize| lines.iter().filter_map(|line| line.get(i)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|i| width(i).unwrap_or(0).max(3)).collect();
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if i == 0 {
            text.extend(widths.iter().map(|width| format!("| {} ", "-".repeat(*width))));
            text.push_str("|\n");
        }
    }
    text
}

/// Three digits, more where there are more before the point; `-` for nothing.
pub(crate) fn write_figure(figure: Option<f64>) -> String {
    match figure {
        None => "-".into(),
        Some(figure) if figure >= 100.0 => format!("{figure:.0}"),
        Some(figure) if figure >= 10.0 => format!("{figure:.1}"),
        Some(figure) => format!("{figure:.2}"),
    }
}

/// Who has no figure and why, each reason once with how many rows it concerns.
pub fn describe_missing(rows: &[Row]) -> String {
    describe_reasons(rows.iter().flat_map(|row| &row.missing))
}

/// The same for engines and reasons of any rows.
pub(crate) fn describe_reasons<'a>(missing: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut reasons = std::collections::BTreeMap::<(&str, &str), usize>::new();
    for (name, why) in missing {
        *reasons.entry((name, why)).or_default() += 1;
    }
    reasons.into_iter().map(|((name, why), count)| format!("- no figure of {name} in {count} rows: {why}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let lines = [vec!["op".to_string(), "figure".into()], vec!["layer_norm".into(), "1".into()]];
        let text = layout(&lines);
        assert_eq!(text, "| op         | figure |\n| ---------- | ------ |\n| layer_norm | 1      |\n");
    }

    #[test]
    fn figures_have_three_digits() {
        let written = [None, Some(1234.5), Some(99.94), Some(1.234)].map(write_figure);
        assert_eq!(written, ["-", "1234", "99.9", "1.23"]);
    }
}
