//! Tells the bench which compiler and which peers it was built with: recorded tables name them.

use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok().and_then(|out| String::from_utf8(out.stdout).ok());
    println!("cargo:rustc-env=KILN_BENCH_RUSTC={}", version.as_deref().map_or("rustc", str::trim));

    let lock = std::fs::read_to_string("../Cargo.lock").unwrap_or_default();
    let crates = ["burn-flex", "gemm", "candle-core"].map(|name| format!("{name} {}", find_version(&lock, name)));
    println!("cargo:rustc-env=KILN_BENCH_CRATES={}", crates.join(", "));
    println!("cargo:rerun-if-changed=../Cargo.lock");
    println!("cargo:rerun-if-changed=build.rs");
}

/// The highest version of a crate in a lock file (the last of its entries).
fn find_version<'a>(lock: &'a str, name: &str) -> &'a str {
    let head = format!("name = \"{name}\"\nversion = \"");
    lock.rsplit_once(head.as_str()).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("?")
}
