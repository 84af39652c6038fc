//! How programs end, and what they refuse: readers that go away, full disks, Ctrl-C, options that cannot work.
#![cfg(unix)]

mod scripted;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/picture.png");
/// A program that hangs is a failure; a busy machine is none.
const PATIENCE: Duration = Duration::from_secs(120);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name)
}

fn command(program: &str) -> Command {
    let mut command = Command::new(scripted::program(program));
    for name in ["RUST_LOG", "KILN_ISA", "KILN_CONFIG", "RAYON_NUM_THREADS", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn run(program: &str, arguments: &[&str]) -> Output {
    command(program).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for an exit status, which no signal and no panic gives.
#[track_caller]
fn wait(mut child: Child) -> i32 {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            let code = status.code().unwrap_or_else(|| panic!("ended by a signal: {status}"));
            assert_ne!(code, 101, "a panic");
            return code;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it goes on and on");
}

/// The exit status and what is said on standard error.
#[track_caller]
fn fail(program: &str, arguments: &[&str]) -> (i32, String) {
    let output = run(program, arguments);
    let message = text(&output.stderr);
    assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    (output.status.code().unwrap(), message)
}

/// Everything that writes, with nobody who reads, and on a full disk: an exit status other than 0, and no panic.
#[test]
fn output_that_cannot_be_written_is_an_exit_status() {
    let model = tempfile::tempdir().unwrap();
    scripted::write(model.path(), &["Fine"]);
    let model = model.path().to_str().unwrap();
    let out = tempfile::tempdir().unwrap();
    let checkpoint = out.path().join("tiny").display().to_string();
    let (moe, processor) = (fixture("tiny-moe").display().to_string(), fixture("processor").display().to_string());
    let tokenizer = fixture("tokenizer.json.gz").display().to_string();
    let lines: [(&str, Vec<&str>); 8] = [
        ("describe", vec!["--help"]),
        ("verify", vec![&moe]),
        ("verify", vec![&processor, "--tokenizer", &tokenizer]),
        ("describe", vec!["--model", model]),
        ("describe", vec!["--model", model, "--json"]),
        ("describe", vec!["--explain", "1"]),
        ("chat", vec!["--model", model]),
        ("make_checkpoint", vec!["--out", &checkpoint]),
    ];
    for (program, arguments) in &lines {
        let start = |stdout: Stdio, stderr: Stdio| {
            let mut command = command(program);
            if *program == "chat" {
                let input = out.path().join("lines");
                fs::write(&input, "Hi\n").unwrap();
                command.stdin(File::open(&input).unwrap());
            }
            let _ = fs::remove_dir_all(&checkpoint);
            command.args(arguments).stdout(stdout).stderr(stderr).spawn().unwrap()
        };
        // `program | head -0`, then `program 2>&1 | head -0`.
        for both in [false, true] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let stderr = if both { writer.try_clone().unwrap().into() } else { Stdio::null() };
            assert_ne!(wait(start(writer.into(), stderr)), 0, "{program} {arguments:?}, both: {both}");
        }
        let full = || File::options().write(true).open("/dev/full").unwrap();
        assert_ne!(wait(start(full().into(), full().into())), 0, "{program} {arguments:?} on a full disk");
        // Without a reader of what is said besides, all else is done.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(wait(start(Stdio::null(), writer.into())), 0, "{program} {arguments:?} without standard error");
    }
}

/// `program 2>&1 | head -1`: the reader takes a line and goes.
#[test]
fn a_reader_may_go_after_a_line() {
    let moe = fixture("tiny-moe").display().to_string();
    for (program, arguments) in [("verify", vec![moe.as_str()]), ("describe", vec!["--max-new-tokens", "50"])] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = command(program);
        command.args(&arguments).stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        drop(command);
        let mut byte = [0];
        while byte != *b"\n" {
            reader.read_exact(&mut byte).unwrap();
        }
        drop(reader);
        wait(child);
    }
}

#[test]
fn an_instruction_set_that_cannot_be_had_is_an_error() {
    let moe = fixture("tiny-moe").display().to_string();
    for (program, arguments) in [("verify", vec![moe.as_str()]), ("describe", vec!["--max-new-tokens", "1"])] {
        let output = command(program).args(&arguments).env("KILN_ISA", "bogus").output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("`bogus`: expected portable, avx2, avx512, avx512bf16 or amx"), "{message}");
        for name in ["portable", "PORTABLE", ""] {
            let output = command(program).args(&arguments).env("KILN_ISA", name).output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
    }
    use kiln_kernels::simd::Tier;
    if let Some(missing) = Tier::ALL.into_iter().find(|tier| !tier.is_available()) {
        let output = command("verify").arg(&moe).env("KILN_ISA", missing.to_string()).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(&format!("this CPU has no {missing}, but portable")), "{message}");
        // In a configuration, which may serve several machines, it is a warning.
        let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        fs::write(config.path(), format!("[simd]\nisa = \"{missing}\"\n")).unwrap();
        let output = command("verify").arg(&moe).arg("--config").arg(config.path()).output().unwrap();
        let message = text(&output.stderr);
        assert!(
            output.status.success() && message.contains("WARN") && message.contains("this CPU has no"),
            "{message}"
        );
    }
}

