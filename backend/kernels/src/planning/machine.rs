//! The machine whose plans are kept.

use super::store;
use crate::Caches;
use crate::simd::Tier;
use std::fs;
use std::path::{Path, PathBuf};

/// Counts the forms that a choice had in a file: a file of another form is another machine's.
const FORM: u32 = 3;

/// Version, form, CPU, caches and tiers: what plans depend on.
pub(super) fn describe() -> String {
    let caches = Caches::detect();
    let tiers: Vec<String> = Tier::available().iter().map(Tier::to_string).collect();
    format!(
        "kiln-kernels {}, plans of form {FORM}, on {}, L1d {}, L2 {}, L3 {}, {}",
        env!("CARGO_PKG_VERSION"),
        cpu_name(),
        caches.l1d,
        caches.l2,
        caches.l3,
        tiers.join(" ")
    )
}

/// The CPU's name where the system tells it.
fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(':').nth(1)).map_or(std::env::consts::ARCH, str::trim).to_owned()
}

/// The file of this machine and version in `folder`, else in the user's cache folder; `None` where there is none.
pub fn plan_file(folder: Option<&Path>) -> Option<PathBuf> {
    store::find_file(folder, "plans", &describe())
}
