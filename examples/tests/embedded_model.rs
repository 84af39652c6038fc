//! `train_embedded` and `evaluate`: a run of a few steps from nothing to a model, that is not made twice, and the
//! table of that model.

mod scripted;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a repository may hold.
const MOST_BYTES: u64 = 16_000_000;

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(scripted::program(program));
    for name in ["RUST_LOG", "KILN_ISA", "KILN_CONFIG", "RAYON_NUM_THREADS"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_model_is_trained_from_nothing_and_measured() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out").display().to_string();
    let train = || {
        let output = run("train_embedded", &["--out", &out, "--scale", "0.00001"]);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    };
    let said = train();
    for stage in ["1-one-thing", "2-few-things", "3-everything"] {
        assert!(said.contains(&format!("{stage}: loss ")), "{said}");
    }
    let model = Path::new(&out).join("model");
    let weights = model.join("model.safetensors");
    assert!(fs::metadata(&weights).unwrap().len() <= MOST_BYTES);
    let before = fs::read(Path::new(&out).join("0-start/model.safetensors")).unwrap();
    assert_ne!(before, fs::read(Path::new(&out).join("3-everything/model/model.safetensors")).unwrap());

    // A stage that ended is not trained again.
    let result = Path::new(&out).join("3-everything/model/model.safetensors");
    let trained = fs::read(&result).unwrap();
    let said = train();
    assert!(said.contains("3-everything: done before") && !said.contains("3-everything: loss"), "{said}");
    assert_eq!(trained, fs::read(&result).unwrap());

    // Other weights are not what is there.
    let other = run("train_embedded", &["--out", &out, "--scale", "0.00001", "--seed", "2"]);
    let said = text(&other.stderr);
    assert!(other.status.code() == Some(2) && said.contains("seed"), "{said}");

    let sheet = dir.path().join("sheet.png").display().to_string();
    let folder = model.display().to_string();
    let output = run("evaluate", &["--model", &folder, "--count", "1", "--max-tokens", "4", "--sheet", &sheet]);
    let table = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(1),
        "a model that learnt nothing misses goals: {table}{}",
        text(&output.stderr)
    );
    for row in ["caption: a thing and its place", "boxes", "nothing, or unknown", "a video"] {
        assert!(table.lines().any(|line| line.starts_with(row)), "{table}");
    }
    assert!(image::open(&sheet).unwrap().width() > 300);
}

#[test]
fn absurd_scales_are_refused() {
    for scale in ["0", "-1", "nan", "1e9", "x"] {
        let output = run("train_embedded", &["--out", "/nonexistent/out", &format!("--scale={scale}")]);
        assert_eq!(output.status.code(), Some(2), "{scale}");
        assert!(text(&output.stderr).contains("a number above 0"), "{scale}");
    }
}