#[cfg(feature = "flex")]
#[test]
fn techniques_need_kiln() {
    let moe = fixture("tiny-moe").display().to_string();
    let (status, message) = fail("verify", &[&moe, "--techniques", "--backend", "flex"]);
    assert_eq!(status, 2, "{message}");
    assert!(message.contains("--backend flex has none"), "{message}");
}

/// Warnings are shown without being asked for, without colours where no terminal is; a filter that is none is told.
#[test]
fn warnings_go_to_standard_error() {
    let frames = tempfile::tempdir().unwrap();
    for name in ["1.png", "2.png"] {
        fs::copy(PICTURE, frames.path().join(name)).unwrap();
    }
    let arguments = ["--video", frames.path().to_str().unwrap(), "--max-new-tokens", "1"];
    let message = text(&run("describe", &arguments).stderr);
    let warned = |message: &str| message.contains("WARN ") && message.contains("the frame rate of a video is unknown");
    assert!(warned(&message), "{message}");
    for levels in ["debug", "nonsense=nonsense"] {
        let output = command("describe").args(arguments).env("RUST_LOG", levels).output().unwrap();
        let message = text(&output.stderr);
        assert!(output.status.success() && message.contains("the frame rate"), "{message}");
        assert!(!message.contains('\u{1b}'), "{message}");
        assert_eq!(message.contains("RUST_LOG=nonsense"), levels != "debug", "{message}");
    }
}

#[test]
fn threads_are_bounded() {
    for count in ["4000", "65535"] {
        let began = Instant::now();
        let output = run("describe", &["--threads", count, "--max-new-tokens", "2"]);
        let message = text(&output.stderr);
        assert!(output.status.success() && message.contains(&format!("--threads {count}: ")), "{message}");
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    }
    for count in ["0", "-1", "70000", "many"] {
        assert_eq!(fail("describe", &["--threads", count]).0, 2, "{count}");
    }
}

/// Far more text than the context has room for is refused before all of it is encoded, and before anything runs.
#[test]
fn a_prompt_beyond_the_context_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (unit, count) in [("a", 100_000), ("a", 4_000_000), ("a b\n", 4_000_000), ("漢", 4_000_000)] {
        let input = folder.path().join("prompt");
        fs::write(&input, unit.repeat(count)).unwrap();
        let began = Instant::now();
        let mut command = command("describe");
        let output = command.args(["--prompt", "-"]).stdin(File::open(&input).unwrap()).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{message}");
        assert!(message.contains("exceed the context of 32768 tokens"), "{message}");
        assert!(began.elapsed() < Duration::from_secs(30), "{unit}: {:?}", began.elapsed());
    }
}

/// The least memory is told at once, and is enough.
#[test]
fn one_minimum_of_memory_is_told() {
    let (status, message) = fail("describe", &["--memory-limit", "1"]);
    assert_eq!(status, 2, "{message}");
    let least = message.split("at least ").nth(1).unwrap().split(' ').next().unwrap();
    let enough = run("describe", &["--memory-limit", least, "--max-new-tokens", "2"]);
    assert!(enough.status.success(), "{least}: {}", text(&enough.stderr));
    let less = (least.parse::<u64>().unwrap() - 1).to_string();
    let (status, message) = fail("describe", &["--memory-limit", &less]);
    assert!(status == 2 && message.contains(&format!("at least {least} ")), "{message}");
    assert_eq!(fail("describe", &["--memory-limit", "0"]).0, 2);
}

