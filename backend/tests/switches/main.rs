//! Every switch of [`OptimizationConfig`] does what it says: a table of all, each turned by itself, and counted.
//!
//! The switches are those of the default as it is written to a file, so a new one without a row fails. A file, and so a
//! process, of its own: what is counted is the process's. One test, so that nothing runs beside a row.

mod gauges;
mod row;
mod table;
mod workloads;

use burn_kiln::OptimizationConfig;
use std::collections::BTreeSet;

#[test]
fn every_switch_shows() {
    let rows = table::rows();
    let known: BTreeSet<String> = row::leaves(&OptimizationConfig::default()).into_iter().map(|leaf| leaf.0).collect();
    let listed: BTreeSet<String> = rows.iter().map(|row| row.switch.to_owned()).collect();
    assert_eq!(known, listed, "each field of a configuration has a row, and each row a field");
    let dead: Vec<String> =
        rows.iter().filter_map(|row| row.check().err().map(|reason| format!("{}: {reason}", row.switch))).collect();
    assert!(dead.is_empty(), "switches that do not show:\n{}", dead.join("\n"));
}
