//! `--adapter` and `merge`: a model whose answer an adapter changes, and cases that were made with one.

mod scripted;

use kiln_examples::backend::{Backend, Place};
use kiln_examples::verify::check_checkpoint;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Width of a row of the scripted model, and its tokens.
const HIDDEN: usize = 64;
const VOCAB: usize = 320;
/// The second word of the script.
const SECOND: usize = 8;

fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(scripted::program(program))
        .args(arguments)
        .env_remove("RUST_LOG")
        .env("HF_HUB_CACHE", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn answer(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments, "Well?\n");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {message}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[track_caller]
fn fail(program: &str, arguments: &[&str]) -> (i32, String) {
    let output = run(program, arguments, "");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A model that says "Fine" and "Good", and an adapter of its head with which it says "Good" at once.
fn model_and_adapter(base: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (model, adapter) = (dir.path().join("model"), dir.path().join("adapter"));
    fs::create_dir(&model).unwrap();
    fs::create_dir(&adapter).unwrap();
    scripted::write(&model, &["Fine", "Good"]);
    let base = base.map_or_else(|| model.to_str().unwrap().to_owned(), str::to_owned);
    let settings = serde_json::json!({
        "peft_type": "LORA", "r": 1, "lora_alpha": 10, "target_modules": ["lm_head"], "base_model_name_or_path": base,
    });
    fs::write(adapter.join("adapter_config.json"), settings.to_string()).unwrap();
    // The embedding of what a prompt ends with has a 1 in its first place.
    let (mut a, mut b) = (vec![0f32; HIDDEN], vec![0f32; VOCAB]);
    (a[0], b[SECOND]) = (1.0, 1.0);
    let bytes = [a, b].map(|values| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    let tensors =
        [("A", vec![1, HIDDEN]), ("B", vec![VOCAB, 1])].into_iter().zip(&bytes).map(|((side, shape), bytes)| {
            (format!("base_model.model.lm_head.lora_{side}.weight"), TensorView::new(Dtype::F32, shape, bytes).unwrap())
        });
    serialize_to_file(tensors, None, &adapter.join("adapter_model.safetensors")).unwrap();
    dir
}

fn paths(dir: &Path) -> [String; 3] {
    ["model", "adapter", "merged"].map(|name| dir.join(name).to_str().unwrap().to_owned())
}

#[test]
fn an_adapter_changes_the_answer() {
    let dir = model_and_adapter(None);
    let [model, adapter, _] = paths(dir.path());
    assert_eq!(answer("describe", &["--model", &model, "--prompt", "Well?"]), "FineGood");
    assert_eq!(answer("describe", &["--model", &model, "--prompt", "Well?", "--adapter", &adapter]), "Good");
    assert_eq!(answer("chat", &["--model", &model, "--adapter", &adapter]), "Good");
    // The base model that it names.
    assert_eq!(answer("describe", &["--prompt", "Well?", "--adapter", &adapter]), "Good");
}

#[test]
fn a_merged_checkpoint_answers_so_without_it() {
    let dir = model_and_adapter(None);
    let [model, adapter, merged] = paths(dir.path());
    let merge = ["--model", &model, "--adapter", &adapter, "--out", &merged];
    let said = answer("merge", &merge);
    assert!(said.contains("1 of ") && said.contains("in 1 file"), "{said}");
    assert_eq!(answer("describe", &["--model", &merged, "--prompt", "Well?"]), "Good");
    let (status, message) = fail("merge", &merge);
    assert!(status == 2 && message.contains("exists"), "{status} {message}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "nothing half-written stays: {left:?}");
}

#[test]
fn base_models_that_are_not_at_hand() {
    for base in ["Qwen/Qwen3-VL-2B-Instruct", "/nowhere/model", ""] {
        let dir = model_and_adapter(Some(base));
        let [model, adapter, _] = paths(dir.path());
        let (status, message) = fail("describe", &["--adapter", &adapter]);
        assert!(status == 2 && message.contains("--model") && message.contains(base), "{base}: {status} {message}");
        assert_eq!(answer("describe", &["--model", &model, "--prompt", "Well?", "--adapter", &adapter]), "Good");
    }
    let dir = model_and_adapter(None);
    let [model, adapter, _] = paths(dir.path());
    // The one in place of the other, and no adapter.
    let (status, message) = fail("describe", &["--model", &adapter]);
    assert!(status == 1 && message.contains("--model BASE --adapter THIS"), "{status} {message}");
    let (status, message) = fail("describe", &["--model", &model, "--adapter", &model]);
    assert!(status == 1 && message.contains("adapter_config.json"), "{status} {message}");
}

/// A case of the reference checkpoint with the logits that HF and PEFT give with an adapter.
#[test]
fn verify_takes_cases_that_were_made_with_an_adapter() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model");
    let adapter: PathBuf = fixtures.join("training/tests/fixtures/both");
    let base = fixtures.join("tests/fixtures/tiny-dense");
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "preprocessor_config.json", "model.safetensors"] {
        fs::copy(base.join(file), dir.path().join(file)).unwrap();
    }
    let expected = fs::read(adapter.join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    for case in ["text", "image"] {
        let inputs = fs::read(base.join(case).with_extension("safetensors")).unwrap();
        let inputs = SafeTensors::deserialize(&inputs).unwrap();
        let tensors = inputs.iter().filter(|(name, _)| !name.starts_with("expect."));
        let logits = expected.tensor(&format!("{case}.logits")).unwrap();
        let tensors = tensors.chain([("expect.logits", logits)]);
        serialize_to_file(tensors, None, &dir.path().join(case).with_extension("safetensors")).unwrap();
    }
    let place = Place::on(Backend::Kiln);
    let report = check_checkpoint(dir.path(), Some(&adapter), &place).unwrap();
    assert_eq!((report.failed(), report.rows().len()), (0, 2), "{report}");
    let report = check_checkpoint(dir.path(), None, &place).unwrap();
    assert_eq!(report.failed(), 2, "{report}");
}
