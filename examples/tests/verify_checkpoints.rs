//! `verify` on the reference checkpoints, on each backend, and on one that was spoilt.

use burn_kiln::OptimizationConfig;
use burn_kiln::config::Technique;
use kiln_examples::Error;
use kiln_examples::backend::{Backend, Dtype, Place};
use kiln_examples::verify::{
    Flip, Report, Router, Routing, Verdict, check_checkpoint, check_techniques, compare_routing,
};
use kiln_kernels::config::IsaChoice;
use kiln_kernels::simd::Tier;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name)
}

/// A fixture to spoil.
fn copy_fixture(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn verify(dir: &Path, backend: Backend, dtype: Option<Dtype>) -> Report {
    check_checkpoint(dir, None, &Place { dtype, ..Place::on(backend) }).unwrap()
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
    check_techniques(&folder("tiny-mixed"), None, &Place::on(Backend::Kiln), |config, report| {
        assert_eq!(report.failed(), 0, "{config}\n{report}");
        configs += 1;
        Ok(())
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

/// In bf16, on every instruction set of this CPU: dense, sparse and mixed. Where there are experts, routers are
/// compared first.
#[test]
fn bf16_passes_on_every_instruction_set() {
    for tier in Tier::available() {
        for name in ["tiny-dense", "tiny-moe", "tiny-mixed"] {
            let mut config = OptimizationConfig::detect();
            config.simd.isa = match tier {
                Tier::Portable => IsaChoice::Portable,
                Tier::Avx2 => IsaChoice::Avx2,
                Tier::Avx512 => IsaChoice::Avx512,
                Tier::Avx512Bf16 => IsaChoice::Avx512Bf16,
                Tier::Amx => IsaChoice::Amx,
            };
            let place = Place { dtype: Some(Dtype::Bf16), optimization: Some(config), ..Place::on(Backend::Kiln) };
            let report = check_checkpoint(&folder(name), None, &place).unwrap();
            assert_eq!(report.failed(), 0, "{name} on {tier}\n{report}");
            let routers = report.rows().iter().filter(|row| row.stage == "routers").count();
            assert_eq!(routers > 0, name != "tiny-dense", "{report}");
        }
    }
}

/// Two experts of three for each token.
fn router(rows: &[[f32; 3]]) -> Router {
    Router::new(2, 3, rows.concat())
}

#[test]
fn flips_are_told_from_errors() {
    let exact = [router(&[[4.0, 2.0, 1.0], [4.0, 2.0, 1.9], [4.0, 2.0, 1.0]]), router(&[[1.0, 2.0, 3.0]; 3])];
    // The second token goes elsewhere; behind it everything may be different.
    let rounded = [
        router(&[[4.0, 2.0, 1.1], [4.0, 1.9, 2.0], [4.0, 2.0, 1.0]]),
        router(&[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [3.0, 1.0, 2.0]]),
    ];
    let routing = compare_routing(&exact, &rounded);
    assert_eq!((routing.equal_tokens, routing.tokens, routing.alike.len()), (1, 3, 0));
    assert_eq!(routing.flips.len(), 1, "{routing:?}");
    let Flip { layer, token, margin } = routing.flips[0];
    assert_eq!((layer, token), (0, 1));
    assert!((margin - 0.1 / 4.0).abs() < 1e-6, "{margin}");
    assert!((routing.error - 0.1 / 4.0).abs() < 1e-6, "{}", routing.error);

    // A flip of a wide margin is told as such, and so are logits that are no numbers.
    let wrong = [router(&[[4.0, 2.0, 1.0], [4.0, 2.0, 1.9], [1.0, 2.0, 4.0]]), exact[1].clone()];
    assert_eq!(compare_routing(&exact, &wrong).flips[0].margin, 0.75);
    let broken = [router(&[[f32::NAN, 2.0, 1.0], [4.0, 2.0, 1.9], [4.0, 2.0, 1.0]]), exact[1].clone()];
    let routing = compare_routing(&exact, &broken);
    assert!(routing.error.is_infinite() || !routing.flips.is_empty(), "{routing:?}");
    assert_eq!(
        compare_routing(&exact, &exact),
        Routing { flips: vec![], equal_tokens: 3, alike: vec![], tokens: 3, error: 0.0 }
    );
}

/// What routers are compared with must be HF's model: another one fails, whatever bf16 allows.
#[test]
fn another_reference_fails_in_bf16() {
    let dir = copy_fixture("tiny-moe");
    let path = dir.path().join("image.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let place = {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let logits = file.tensor("expect.logits").unwrap().data();
        logits.as_ptr() as usize - bytes.as_ptr() as usize
    };
    // Another value of the first token's first logit.
    bytes[place..place + 4].copy_from_slice(&100f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let report = verify(dir.path(), Backend::Kiln, Some(Dtype::Bf16));
    let failed: Vec<&str> =
        report.rows().iter().filter(|row| row.verdict == Verdict::Fail).map(|row| row.stage.as_str()).collect();
    assert_eq!(failed, ["logits in f32"], "{report}");
}

#[test]
fn another_token_fails() {
    let dir = copy_fixture("tiny-moe");
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
    let error = check_checkpoint(dir.path(), None, &place).unwrap_err();
    assert!(matches!(&error, Error::Case { path: found, .. } if *found == path), "{error}");
}
