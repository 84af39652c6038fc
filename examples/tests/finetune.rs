//! `finetune` as a script runs it: losses, files, what it refuses, and how it goes on.

mod scripted;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/tiny");
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/picture.png");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(scripted::program("finetune"));
    for name in ["RUST_LOG", "KILN_ISA", "KILN_CONFIG", "RAYON_NUM_THREADS", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it says on standard output and on standard error.
#[track_caller]
fn succeed(arguments: &[&str]) -> (String, String) {
    let output = command(arguments).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    (text(&output.stdout), said)
}

/// The exit status, and what it says on standard error.
#[track_caller]
fn fail(arguments: &[&str]) -> (i32, String) {
    let output = command(arguments).output().unwrap();
    let said = text(&output.stderr);
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    (output.status.code().unwrap(), said)
}

/// A folder with four conversations, one of them about a picture, in `data.jsonl`.
fn write_data() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(PICTURE, dir.path().join("picture.png")).unwrap();
    let ask = |question: &str, answer: &str| {
        let messages = [("user", question), ("assistant", answer)];
        let messages = messages.map(|(role, content)| serde_json::json!({ "role": role, "content": content }));
        let images: &[&str] = if question.contains("<image>") { &["picture.png"] } else { &[] };
        format!("{}\n", serde_json::json!({ "messages": messages, "images": images }))
    };
    let lines = [ask("<image>What?", "A cat"), ask("1+1", "2"), ask("2+2", "4"), ask("Hi", "Hello, you")];
    std::fs::write(dir.path().join("data.jsonl"), lines.concat()).unwrap();
    dir
}

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).display().to_string()
}

/// A short run on [`write_data`], two steps an epoch.
fn short<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--model", TINY, "--data", data, "--out", out, "--batch-size", "2", "--max-pixels", "4096"];
    arguments.extend(["--deterministic", "--threads", "2", "--lr", "1e-3"]);
    arguments.extend(more);
    arguments
}

/// The losses of the steps as they stand in `metrics.csv`, digit for digit.
fn losses(out: &str) -> Vec<String> {
    let lines = std::fs::read_to_string(Path::new(out).join("metrics.csv")).unwrap();
    lines.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().to_owned()).collect()
}

fn checkpoints(out: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(out).join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Names and bytes of the files of a folder.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.map(|path| (path.file_name().unwrap().into(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}