#[test]
fn wrong_options_have_the_status_2() {
    for arguments in [
        ["--fps", "0"],
        ["--fps", "NaN"],
        ["--frames", "0"],
        ["--min-frames", "0"],
        ["--source-fps", "-2"],
        ["--memory-limit", "much"],
        ["--temperature", "-1"],
        ["--config", "/no/such/file.toml"],
        ["--draw", "/tmp"],
        ["--dtype", "f16"],
    ] {
        let (status, message) = fail("describe", &arguments);
        assert_eq!(status, 2, "{arguments:?}: {message}");
    }
    for program in ["verify", "make_checkpoint", "chat", "describe"] {
        assert_eq!(fail(program, &["--frobnicate"]).0, 2, "{program}");
    }
}

/// A drawing that cannot be written is refused before the model is loaded: there is none here.
#[test]
fn a_drawing_is_checked_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(path("folder.png")).unwrap();
    for (target, says) in [
        (path("boxes.jpg"), "ends in .png"),
        (path("boxes"), "ends in .png"),
        (path("folder.png"), "a folder"),
        (path("missing/boxes.png"), "missing"),
        ("/proc/boxes.png".to_owned(), "/proc"),
    ] {
        let (status, message) = fail("describe", &["--model", "/no/such/model", "--image", PICTURE, "--draw", &target]);
        assert_eq!((status, message.contains(says)), (2, true), "{target}: {message}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // One that can be written is not.
    let upper = path("BOXES.PNG");
    assert_eq!(fail("describe", &["--model", "/no/such/model", "--image", PICTURE, "--draw", &upper]).0, 1);
}

#[test]
fn a_video_on_the_network_is_refused_as_a_picture_is() {
    for option in ["--image", "--video"] {
        for url in ["https://example.org/a.mp4", "HTTP://example.org/a.gif"] {
            let (status, message) = fail("describe", &[option, url]);
            assert_eq!(status, 3, "{message}");
            assert!(message.contains("is on the network: download it first"), "{message}");
        }
    }
}

/// Paths are bytes.
#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_unicode() {
    let folder = tempfile::tempdir().unwrap();
    let name = |end: &str| folder.path().join(OsString::from_vec([b"\xFF\xFEa".as_slice(), end.as_bytes()].concat()));
    let (model, picture, drawing, frames) = (name("model"), name(".png"), name("-boxes.png"), name("frames"));
    fs::create_dir(&model).unwrap();
    scripted::write(&model, &[r#"[{"bbox_2d": [0, 0, 500, 500], "label": "cat"}]"#]);
    fs::copy(PICTURE, &picture).unwrap();
    fs::create_dir(&frames).unwrap();
    fs::copy(PICTURE, frames.join(OsString::from_vec(b"\xFF1.png".to_vec()))).unwrap();

    let succeed = |arguments: &[&OsStr]| {
        let output = command("describe").arg("--model").arg(&model).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let [image, video, draw] = ["--image", "--video", "--draw"].map(OsStr::new);
    succeed(&[image, picture.as_os_str(), draw, drawing.as_os_str()]);
    assert!(image::open(&drawing).is_ok());
    succeed(&[video, frames.as_os_str()]);
    let output = command("verify").arg(&model).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    // One that is not there is told, not panicked about.
    let output = command("describe").arg("--model").arg(name("nothing")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn nothing_stays_in_the_temporary_folder() {
    let temporary = tempfile::tempdir().unwrap();
    let left = || fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    // At the end, after an error, and after Ctrl-C while the model answers.
    let done = command("describe").args(["--max-new-tokens", "1"]).env("TMPDIR", temporary.path()).output().unwrap();
    assert!(done.status.success() && left().is_empty(), "{:?}", left());
    let failed = command("describe").args(["--image", "nowhere.png"]).env("TMPDIR", temporary.path()).output().unwrap();
    assert!(failed.status.code() == Some(3) && left().is_empty(), "{:?}", left());

    let mut child = command("describe")
        .args(["--max-new-tokens", "200000"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // An answer has begun.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    assert!(!left().is_empty());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(wait(child), 130);
    assert!(left().is_empty(), "{:?}", left());
}
