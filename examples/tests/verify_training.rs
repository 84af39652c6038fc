//! `verify --train` on the reference checkpoints, and on one that was spoilt.

use kiln_examples::Error;
use kiln_examples::backend::{Backend, Dtype, Place};
use kiln_examples::verify::{Report, Verdict, check_training};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name)
}

/// Loss, gradients and norms, with tapes kept and layers computed twice, of each case that has them.
fn check(place: &Place) -> Vec<Report> {
    let reports = [("tiny-dense", 2), ("tiny-moe", 1), ("tiny-mixed", 1)].map(|(name, cases)| {
        let report = check_training(&folder(name), place).unwrap();
        assert_eq!(report.failed(), 0, "{name}\n{report}");
        assert_eq!(report.rows().len(), cases * 2 * 3, "{name}\n{report}");
        report
    });
    reports.into()
}

#[test]
fn every_checkpoint_trains_on_kiln() {
    for report in check(&Place::on(Backend::Kiln)) {
        println!("{report}");
    }
}

#[cfg(feature = "flex")]
#[test]
fn every_checkpoint_trains_on_flex() {
    check(&Place::on(Backend::Flex));
}

#[test]
fn every_checkpoint_trains_in_bf16() {
    for report in check(&Place { dtype: Some(Dtype::Bf16), ..Place::on(Backend::Kiln) }) {
        println!("{report}");
    }
}

/// A copy of `tiny-moe` whose case says otherwise in one number of `tensor`.
fn spoil(tensor: &str) -> Report {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder("tiny-moe")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let path = dir.path().join("image.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let place = {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor(tensor).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[place..place + 4].copy_from_slice(&100f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    check_training(dir.path(), &Place::on(Backend::Kiln)).unwrap()
}

#[test]
fn another_number_fails() {
    for (tensor, stages) in [
        ("expect.loss", ["loss, kept", "loss, twice"]),
        ("expect.grad.model.visual.patch_embed.proj.bias", ["gradients, kept", "gradients, twice"]),
        ("expect.grad_norm.lm_head.weight", ["norms, kept", "norms, twice"]),
    ] {
        let report = spoil(tensor);
        let failed: Vec<&str> =
            report.rows().iter().filter(|row| row.verdict == Verdict::Fail).map(|row| row.stage.as_str()).collect();
        assert_eq!(failed, stages, "{report}");
    }
}

#[test]
fn a_folder_without_a_loss_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder("tiny-dense")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with("text.") && !name.starts_with("image.") {
            std::fs::copy(entry.path(), dir.path().join(name)).unwrap();
        }
    }
    let error = check_training(dir.path(), &Place::on(Backend::Kiln)).unwrap_err();
    assert!(matches!(error, Error::NoTraining { .. }), "{error}");
}
