//! Results as Markdown.

use super::LOST;
use super::compare::Row;
use super::products::{Form, Group};
use crate::case::Dtype;
use crate::measure::median;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Products of one row: instruction set, threads, group, type and form.
type Key<'a> = (&'a str, usize, Group, Dtype, Form);

/// The table, and below it each product that lost.
pub fn render(rows: &[Row]) -> String {
    let mut groups: BTreeMap<Key<'_>, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let product = &row.product;
        let key = (row.isa.as_str(), row.threads, product.group, product.dtype, product.form);
        groups.entry(key).or_default().push(row);
    }
    let mut text = String::from(
        "| isa | threads | products | weights | count | planned: median | least | below 0.97 | tuned: median | least | most | below 0.97 | \
         other than the plan |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for ((isa, threads, group, dtype, form), rows) in &groups {
        let Spread { median, least, lost, .. } = Spread::of(rows, |row| row.planned);
        let tuned = Spread::of(rows, |row| row.tuned);
        let other = rows.iter().filter(|row| row.plan != row.tuned_plan).count();
        let (group, form) = (name(group), name(form));
        writeln!(
            text,
            "| {isa} | {threads} | {group} | {dtype}, {form} | {} | {median:.3} | {least:.3} | {lost} | {:.3} | {:.3} | {:.3} | {} | {other} |",
            rows.len(),
            tuned.median,
            tuned.least,
            tuned.most,
            tuned.lost,
        )
        .expect("a string takes all");
    }
    let all: Vec<&Row> = rows.iter().collect();
    let (planned, tuned) = (Spread::of(&all, |row| row.planned), Spread::of(&all, |row| row.tuned));
    let again = rows.iter().filter(|row| row.again).count();
    let same = rows.iter().filter(|row| row.tuned < LOST && row.plan == row.tuned_plan).count();
    writeln!(
        text,
        "\n{} products, {again} of them measured twice. Planned: median {:.3}, {} below 0.97. Tuned: median {:.3}, {} below 0.97, {same} of which \
         run the planned product's code: their figures are noise.\n",
        rows.len(),
        planned.median,
        planned.lost,
        tuned.median,
        tuned.lost
    )
    .expect("a string takes all");
    for row in rows.iter().filter(|row| row.planned < LOST || row.tuned < LOST) {
        let product = &row.product;
        writeln!(
            text,
            "- {}, {} threads, {} x {} x {}, {}, {}: {:.1} us; planned {:.3} ({}), tuned {:.3} ({})",
            row.isa,
            row.threads,
            product.m,
            product.n,
            product.k,
            product.dtype,
            name(&product.form),
            row.seconds * 1e6,
            row.planned,
            row.plan,
            row.tuned,
            row.tuned_plan
        )
        .expect("a string takes all");
    }
    text
}

/// How ratios lie.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
    lost: usize,
}

impl Spread {
    fn of(rows: &[&Row], ratio: impl Fn(&Row) -> f64) -> Self {
        let ratios: Vec<f64> = rows.iter().map(|row| ratio(row)).collect();
        Self {
            median: median(&ratios).unwrap_or(f64::NAN),
            least: ratios.iter().copied().fold(f64::NAN, f64::min),
            most: ratios.iter().copied().fold(f64::NAN, f64::max),
            lost: ratios.iter().filter(|&&ratio| ratio < LOST).count(),
        }
    }
}

/// As JSON has it.
fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::products::Product;
    use super::*;

    #[test]
    fn losers_are_counted_and_named() {
        let product = Product { group: Group::B2, dtype: Dtype::F32, form: Form::Packed, m: 4, n: 2048, k: 2048 };
        let row = |planned, tuned| Row {
            product,
            isa: "avx2".into(),
            threads: 2,
            seconds: 1e-4,
            planned,
            tuned,
            again: tuned < LOST,
            plan: "dot products, 2 threads".into(),
            tuned_plan: "dot products, 1 thread".into(),
        };
        let text = render(&[row(1.0, 1.1), row(0.99, 0.9), row(1.01, 1.0)]);
        let line = "| avx2 | 2 | 2b | f32, packed | 3 | 1.000 | 0.990 | 0 | 1.000 | 0.900 | 1.100 | 1 | 3 |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("3 products, 1 of them measured twice"), "{text}");
        assert!(
            text.ends_with("100.0 us; planned 0.990 (dot products, 2 threads), tuned 0.900 (dot products, 1 thread)\n")
        );
    }
}
