//! Headers that lie about sizes don't make the process allocate what they lie about.

mod counting;
mod files;

use counting::measure_peak;
use files::{entry, folder_with, folder_with_header, frame};
use qwen3_vl_burn::{Checkpoint, Qwen3VlConfig};
use std::fs;
use std::path::Path;

/// Most bytes that a bad header may take.
const LIMIT: usize = 128 << 20;

fn measure_refusal(dir: &Path) -> usize {
    measure_peak(|| drop(Checkpoint::open(dir).expect_err("a bad header was accepted")))
}

/// `prefix`, then `unit` as often as fits into a header of the largest accepted length, then `suffix`.
fn fill(prefix: &str, unit: &str, suffix: &str) -> Vec<u8> {
    let count = ((16 << 20) - prefix.len() - suffix.len()) / unit.len();
    frame(format!("{prefix}{}{suffix}", unit.repeat(count)).as_bytes(), b"")
}

// One test, so that no other test's allocations are counted.
#[test]
fn bad_headers_take_little_memory() {
    let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
    for length in [u64::MAX, 1 << 40, 99_999_999, 16 << 20] {
        files.push(("length", [&length.to_le_bytes()[..], b"{}"].concat()));
    }
    for shape in [&[1 << 40, 1 << 40][..], &[1 << 40], &[usize::MAX]] {
        files.push(("shape", frame(format!("{{{}}}", entry("a", "F32", shape, 0, 1 << 42)).as_bytes(), b"")));
    }
    files.push(("dimensions", fill(r#"{"a":{"dtype":"F32","shape":["#, "1,", r#"1],"data_offsets":[0,4]}}"#)));
    files.push(("offsets", fill(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":["#, "1,", "1]}}")));
    files.push(("unknown field", fill(r#"{"a":{"x":["#, "0,", "0]}}")));
    files.push(("metadata", fill(r#"{"__metadata__":{"#, r#""a":"","#, r#""b":""}}"#)));
    files.push(("metadata value", fill(r#"{"__metadata__":{"a":["#, "0,", "0]}}")));
    files.push(("nesting", fill(r#"{"a":"#, "[", "")));
    files.push(("name", fill("{\"", "n", "\":0}")));
    files.push(("escapes", fill("{\"", "\\n", "\":0}")));
    files.push(("dtype", fill("{\"a\":{\"dtype\":\"", "F", "\"}}")));
    files.push(("text", fill("{", "}", "")));
    let tensors: Vec<String> = (0..200_000).map(|i| entry(&format!("{i:06}"), "F32", &[0], 0, 0)).collect();
    files.push(("tensors", frame(format!("{{{}}}", tensors.join(",")).as_bytes(), b"")));
    // As many tensors as are accepted, well-formed to the last, which is wrong.
    let mut tensors = tensors[..131_071].to_vec();
    tensors.push(entry("culprit", "F32", &[1], 0, 4));
    files.push(("last tensor", frame(format!("{{{}}}", tensors.join(",")).as_bytes(), b"")));
    for (what, content) in files {
        let dir = folder_with(&content);
        drop(content);
        let peak = measure_refusal(dir.path());
        assert!(peak < LIMIT, "{what}: {peak} bytes");
    }

    // The largest good header that is accepted isn't much worse.
    tensors.pop();
    let dir = folder_with_header(&format!("{{{}}}", tensors.join(",")), 0);
    let peak = measure_peak(|| drop(Checkpoint::open(dir.path()).unwrap()));
    assert!(peak < LIMIT, "good: {peak} bytes");

    let dir = tempfile::tempdir().unwrap();
    let index: Vec<String> = (0..400_000).map(|i| format!("\"{i}\":\"s\"")).collect();
    let index = format!("{{\"weight_map\":{{{}}}}}", index.join(","));
    fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    let peak = measure_refusal(dir.path());
    assert!(peak < LIMIT, "index: {peak} bytes");

    let config = dir.path().join("config.json");
    fs::write(&config, format!("{{\"a\":[{}0]}}", "0,".repeat((1 << 19) - 8))).unwrap();
    let peak = measure_peak(|| drop(Qwen3VlConfig::from_file(&config).expect_err("no model_type")));
    assert!(peak < LIMIT, "config: {peak} bytes");
    fs::write(&config, " ".repeat(100 << 20)).unwrap();
    let peak = measure_peak(|| drop(Qwen3VlConfig::from_file(&config).expect_err("too large")));
    assert!(peak < LIMIT, "large config: {peak} bytes");
}
