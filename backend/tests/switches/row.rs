//! A row of the table, and its check.

use crate::gauges::Counter;
use burn_kiln::OptimizationConfig;
use kiln_kernels::probe::{self, Probe};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::path::Path;

/// Changes a configuration.
pub type Set = fn(&mut OptimizationConfig);

/// A switch, and where it shows.
pub struct Row {
    /// Its path, as in a file.
    pub switch: &'static str,
    /// The configuration that it is turned in: the default with this.
    pub base: Set,
    /// Turns it.
    pub turn: Set,
    /// How it is seen.
    pub seen: Seen,
}

/// How a switch is seen.
pub enum Seen {
    /// Each of these is counted by the workload before the switch is turned, and never after.
    Before(fn(&OptimizationConfig), Vec<Counter>),
    /// Never before, and each after.
    After(fn(&OptimizationConfig), Vec<Counter>),
    /// What the workload reports last is in this range after it is turned, and is not before.
    Size(fn(&OptimizationConfig), Probe, RangeInclusive<u64>),
    /// By a test of this file (from the root of the repository), which names the switch; this machine's test cannot
    /// show it, for this reason. What can be seen here: what is derived from the configuration differs.
    Elsewhere { test: &'static str, reason: &'static str, derived: fn(&OptimizationConfig) -> String },
}

impl Row {
    /// The row of a switch that is turned in the default.
    pub fn of(switch: &'static str, turn: Set, seen: Seen) -> Self {
        Self { switch, base: |_| {}, turn, seen }
    }

    /// The same in the default with `base`.
    pub fn within(self, base: Set) -> Self {
        Self { base, ..self }
    }

    /// Why the switch is dead, or the row is wrong.
    pub fn check(&self) -> Result<(), String> {
        let mut before = OptimizationConfig::default();
        (self.base)(&mut before);
        let mut after = before.clone();
        (self.turn)(&mut after);
        let turned = difference(&before, &after);
        if turned != [self.switch] {
            return Err(format!("the row turns {turned:?}"));
        }
        match &self.seen {
            Seen::Before(work, counters) => {
                let (on, off) = (count(*work, counters, &before), count(*work, counters, &after));
                expect(on.iter().all(|&n| n > 0) && off.iter().all(|&n| n == 0), counters, (&on, &off))
            }
            Seen::After(work, counters) => {
                let (on, off) = (count(*work, counters, &before), count(*work, counters, &after));
                expect(on.iter().all(|&n| n == 0) && off.iter().all(|&n| n > 0), counters, (&on, &off))
            }
            Seen::Size(work, gauge, range) => {
                let [on, off] = [&before, &after].map(|config| {
                    work(config);
                    probe::last(*gauge)
                });
                expect(!range.contains(&on) && range.contains(&off), (gauge, range), (on, off))
            }
            Seen::Elsewhere { test, reason, derived } => {
                println!("{}: seen in {test}, as {reason}", self.switch);
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
                let text = std::fs::read_to_string(root.join(test)).map_err(|error| format!("{test}: {error}"))?;
                if !text.contains(self.switch) {
                    return Err(format!("{test} does not name it"));
                }
                let (before, after) = (derived(&before), derived(&after));
                if before == after { Err(format!("what is derived stays {before}")) } else { Ok(()) }
            }
        }
    }
}

/// What the workload counts.
fn count(work: fn(&OptimizationConfig), counters: &[Counter], config: &OptimizationConfig) -> Vec<u64> {
    let before: Vec<u64> = counters.iter().map(|counter| counter.read()).collect();
    work(config);
    counters.iter().zip(before).map(|(counter, before)| counter.read() - before).collect()
}

fn expect<G: core::fmt::Debug, N: core::fmt::Debug>(holds: bool, gauge: G, found: N) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("before and after it was turned, {gauge:?} told {found:?}")) }
}

/// The paths at which two configurations differ.
fn difference(a: &OptimizationConfig, b: &OptimizationConfig) -> Vec<String> {
    leaves(a).into_iter().zip(leaves(b)).filter(|(a, b)| a != b).map(|(a, _)| a.0).collect()
}

/// Every field of a configuration by its path, and its value.
pub fn leaves(config: &OptimizationConfig) -> Vec<(String, Value)> {
    fn walk(path: &str, value: Value, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    walk(&if path.is_empty() { name } else { format!("{path}.{name}") }, value, found);
                }
            }
            value => found.push((path.to_owned(), value)),
        }
    }
    let mut found = Vec::new();
    walk("", serde_json::to_value(config).expect("plain numbers, names and switches"), &mut found);
    found
}
