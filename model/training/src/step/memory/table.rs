//! The plan as a table.

use super::MemoryPlan;
use crate::step::Keep;
use std::fmt;

/// A part of what a step takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// What.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = &self.request.batch;
        writeln!(f, "memory of a step of {} tokens and {} patches", batch.tokens, batch.patches)?;
        for row in &self.rows {
            writeln!(f, "  {:<36} {:>10}", row.name, format_bytes(row.bytes))?;
        }
        let of = self.request.budget.map_or(String::new(), |budget| format!(" of {}", format_bytes(budget)));
        writeln!(f, "  {:<36} {:>10}{of}", "at most", format_bytes(self.total))?;
        let [blocks, layers] = self.recorded;
        let mut parts = Vec::new();
        for (name, keeps, recorded) in
            [("blocks of the tower", &self.layers.vision, blocks), ("decoder layers", &self.layers.text, layers)]
        {
            let (all, frozen) = (keeps.len(), keeps.len() - recorded);
            let twice = keeps[frozen..].iter().filter(|keep| **keep == Keep::Input).count();
            parts.push(format!(
                "{name}: {} kept, {twice} computed twice, {frozen} without a gradient",
                all - frozen - twice
            ));
        }
        writeln!(f, "  {}", parts.join("\n  "))?;
        write!(f, "  logits of {} positions at a time", self.layers.loss_chunk)
    }
}

/// `bytes` as a person reads it.
pub(super) fn format_bytes(bytes: u64) -> String {
    let mib = bytes as f64 / (1 << 20) as f64;
    if mib < 1024.0 { format!("{mib:.1} MiB") } else { format!("{:.2} GiB", mib / 1024.0) }
}
