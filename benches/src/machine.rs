//! What is said about the machine beside figures: its processor and caches, never its name.

use kiln_kernels::simd::Tier;
use kiln_kernels::{Caches, Cores};
use serde::Serialize;
use std::sync::OnceLock;

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Physical cores that this process may use.
    pub cores: usize,
    /// Logical CPUs that it may use.
    pub cpus: usize,
    /// Level 1 data cache of a core, bytes.
    pub l1d: usize,
    /// Level 2 cache of a core, bytes.
    pub l2: usize,
    /// Level 3 cache, bytes; of a virtual machine it may be shared with others.
    pub l3: usize,
    /// Instruction sets that Kiln has here.
    pub tiers: Vec<String>,
}

impl Machine {
    /// This machine.
    pub fn detect() -> Self {
        let caches = Caches::detect();
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            cpu: find(&info, "model name").unwrap_or(std::env::consts::ARCH).into(),
            cores: Cores::detect().count,
            cpus: count_cpus(),
            l1d: caches.l1d,
            l2: caches.l2,
            l3: caches.l3,
            tiers: Tier::available().iter().map(Tier::to_string).collect(),
        }
    }

    /// In one line.
    pub fn describe(&self) -> String {
        let cpus = if self.cpus > self.cores { format!(" of {} CPUs", self.cpus) } else { String::new() };
        format!(
            "{}, {} cores{cpus}, L1d {} KiB, L2 {} KiB, L3 {} MiB, {}",
            self.cpu,
            self.cores,
            self.l1d >> 10,
            self.l2 >> 10,
            self.l3 >> 20,
            self.tiers.join(" ")
        )
    }
}

/// Logical CPUs that this process may use, counted before engines are held to some of them.
pub fn count_cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| std::thread::available_parallelism().map_or(1, |cpus| cpus.get()))
}

/// The value of a `/proc/cpuinfo` field.
fn find<'a>(info: &'a str, field: &str) -> Option<&'a str> {
    let line = info.lines().find(|line| line.starts_with(field))?;
    Some(line.split_once(':')?.1.trim())
}

/// The most resident memory of this process so far, mapped files included; `None` where the system does not tell.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_cpuinfo() {
        let info = "processor\t: 0\nmodel name\t: Some CPU @ 1.60GHz\n";
        assert_eq!(find(info, "model name"), Some("Some CPU @ 1.60GHz"));
        assert_eq!(find(info, "bogomips"), None);
    }
}
