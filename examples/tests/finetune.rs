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
    let mut arguments =
        vec!["--model", TINY, "--data", data, "--out", out, "--batch-size", "2", "--max-pixels", "4096"];
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
    let mut files: Vec<_> =
        entries.map(|path| (path.file_name().unwrap().into(), std::fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn without_an_option_the_loss_goes_down() {
    let (_, said) = succeed(&["--steps", "20"]);
    let line = said.lines().find(|line| line.starts_with("loss: ")).unwrap();
    let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [first, last] = numbers[..] else { panic!("{line}") };
    // Random weights: all 320 tokens are about as likely, ln 320 = 5.77.
    assert!((5.5..6.1).contains(&first) && last < 0.7 * first, "{line}");
    assert!(said.contains("text (") && said.contains("at most") && said.contains("nothing was kept"), "{said}");
}

#[test]
fn data_are_checked_without_training() {
    let data = write_data();
    let good = path(&data, "data.jsonl");
    let (report, _) = succeed(&["--data", &good, "--check"]);
    assert!(report.contains("4: 4 sound, 0 bad") && report.contains("pictures   1,"), "{report}");

    let lines = std::fs::read_to_string(&good).unwrap();
    let bad = path(&data, "bad.jsonl");
    std::fs::write(&bad, lines.replace("picture.png", "missing.png") + "{\"messages\": []}\n").unwrap();
    let output = command(&["--data", &bad, "--check"]).output().unwrap();
    let (report, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(report.contains("bad.jsonl:1: ") && report.contains("missing.png"), "{report}");
    assert!(report.contains("bad.jsonl:5: ") && said.contains("2 of 5 records"), "{report}{said}");
}

/// What an adapter's run and a run of all weights leave, and that programs load it.
#[test]
fn results_are_what_programs_load() {
    let data = write_data();
    let (file, lora, full) = (path(&data, "data.jsonl"), path(&data, "lora"), path(&data, "full"));
    let evaluated = ["--steps", "2", "--eval", &file, "--eval-every", "1"];
    let (_, said) = succeed(&short(&file, &lora, &evaluated));
    assert!(said.contains("best evaluation: ") && said.contains("describe --model"), "{said}");
    succeed(&short(&file, &full, &["--steps", "1", "--train", "full", "--parts", "vision=1e-4,merger,text,embedding"]));
    for (out, result) in [(&lora, "adapter/adapter_model.safetensors"), (&full, "model/model.safetensors")] {
        for name in ["run.json", "metrics.csv", "loss.svg", result] {
            assert!(Path::new(out).join(name).is_file(), "{name}");
        }
    }
    // One result is in the other's place: an adapter trains on, a model is a checkpoint.
    let adapter = format!("{lora}/adapter");
    let (on, model) = (path(&data, "on"), format!("{full}/model"));
    succeed(&short(&file, &on, &["--steps", "1", "--adapter", &adapter]));
    let described =
        Command::new(scripted::program("describe")).args(["--model", &model, "--max-new-tokens", "1"]).output();
    let described = described.unwrap();
    assert!(described.status.success(), "{}", text(&described.stderr));
}

/// A run that goes on takes the steps that it would have taken.
#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let data = write_data();
    let file = path(&data, "data.jsonl");
    for what in [&["--train", "lora", "--lora-dropout", "0.2"][..], &["--train", "full", "--dtype", "bf16"]] {
        let (whole, parts) = (path(&data, "whole"), path(&data, "parts"));
        let more = [what, &["--steps", "5", "--save-every", "1", "--keep", "9"]].concat();
        succeed(&short(&file, &whole, &more));
        succeed(&short(&file, &parts, &more));
        // As if it had been killed behind the third step, in the middle of the second epoch.
        for step in 4..=5 {
            std::fs::remove_dir_all(format!("{parts}/checkpoints/step-{step:08}")).unwrap();
        }
        let result = if what[1] == "lora" { "adapter" } else { "model" };
        std::fs::remove_dir_all(Path::new(&parts).join(result)).unwrap();
        succeed(&["--out", &parts, "--resume"]);
        assert_eq!(losses(&parts).len(), 5);
        assert_eq!(losses(&parts), losses(&whole), "{what:?}");
        let last = Path::new("checkpoints/step-00000005");
        for files in [last, Path::new(result)] {
            assert!(contents(&Path::new(&parts).join(files)) == contents(&Path::new(&whole).join(files)), "{what:?}");
        }
        for out in [whole, parts] {
            std::fs::remove_dir_all(out).unwrap();
        }
    }
}

#[test]
fn a_run_goes_on_as_what_it_began() {
    let data = write_data();
    let (file, out, other) = (path(&data, "data.jsonl"), path(&data, "out"), path(&data, "other.jsonl"));
    succeed(&short(&file, &out, &["--steps", "2", "--save-every", "1"]));
    assert_eq!(checkpoints(&out), ["step-00000001", "step-00000002"]);
    std::fs::write(&other, std::fs::read_to_string(&file).unwrap() + "\n").unwrap();
    let resume = ["--out", &out, "--resume"];
    for (more, says) in [
        (&["--lr", "0.5"][..], "selection.learning_rate was 0.001 and is now 0.5"),
        (&["--seed", "7"], "options.seed was 42 and is now 7"),
        (&["--data", &other], "data.fingerprint was "),
        (&["--train", "full"], "lora"),
        (&["--lora-rank", "4"], "lora.rank was 8 and is now 4"),
    ] {
        let (status, said) = fail(&[&resume[..], more].concat());
        assert_eq!((status, said.contains(says)), (2, true), "{more:?}: {said}");
    }
    // A new run does not take its place, and nothing was touched.
    let (status, said) = fail(&short(&file, &out, &[]));
    assert_eq!((status, said.contains("has a run already, at step 2")), (2, true), "{said}");
    assert_eq!(checkpoints(&out), ["step-00000001", "step-00000002"]);
    // What changes no step may be otherwise; the run has ended, so there is nothing to do.
    succeed(&[&resume[..], &["--keep", "1"]].concat());
}

#[test]
fn statuses_tell_what_was_wrong() {
    let data = write_data();
    let (file, out) = (path(&data, "data.jsonl"), path(&data, "out"));
    let (empty, missing) = (path(&data, "empty.jsonl"), path(&data, "missing.jsonl"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&missing, std::fs::read_to_string(&file).unwrap().replace("picture.png", "gone.png")).unwrap();
    let something_else = data.path().display().to_string();
    for (arguments, status, says) in [
        (short(&empty, &out, &[]), 3, "empty.jsonl"),
        (short("no/such/file.jsonl", &out, &[]), 3, "no/such/file.jsonl"),
        (short(&missing, &out, &[]), 3, "gone.png"),
        (short(&file, &out, &["--lora-rank", "0"]), 2, "rank"),
        (short(&file, &out, &["--lora-targets", "q_porj"]), 2, "q_porj"),
        (short(&file, &out, &["--train", "full", "--parts", "visoin"]), 2, "visoin"),
        (short(&file, &out, &["--train", "full", "--lora-alpha", "8"]), 2, "--lora-alpha"),
        (short(&file, &out, &["--parts", "text"]), 2, "--parts"),
        (short(&file, &out, &["--adapter", "no/such/adapter"]), 2, "no/such/adapter"),
        (short(&file, &out, &["--clip", "-1"]), 2, "clip"),
        (short(&file, &out, &["--warmup", "nan"]), 2, "warmup"),
        (short(&file, &out, &["--batch-tokens", "8"]), 2, "--batch-tokens"),
        (short(&file, &out, &["--max-tokens", "8"]), 3, "tokens, more than 8"),
        (short(&file, &something_else, &[]), 2, "no run's folder"),
        (vec!["--data", &file], 2, "--out"),
        (vec!["--out", &out, "--resume"], 2, "no checkpoint to resume from"),
        (vec!["--model", "no/such/model", "--out", &out], 1, "no/such/model"),
    ] {
        let (found, said) = fail(&arguments);
        assert_eq!(found, status, "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    assert!(data.path().join("data.jsonl").is_file());
    // A record that is left out is none that ends the run.
    succeed(&short(&missing, &out, &["--skip-bad", "--steps", "1"]));
}

/// A rate without end makes weights that are no numbers: the next step's loss tells, or the check before they are
/// saved. Nothing of them is kept.
#[test]
fn a_loss_that_is_no_number_ends_the_run() {
    let data = write_data();
    let file = path(&data, "data.jsonl");
    let wild = ["--train", "full", "--parts", "text=1e38,merger", "--warmup", "2", "--steps", "9", "--clip", "0"];
    // The warm-up begins at a rate of 0, so that the first step is sound, and the second is not.
    for (save_every, says, kept) in [("9", "data.jsonl:", 0), ("1", "is no number any more", 1)] {
        let out = path(&data, save_every);
        let (status, said) = fail(&short(&file, &out, &[&wild[..], &["--save-every", save_every]].concat()));
        assert!(status == 1 && said.contains(says), "{said}");
        assert_eq!(losses(&out).len(), 2, "{said}");
        let count = |name: &str| Path::new(&out).join(name).read_dir().map_or(0, Iterator::count);
        assert_eq!([count("checkpoints"), count("model")], [kept, 0], "{said}");
    }
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;

    /// Ctrl-C finishes the step, saves, and says how to go on.
    #[test]
    fn ctrl_c_saves() {
        let data = write_data();
        let (file, out) = (path(&data, "data.jsonl"), path(&data, "out"));
        let arguments = short(&file, &out, &["--steps", "100000"]);
        let mut child = command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.find(|line| line.starts_with("step 1/")).unwrap();
        assert!(first.contains("loss "), "{first}");
        let pid = i32::try_from(child.id()).unwrap();
        // SAFETY: a signal to a child that was not waited for, whose number is still its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
        let rest = rest.join("\n");
        assert!(rest.contains(&format!("go on with: finetune --out {out} --resume")), "{rest}");
        let kept = checkpoints(&out);
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(format!("step-{:08}", losses(&out).len()), kept[0]);
    }

    /// A disk that is full in the middle of a checkpoint: an error, the checkpoint before it is whole, and goes on.
    #[test]
    fn a_full_disk_leaves_the_last_checkpoint() {
        let data = write_data();
        let (file, out) = (path(&data, "data.jsonl"), path(&data, "out"));
        succeed(&short(&file, &out, &["--train", "full", "--save-every", "1", "--steps", "2"]));
        std::fs::remove_dir_all(Path::new(&out).join("checkpoints/step-00000002")).unwrap();
        let first = Path::new(&out).join("checkpoints/step-00000001");
        let whole = contents(&first);

        let resume = ["--out", &out, "--resume"];
        let mut child = command(&resume);
        let limit = libc::rlimit { rlim_cur: 100_000, rlim_max: 100_000 };
        // SAFETY: both calls are among those that are safe between fork and exec.
        unsafe {
            child.pre_exec(move || {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                libc::setrlimit(libc::RLIMIT_FSIZE, &limit);
                Ok(())
            });
        }
        let output = child.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write") && !said.contains("panicked"), "{said}");
        assert_eq!(checkpoints(&out), ["step-00000001"]);
        assert!(contents(&first) == whole);
        succeed(&resume);
        assert_eq!(checkpoints(&out), ["step-00000001", "step-00000002"]);
    }
}
