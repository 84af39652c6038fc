//! The program `gpu` on a Vulkan device: every operation reaches its kernel.
//!
//! `cargo test --profile gpu -p kiln-benches --features wgpu --test gpu`; without a device it fails.

use serde_json::Value;
use std::process::Command;

#[test]
fn every_operation_gives_a_row() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpu"));
    command.args(["--backend", "wgpu", "--shapes", "small", "--dtype", "f32,bf16", "--no-torch", "--seconds", "0.001"]);
    let output = command.arg("--json").output().expect("it was built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines[0]["facts"].as_array().is_some_and(|facts| facts.len() >= 4) && lines[0]["peaks"]["read"].is_f64());
    // 15 operations, three of them of two shapes.
    assert!(lines.len() > 18, "{text}");
    for row in &lines[1..] {
        let note = row["notes"]["kiln"].as_str().unwrap_or_default();
        assert!(note.contains("Cube") && row["percent"].is_f64() && row["ratios"]["burn"].is_f64(), "{row}");
    }
}
