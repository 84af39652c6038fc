//! `verify` on the reference checkpoints, on each backend, and on one that was spoilt.

use burn_kiln::config::Technique;
use kiln_examples::Error;
use kiln_examples::backend::{Backend, Dtype, Place};
use kiln_examples::verify::{Report, Verdict, check_checkpoint, check_techniques};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name)
}

fn verify(dir: &Path, backend: Backend, dtype: Option<Dtype>) -> Report {
    check_checkpoint(dir, &Place { dtype, ..Place::on(backend) }).unwrap()
}

/// Pixels, positions, delta, tower and taps, logits, greedy tokens with and without a cache.
fn check_all(backend: Backend) {
    for (name, rows) in [("tiny-dense", 35), ("tiny-moe", 10), ("tiny-mixed", 10)] {
        let report = verify(&folder(name), backend, None);
        assert_eq!(report.failed(), 0, "{name}\n{report}");
        assert_eq!(report.rows().len(), rows, "{name}\n{report}");
        assert!(report.rows().iter().any(|row| row.stage == "greedy" && row.found == "64 of 64 equal"), "{report}");
    }
}

#[test]
fn every_checkpoint_passes_on_kiln() {
    check_all(Backend::Kiln);
}

/// All techniques, none, each left out, each alone: no one changes what the model says, with layers dense and sparse.
#[test]
fn every_technique_passes() {
    let mut configs = 0;
    check_techniques(&folder("tiny-mixed"), &Place::on(Backend::Kiln), |config, report| {
        assert_eq!(report.failed(), 0, "{config}\n{report}");
        configs += 1;
    })
    .unwrap();
    assert_eq!(configs, 2 + 2 * Technique::ALL.len());
}

#[test]
fn every_checkpoint_passes_on_flex() {
    check_all(Backend::Flex);
}

#[cfg(feature = "ndarray")]
#[test]
fn every_checkpoint_passes_on_kiln_over_ndarray() {
    check_all(Backend::KilnNdarray);
}

#[test]
fn bf16_passes_on_kiln() {
    let report = verify(&folder("tiny-dense"), Backend::Kiln, Some(Dtype::Bf16));
    assert_eq!(report.failed(), 0, "{report}");
}

#[test]
fn another_token_fails() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder("tiny-moe")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let path = dir.path().join("greedy.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut tokens: serde_json::Value = serde_json::from_str(&text).unwrap();
    let last = tokens["image"][63].as_u64().unwrap();
    tokens["image"][63] = ((last + 1) % 300).into();
    std::fs::write(&path, tokens.to_string()).unwrap();
    let report = verify(dir.path(), Backend::Kiln, None);
    let failed: Vec<&str> =
        report.rows().iter().filter(|row| row.verdict == Verdict::Fail).map(|row| row.stage.as_str()).collect();
    assert_eq!(failed, ["greedy", "greedy uncached"], "{report}");

    std::fs::write(&path, "[]").unwrap();
    let place = Place::on(Backend::Kiln);
    let error = check_checkpoint(dir.path(), &place).unwrap_err();
    assert!(matches!(&error, Error::Case { path: found, .. } if *found == path), "{error}");
}
