//! `describe` as a script runs it: outputs, files and exit statuses.

mod scripted;

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/picture.png");
const BOXES: &str = r#"[{"bbox_2d": [250, 0, 1000, 500], "label": "cat"}, {"point_2d": [500, 500], "label": "ball"}]"#;

fn describe(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(scripted::program("describe"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn succeed(arguments: &[&str]) -> (String, String) {
    let output = describe(arguments, "");
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{arguments:?}: {err}");
    (out, err)
}

/// The exit status and the message.
fn fail(arguments: &[&str], input: &str) -> (i32, String) {
    let output = describe(arguments, input);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn scripted_model(words: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    scripted::write(dir.path(), words);
    dir
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn runs_without_any_argument() {
    let (out, err) = succeed(&["--max-new-tokens", "4"]);
    assert!(out.ends_with('\n'));
    assert!(err.contains("weights are random"), "{err}");
    assert!(err.contains("prefill"), "{err}");
}

#[test]
fn kernels_are_explained() {
    let (out, _) = succeed(&["--explain", "1,64"]);
    for part in ["one op, gate, up and SiLU: ", "language_model.layers.*.mlp.up_proj", "    1 row: ", "    64 rows: "] {
        assert!(out.contains(part), "{out}");
    }
    let (status, message) = fail(&["--explain", "--backend", "flex"], "");
    assert!(status == 2 && message.contains("--backend flex has none of Kiln's kernels"), "{message}");
    assert_eq!(fail(&["--explain", "0"], "").0, 2);
}

#[test]
fn a_seed_fixes_the_answer() {
    let answer = |seed: &str| succeed(&["--temperature", "1.5", "--seed", seed, "--max-new-tokens", "16"]).0;
    assert_eq!(answer("7"), answer("7"));
    assert_ne!(answer("7"), answer("8"));
}

#[test]
fn a_prompt_can_come_from_standard_input() {
    let model = scripted_model(&["Fine", " thanks"]);
    let output = describe(&["--model", path(model.path()), "--prompt", "-"], "How are you?\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Fine thanks\n");
    let (status, message) = fail(&["--prompt", "-"], "");
    assert_eq!((status, message.contains("standard input")), (3, true), "{message}");
}

#[test]
fn thoughts_go_to_standard_error() {
    let model = scripted_model(&["<think>", "hm", "</think>", "\n\nYes"]);
    let (out, err) = succeed(&["--model", path(model.path())]);
    assert_eq!(out, "Yes\n");
    assert!(err.contains("hm\n"), "{err}");
}

#[test]
fn json_holds_the_whole_answer() {
    let model = scripted_model(&["<think>hm</think>", BOXES]);
    let arguments = ["--model", path(model.path()), "--image", PICTURE, "--json", "--logprobs", "2"];
    let (out, _) = succeed(&arguments);
    let object: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["answer"], BOXES);
    assert_eq!(object["thinking"], "hm");
    assert_eq!(object["finish"], "stop");
    assert_eq!(object["tokens"], 3);
    assert_eq!(object["logprobs"].as_array().unwrap().len(), 3);
    assert_eq!(object["logprobs"][0]["top"].as_array().unwrap().len(), 2);
    assert!(object["prompt_tokens"].as_u64().unwrap() > 4);
    assert!(object["milliseconds"]["prefill"].as_f64().unwrap() > 0.0);
    let (width, height) = image::image_dimensions(PICTURE).unwrap();
    let (w, h) = (f64::from(width), f64::from(height));
    let cat = &object["detections"][0];
    assert_eq!(cat["label"], "cat");
    assert_eq!(cat["bbox_2d"], serde_json::json!([250.0, 0.0, 1000.0, 500.0]));
    assert_eq!(cat["pixels"], serde_json::json!([w / 4.0, 0.0, w, h / 2.0]));
    assert_eq!(object["detections"][1]["pixels"], serde_json::json!([w / 2.0, h / 2.0]));
}

/// What is nearly JSON, and a bad box among good ones: the good ones are there, and it is said what is wrong.
#[test]
fn boxes_that_can_be_read_are_kept() {
    for (answer, labels, says) in [
        (r#"[{'bbox_2d': [10, 20, 300, 400], 'label': 'a'}]"#, vec!["a"], None),
        (
            r#"[{"bbox_2d": [10, 20, 300, 400], "label": "a"}, {"bbox_2d": [10, 20, 300], "label": "b"}, {"bbox_2d": [1, 2, 3, 4], "label": "c"}]"#,
            vec!["a", "c"],
            Some("`bbox_2d` of detection 1 has 3 numbers, not 4"),
        ),
        (r#"[{"bbox": ["1", "2", "3", "4"], "label": "a b",},]"#, vec!["a b"], None),
        (r#"[{"bbox_2d": [1, 2], "label": "a"}]"#, vec![], Some("has 2 numbers, not 4")),
    ] {
        let model = scripted_model(&[answer]);
        let arguments = ["--model", path(model.path()), "--image", PICTURE, "--greedy", "--json"];
        let (out, err) = succeed(&arguments);
        let object: Value = serde_json::from_str(&out).unwrap();
        let found: Vec<&str> =
            object["detections"].as_array().unwrap().iter().map(|box_| box_["label"].as_str().unwrap()).collect();
        assert_eq!(found, labels, "{answer}");
        assert_eq!(object.get("detections_error").is_some(), says.is_some(), "{out}");
        let said = says.unwrap_or("backend: ");
        assert!(err.contains(said) && (says.is_none() || out.contains(said)), "{err}");

        // Drawn are those that can be read; where none can, it is said why.
        let target = model.path().join("boxes.png");
        let output = describe(&[&arguments[..], &["--draw", path(&target)]].concat(), "");
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(if labels.is_empty() { 4 } else { 0 }), "{message}");
        assert_eq!(target.exists(), !labels.is_empty());
        assert!(message.contains(said), "{message}");
    }
}

/// `generation_config.json` of a base model beside a template that ends turns otherwise.
#[test]
fn an_answer_ends_with_its_turn() {
    let model = scripted_model(&["Yes"]);
    std::fs::write(model.path().join("generation_config.json"), r#"{"eos_token_id": 0}"#).unwrap();
    let count = |more: &[&str]| {
        let arguments = [&["--model", path(model.path()), "--json", "--max-new-tokens", "9"], more].concat();
        let object: Value = serde_json::from_str(&succeed(&arguments).0).unwrap();
        (object["tokens"].as_u64().unwrap(), object["finish"].as_str().unwrap().to_owned())
    };
    assert_eq!(count(&[]), (2, "stop".to_owned()));
    // Behind the end of the turn comes what has no successor in the script: `<|endoftext|>`.
    assert_eq!(count(&["--exact-eos"]), (3, "stop".to_owned()));
}

#[test]
fn tool_calls_are_taken_apart() {
    let model = scripted_model(&["Look.", "\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>"]);
    let (out, _) = succeed(&["--model", path(model.path()), "--json"]);
    let object: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["tool_calls"], serde_json::json!([{ "name": "f", "arguments": { "a": 1 } }]));
}

#[test]
fn boxes_are_drawn_on_the_picture() {
    let model = scripted_model(&[BOXES]);
    let target = model.path().join("boxes.png");
    let arguments = ["--model", path(model.path()), "--image", PICTURE, "--draw", path(&target)];
    succeed(&arguments);
    let (before, after) = (image::open(PICTURE).unwrap().to_rgb8(), image::open(&target).unwrap().to_rgb8());
    assert_eq!(before.dimensions(), after.dimensions());
    let (width, height) = before.dimensions();
    // The box's left side is drawn, below the label; the lower left quarter has nothing on it.
    let changed = |x: u32, y: u32| before.get_pixel(x, y) != after.get_pixel(x, y);
    assert!((height / 4..height / 2).any(|y| changed(width / 4, y)));
    assert!((0..width / 5).all(|x| (height * 2 / 3..height).all(|y| !changed(x, y))));

    // Nothing is overwritten unless it is asked for.
    let (status, message) = fail(&arguments, "");
    assert_eq!((status, message.contains("not overwritten")), (2, true), "{message}");
    succeed(&[&arguments[..], &["--force"]].concat());
}

#[test]
fn an_answer_without_boxes_has_a_status_of_its_own() {
    let model = scripted_model(&["No."]);
    let target = model.path().join("boxes.png");
    let arguments = ["--model", path(model.path()), "--image", PICTURE, "--draw", path(&target)];
    let (status, message) = fail(&arguments, "");
    assert_eq!((status, message.contains("no box")), (4, true), "{message}");
    assert!(!target.exists());
    let (status, _) = fail(&[&arguments[..], &["--image", PICTURE]].concat(), "");
    assert_eq!(status, 2);
}

#[test]
fn statuses_tell_what_was_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("photo.png");
    std::fs::write(&photo, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap();
    for (arguments, expected, says) in [
        (vec!["--image", "no-such-picture.png"], 3, "no-such-picture.png"),
        (vec!["--image", "https://example.org/cat.png"], 3, "download"),
        (vec!["--image", "data:image/png;base64,AAAA"], 3, "no PNG"),
        (vec!["--model", "no/such/folder"], 1, "no/such/folder"),
        (vec!["--top-p", "0"], 2, "top_p"),
        (vec!["--max-new-tokens", "0"], 2, "--max-new-tokens"),
        (vec!["--frobnicate"], 2, "--frobnicate"),
        (vec!["--video", "no-such-video.mp4"], 3, "no-such-video.mp4"),
        (vec!["--image", PICTURE, "--min-pixels", "0"], 2, "--min-pixels"),
        (vec!["--image", PICTURE, "--max-pixels", "1.5"], 2, "--max-pixels"),
        (vec!["--image", PICTURE, "--source-fps", "0"], 2, "--source-fps"),
        (vec!["--image", PICTURE, "--frames", "0"], 2, "--frames"),
        // The picture that cannot be decoded is named, and so is its kind.
        (vec!["--image", PICTURE, "--image", path(&photo)], 3, "photo.png: a HEIC (HEIF) file"),
    ] {
        let (status, message) = fail(&arguments, "");
        assert_eq!(status, expected, "{arguments:?}: {message}");
        assert!(message.contains(says), "{arguments:?}: {message}");
    }
}

/// What is wrong with an option or with standard input is told before a model is looked for, with its exit status.
#[test]
fn wrong_inputs_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out.png");
    let model = ["--model", "/no/such/model"];
    // A drawing needs one picture.
    for (arguments, found) in
        [(&[][..], "found 0 pictures"), (&["--image", PICTURE, "--image", PICTURE], "found 2 pictures")]
    {
        let (status, message) = fail(&[&model[..], arguments, &["--draw", path(&target)]].concat(), "");
        assert!(status == 2 && message.contains(found), "{message}");
    }
    // A name that the system cannot have; no temporary name is told.
    let long = dir.path().join(format!("{}.png", "x".repeat(300)));
    let missing = dir.path().join("none").join("out.png");
    for target in [&long, &missing] {
        let (status, message) = fail(&[&model[..], &["--image", PICTURE, "--draw", path(target)]].concat(), "");
        assert!(status == 2 && message.contains("--draw cannot write") && !message.contains(".kiln-"), "{message}");
    }
    for size in ["99999999999999999999GiB", "18446744073709551616"] {
        for option in ["--memory-limit", "--gpu-memory"] {
            let (status, message) = fail(&[&model[..], &[option, size]].concat(), "");
            assert!(status == 2 && message.contains("16 EiB"), "{message}");
        }
    }
    let mut child = Command::new(scripted::program("describe"))
        .args(["--prompt", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"caf\xE9").unwrap();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && message.contains("no UTF-8 text at byte 3"), "{message}");
}

/// Pixels that are asked for are blamed on their option, settings of a checkpoint on their file.
#[test]
fn limits_and_settings_are_blamed_where_they_stand() {
    let model = scripted_model(&["Fine"]);
    for (option, value) in [("--max-pixels", "1"), ("--min-pixels", "1000000000000")] {
        let (status, message) = fail(&["--model", path(model.path()), "--image", PICTURE, option, value], "");
        let name = option.trim_start_matches('-').replace('-', "_");
        assert!(status == 2 && message.contains(&name), "{message}");
    }
    let settings = r#"{"size": {"shortest_edge": 4096, "longest_edge": 65536}, "merge_size": 4}"#;
    std::fs::write(model.path().join("preprocessor_config.json"), settings).unwrap();
    let (status, message) = fail(&["--model", path(model.path()), "--image", PICTURE], "");
    assert!(status == 1 && message.contains("`merge_size` is 4"), "{message}");

    let model = scripted_model(&["Fine"]);
    let document = model.path().join("a.pdf");
    std::fs::write(&document, "%PDF-1.7\n").unwrap();
    let (status, message) = fail(&["--model", path(model.path()), "--video", path(&document)], "");
    assert!(status == 3 && message.contains("a PDF file is no video") && message.contains("a.pdf"), "{message}");
}
