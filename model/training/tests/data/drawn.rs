//! The data set of the repository: its pictures are drawn here.

use std::path::{Path, PathBuf};

use burn::data::dataset::Dataset;
use image::{Rgb, RgbImage};
use qwen3_vl_burn::Qwen3VlProcessor;
use qwen3_vl_train::data::{Conversations, EncodeOptions, Encoder, ReadOptions, check};
use serde_json::{Value, json};

const SIDE: u32 = 64;
const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", [214, 39, 40]), ("green", [44, 160, 44]), ("blue", [31, 119, 180]), ("yellow", [240, 200, 30])];
const SHAPES: [&str; 3] = ["circle", "square", "triangle"];

fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/assets").join(name)
}

/// A shape on white, its middle at `(x, y)`.
fn draw(shape: &str, colour: [u8; 3], (x, y): (i32, i32), radius: i32) -> RgbImage {
    RgbImage::from_fn(SIDE, SIDE, |column, row| {
        let (dx, dy) = (column as i32 - x, row as i32 - y);
        let inside = match shape {
            "circle" => dx * dx + dy * dy <= radius * radius,
            "square" => dx.abs() <= radius && dy.abs() <= radius,
            _ => dy.abs() <= radius && 2 * dx.abs() <= dy + radius,
        };
        Rgb(if inside { colour } else { [255; 3] })
    })
}

/// Names and pictures: a dozen to train on, four smaller ones beside the middle to evaluate.
fn pictures() -> Vec<(String, RgbImage)> {
    let all = COLOURS.iter().flat_map(|(colour, rgb)| SHAPES.map(|shape| (*colour, *rgb, shape)));
    let train = all.map(|(colour, rgb, shape)| (format!("{colour}-{shape}.png"), draw(shape, rgb, (32, 32), 20)));
    let places = [("circle", (24, 28)), ("square", (40, 36)), ("triangle", (28, 40)), ("circle", (40, 24))];
    let eval = COLOURS
        .iter()
        .zip(places)
        .map(|((colour, rgb), (shape, at))| (format!("eval-{colour}-{shape}.png"), draw(shape, *rgb, at, 14)));
    train.chain(eval).collect()
}

/// The lines of `train.jsonl` (`messages`) and of `eval.jsonl` (LLaVA's form).
fn records() -> (Vec<Value>, Vec<Value>) {
    let (mut train, mut eval) = (Vec::new(), Vec::new());
    for (name, _) in pictures() {
        let words: Vec<&str> = name.trim_end_matches(".png").rsplit('-').collect();
        for (question, answer) in [("What colour is it?", words[1]), ("What shape is it?", words[0])] {
            if name.starts_with("eval") {
                eval.push(json!({"image": name, "conversations": [
                    {"from": "human", "value": format!("<image>\n{question}")}, {"from": "gpt", "value": answer}]}));
            } else {
                train.push(json!({"images": [name], "messages": [
                    {"role": "user", "content": format!("<image>{question}")},
                    {"role": "assistant", "content": answer}]}));
            }
        }
    }
    (train, eval)
}

/// Writes the data set: `cargo test -p qwen3-vl-train --test data write_the_data_set -- --ignored`.
#[test]
#[ignore = "writes examples/assets/finetune"]
fn write_the_data_set() {
    std::fs::create_dir_all(assets("finetune")).unwrap();
    for (name, picture) in pictures() {
        picture.save(assets("finetune").join(name)).unwrap();
    }
    let (train, eval) = records();
    for (name, records) in [("train.jsonl", train), ("eval.jsonl", eval)] {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        std::fs::write(assets("finetune").join(name), lines).unwrap();
    }
}

#[test]
fn the_data_set_is_what_is_drawn() {
    for (name, picture) in pictures() {
        let file = image::open(assets("finetune").join(&name)).unwrap().into_rgb8();
        assert!(file == picture, "{name}");
    }
    let (train, eval) = records();
    assert_eq!((train.len(), eval.len()), (24, 8));
    for (name, records) in [("train.jsonl", train), ("eval.jsonl", eval)] {
        let text = std::fs::read_to_string(assets("finetune").join(name)).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, records, "{name}");
    }
}

#[test]
fn the_embedded_checkpoint_takes_the_data_set() {
    let processor = Qwen3VlProcessor::load(assets("tiny")).unwrap();
    let encoder = Encoder::new(processor, EncodeOptions { max_tokens: 128, ..Default::default() }).unwrap();
    for (name, records) in [("train.jsonl", 24), ("eval.jsonl", 8)] {
        let path = assets("finetune").join(name);
        let data = Conversations::open(&[path], &ReadOptions::default()).unwrap();
        let report = check(&data, &encoder, &mut |_| {}).unwrap();
        assert_eq!((report.sound, report.bad, report.images), (records, 0, records), "{report}");
        assert_eq!(data.len(), records);
        // 64 x 64 pixels: 16 patches, 4 tokens.
        assert_eq!(report.image_patches.max, 16);
    }
}
