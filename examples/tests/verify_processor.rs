//! `verify` on the reference cases of the processor, and on cases that were spoilt.

use kiln_examples::Error;
use kiln_examples::verify::{Verdict, check_processor, has_processor_cases};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures")
}

/// A copy of the small cases, `text` and `video-short`.
fn copy_cases() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("processor")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let needed = ["text.", "video-short.", "settings.json", "chat_template.jinja"];
        if needed.iter().any(|start| name.starts_with(start)) {
            std::fs::copy(entry.path(), folder.path().join(name)).unwrap();
        }
    }
    let cases = std::fs::read_to_string(fixtures().join("processor/cases.json")).unwrap();
    let mut cases: serde_json::Value = serde_json::from_str(&cases).unwrap();
    cases.as_object_mut().unwrap().retain(|name, _| name == "text" || name == "video-short");
    write_cases(folder.path(), &cases);
    folder
}

fn write_cases(folder: &Path, cases: &serde_json::Value) {
    std::fs::write(folder.join("cases.json"), cases.to_string()).unwrap();
}

fn read_cases(folder: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap()
}

/// `case stage` of the rows that failed.
fn list_failures(folder: &Path) -> Vec<String> {
    let report = check_processor(folder, Some(&fixtures())).unwrap();
    let failed = report.rows().iter().filter(|row| row.verdict == Verdict::Fail);
    failed.map(|row| format!("{} {}", row.case, row.stage)).collect()
}

#[test]
fn every_case_passes() {
    let folder = fixtures().join("processor");
    assert!(has_processor_cases(&folder));
    let report = check_processor(&folder, Some(&fixtures().join("tokenizer.json.gz"))).unwrap();
    assert_eq!(report.failed(), 0, "{report}");
    // Six cases of three texts each; pixels of three of them, video pixels of two.
    assert_eq!(report.rows().len(), 6 * 3 + 3 + 2, "{report}");
}

#[test]
fn what_differs_fails() {
    let folder = copy_cases();
    assert!(list_failures(folder.path()).is_empty());
    let good = read_cases(folder.path());

    let mut cases = good.clone();
    cases["text"]["messages"][0]["content"] = "Another question".into();
    write_cases(folder.path(), &cases);
    assert_eq!(list_failures(folder.path()), ["text prompt", "text expanded", "text ids"]);

    // Another rate samples the same frames here, at other times.
    let mut cases = good.clone();
    cases["video-short"]["video"]["fps"] = 3.0.into();
    write_cases(folder.path(), &cases);
    assert_eq!(list_failures(folder.path()), ["video-short expanded", "video-short ids"]);

    write_cases(folder.path(), &good);
    let (first, last) = ("video-short.frame000.png", "video-short.frame004.png");
    std::fs::copy(folder.path().join(first), folder.path().join(last)).unwrap();
    assert_eq!(list_failures(folder.path()), ["video-short video pixels"]);
}

#[test]
fn what_is_missing_is_an_error() {
    let folder = copy_cases();
    let tokenizer = fixtures();
    let check = || check_processor(folder.path(), Some(&tokenizer)).unwrap_err();
    std::fs::remove_file(folder.path().join("video-short.frame004.png")).unwrap();
    assert!(matches!(check(), Error::Case { reason, .. } if reason == "4 frames beside it, 5 in cases.json"));
    std::fs::remove_file(folder.path().join("text.safetensors")).unwrap();
    assert!(matches!(check(), Error::File { path, .. } if path.ends_with("text.safetensors")));
    // Without a tokenizer of its own, with a file that is none, and with one that is no gzip file.
    let no_tokenizer = check_processor(folder.path(), None).unwrap_err();
    assert!(matches!(no_tokenizer, Error::File { path, .. } if path.ends_with("tokenizer.json")));
    let settings = folder.path().join("settings.json");
    assert!(matches!(check_processor(folder.path(), Some(&settings)), Err(Error::Model(_))));
    std::fs::copy(&settings, folder.path().join("tokenizer.json.gz")).unwrap();
    assert!(matches!(check_processor(folder.path(), None), Err(Error::File { .. })));
    std::fs::write(folder.path().join("cases.json"), "[]").unwrap();
    assert!(matches!(check(), Error::Case { path, .. } if path.ends_with("cases.json")));
    std::fs::write(folder.path().join("cases.json"), "{}").unwrap();
    assert!(matches!(check(), Error::NoCases { .. }));
    std::fs::remove_file(folder.path().join("cases.json")).unwrap();
    assert!(!has_processor_cases(folder.path()));
}
