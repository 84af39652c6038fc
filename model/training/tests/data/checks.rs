//! The report of a whole data set.

use qwen3_vl_train::data::{DataError, EncodeOptions, check};
use serde_json::{Value, json};

use crate::setup::{Folder, byte_encoder, in_memory, texts};

#[test]
fn a_report_counts_everything() {
    let folder = Folder::new();
    folder.draw("a.png", 64, 64);
    folder.draw("b.png", 96, 64);
    folder.draw("cut.png", 512, 512);
    let whole = std::fs::read(folder.path("cut.png")).unwrap();
    folder.write("cut.png", &whole[..60]);
    let ask = |images: Value, places: &str, answer: &str| {
        json!({"images": images, "messages": [
            {"role": "user", "content": places}, {"role": "assistant", "content": answer}]})
        .to_string()
    };
    let lines = [
        ask(json!([]), "hi", "x"),
        ask(json!(["a.png"]), "<image>", "xx"),
        ask(json!(["a.png", "b.png"]), "<image><image>", "xxx"),
        ask(json!(["missing.png"]), "<image>", "x"),
        "{".to_owned(),
        ask(json!([]), "long", &"x".repeat(500)),
        ask(json!(["cut.png"]), "<image>", "x"),
    ];
    let data = folder.open(lines.join("\n")).unwrap();
    let encoder = byte_encoder(EncodeOptions { max_tokens: 256, ..Default::default() });
    let mut told = Vec::new();
    let report = check(&data, &encoder, &mut |done| told.push(done)).unwrap();
    assert_eq!(told, [7]);
    assert_eq!((report.records, report.sound, report.bad), (7, 3, 4));
    // <|im_start|>user\n hi <|im_end|>\n <|im_start|>assistant\n x <|im_end|>\n with a token a byte: 6 + 2 + 2 + 11 + 1
    // + 2. Pictures of 4 and 6 tokens between two marks each.
    let (first, second, third) = (24, 21 + 6 + 2, 21 + 6 + 8 + 3);
    assert_eq!((report.tokens.min, report.tokens.median, report.tokens.max), (first, second, third));
    assert_eq!(report.tokens.total, first + second + third);
    assert_eq!((report.targets.min, report.targets.max, report.targets.total), (3, 5, 12));
    assert_eq!((report.images, report.image_patches.total, report.image_patches.max), (3, 16 + 16 + 24, 40));
    assert_eq!((report.videos, report.video_patches.total), (0, 0));
    let bins: Vec<_> = report.histogram.iter().map(|bin| (bin.up_to, bin.records)).collect();
    assert_eq!(bins, [(32, 2), (64, 1)]);
    let lines: Vec<_> = report.bad_records.iter().map(|bad| bad.line).collect();
    assert_eq!(lines, [4, 5, 6, 7]);
    assert!(report.bad_records[0].reason.contains("missing.png"), "{:?}", report.bad_records[0]);
    assert!(report.bad_records.iter().all(|bad| bad.file.ends_with("data")));

    let printed = report.to_string();
    for part in [
        "7: 3 sound, 4 bad",
        "91 in all; a record 24 to 38, median 29",
        "up to      32 tokens        2 ####",
        "data:5: ",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!((&json["tokens"]["median"], &json["bad_records"][1]["line"]), (&json!(29), &json!(5)));
}

#[test]
fn many_bad_records_are_counted() {
    let data = in_memory(texts(&[300; 1500]));
    let encoder = byte_encoder(EncodeOptions { max_tokens: 100, ..Default::default() });
    let mut last = 0;
    let report = check(&*data, &encoder, &mut |done| {
        assert!(done > last);
        last = done;
    });
    let report = report.unwrap();
    assert_eq!((last, report.bad, report.bad_records.len(), report.sound), (1500, 1500, 1000, 0));
    assert!(report.to_string().contains("and 1480 more"));
    assert!(report.histogram.is_empty());
    assert!(matches!(check(&*in_memory(Vec::new()), &encoder, &mut |_| {}), Err(DataError::Empty { .. })));
}
