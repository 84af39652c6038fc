//! The program `scenes`.

use std::path::Path;
use std::process::Command;

use image::{Rgba, RgbaImage};
use kiln_scenes::{Art, Options, Sample};
use serde_json::Value;

fn run(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_scenes")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_data_set_has_its_pictures_and_its_own_answers_score_all() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    run(&["write", "--out", out, "--count", "60", "--seed", "5"]);
    let text = std::fs::read_to_string(folder.path().join("scenes.jsonl")).unwrap();
    let (mut answers, mut videos) = (String::new(), 0);
    for (seed, line) in (5..).zip(text.lines()) {
        let record: Value = serde_json::from_str(line).unwrap();
        let sample = Sample::draw(seed, &Options::default());
        let question = record["messages"][0]["content"].as_str().unwrap();
        let files = if record["videos"].is_array() { &record["videos"][0] } else { &record["images"] };
        videos += usize::from(record["videos"].is_array());
        let marks = question.matches("<image>").count() + question.matches("<video>").count();
        assert_eq!(marks, if record["videos"].is_array() { 1 } else { files.as_array().unwrap().len() });
        assert!(question.ends_with(&sample.dialogue.question));
        assert_eq!(record["messages"][1]["content"], sample.dialogue.answer);
        assert_eq!(record["meta"]["seed"], seed);
        for (file, scene) in files.as_array().unwrap().iter().zip(&sample.scenes) {
            let picture = image::open(folder.path().join(file.as_str().unwrap())).unwrap();
            assert_eq!(picture.into_rgb8(), scene.render());
        }
        answers += &format!("{}\n", record["messages"][1]["content"]);
    }
    assert_eq!(text.lines().count(), 60);
    assert!(videos > 0);
    std::fs::write(folder.path().join("answers"), &answers).unwrap();
    let (data, given) = (path(folder.path(), "scenes.jsonl"), path(folder.path(), "answers"));
    let table = run(&["score", "--data", &data, "--answers", &given]);
    assert!(table.lines().all(|line| line.contains("right 100.0%") && !line.contains("IoU 0")), "{table}");
    // One answer too few, and none of them in its place.
    std::fs::write(folder.path().join("answers"), answers.split_once('\n').unwrap().1).unwrap();
    let table = run(&["score", "--data", &data, "--answers", &given]);
    assert!(table.lines().any(|line| line.starts_with("describe") && !line.contains("right 100.0%")), "{table}");
}

#[test]
fn an_atlas_of_another_style_is_made_and_drawn_from() {
    let folder = tempfile::tempdir().unwrap();
    let drawings = folder.path().join("drawings");
    std::fs::create_dir(&drawings).unwrap();
    // A red square with a clear rim, twice as large as a cell; one name has the selector that the table leaves out.
    let square = RgbaImage::from_fn(64, 64, |x, y| {
        let inside = (16..48).contains(&x) && (8..56).contains(&y);
        Rgba(if inside { [200, 10, 20, 255] } else { [0; 4] })
    });
    square.save(drawings.join("1f431.png")).unwrap();
    square.save(drawings.join("2600.png")).unwrap();
    let table = r#"{"cell": 32, "styles": ["other"], "unknown": [], "known": [
        {"name": "cat", "plural": "cats", "code": "1f431"}, {"name": "sun", "plural": "suns", "code": "2600-fe0f"}]}"#;
    std::fs::write(folder.path().join("table.json"), table).unwrap();
    let style = format!("mine={}", drawings.to_str().unwrap());
    let (things, out) = (path(folder.path(), "table.json"), folder.path().to_str().unwrap());
    let said = run(&["atlas", "--things", &things, "--style", &style, "--out", out]);
    assert!(said.contains("2 drawings; lacks []"), "{said}");
    let atlas = image::open(folder.path().join("mine.png")).unwrap().into_rgba8();
    assert_eq!(atlas.dimensions(), (512, 32));
    assert_eq!(atlas.get_pixel(8, 4).0, [200, 10, 20, 255]);
    assert_eq!(atlas.get_pixel(7, 4).0, [0; 4]);
    assert_eq!(atlas.get_pixel(32 + 23, 27).0, [200, 10, 20, 255]);
    let art = Art::load(folder.path()).unwrap();
    assert_eq!(art.table().styles, ["mine"]);
    run(&["sheet", "--art", out, "--count", "6", "--out", &path(folder.path(), "sheet.png")]);
    assert!(image::open(folder.path().join("sheet.png")).unwrap().width() > 600);
}

#[test]
fn errors_say_what_is_wrong() {
    let output = Command::new(env!("CARGO_BIN_EXE_scenes"))
        .args(["sheet", "--art", "/nowhere", "--out", "/nowhere/sheet.png"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/things.json"));
}
