//! How much memory the process has used.

/// The most memory that the process has held at one time, bytes; `None` where the system does not tell.
pub fn peak() -> Option<u64> {
    field("VmHWM:")
}

/// The part of the process's memory now that is not pages of files, bytes: what a mapped checkpoint does not count to.
pub fn anonymous() -> Option<u64> {
    field("RssAnon:")
}

fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// `bytes` as a person reads it.
pub fn format_bytes(bytes: u64) -> String {
    let mib = bytes as f64 / (1 << 20) as f64;
    if mib < 1024.0 { format!("{mib:.1} MiB") } else { format!("{:.2} GiB", mib / 1024.0) }
}
