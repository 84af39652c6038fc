//! Names and boxes in texts.

use qwen3_vl_burn::prompt::Content;
use qwen3_vl_train::data::{EncodeOptions, Problem};
use serde_json::{Value, json};

use crate::setup::{Folder, byte_encoder, problem, read, read_in};

/// What the encoder makes of a record's text, about a picture of 400 x 200 and one of 100 x 100 (width x height).
fn spell(question: &str, answer: &str, objects: Value) -> Result<String, Problem> {
    let folder = Folder::new();
    folder.draw("a.png", 400, 200);
    folder.draw("b.png", 100, 100);
    let record = json!({"images": ["a.png", "b.png"], "objects": objects, "messages": [
        {"role": "user", "content": format!("<image><image>{question}")}, {"role": "assistant", "content": answer}]});
    let encoder = byte_encoder(EncodeOptions::default());
    let record = match read_in(&folder, &record) {
        Ok(record) => record,
        Err(error) => return Err(problem::<()>(Err(error))),
    };
    match encoder.encode(&record) {
        Ok(sample) => {
            let text = encoder.processor().tokenizer.decode(&sample.inputs.input_ids, false);
            Ok(text.rsplit_once("<|vision_end|>").unwrap().1.to_owned())
        }
        Err(error) => Err(problem::<()>(Err(error))),
    }
}

fn boxes(objects: Value) -> Result<String, Problem> {
    let places = objects["bbox"].as_array().map_or(0, Vec::len);
    let text = spell("?", &["<bbox>"].repeat(places).join(";"), objects)?;
    Ok(text.split_once("assistant\n").unwrap().1.trim_end_matches("<|im_end|>\n").to_owned())
}

#[test]
fn boxes_become_thousandths() {
    // 331.5 / 400, 61.4 / 200, ..: by hand.
    assert_eq!(boxes(json!({"bbox": [[331.5, 61.4, 353.5, 194.8]]})).unwrap(), "[829, 307, 884, 974]");
    // Corners in order, points, the second picture, the whole picture; 0.5 to the even neighbour: 2.5 and 17.5.
    let several = json!({"bbox": [[400, 200, 0, 0], [100, 50], [25, 50, 75, 100], [0.25, 1.75]], "bbox_type": "real",
                         "image_id": [0, 0, 1, 1]});
    assert_eq!(boxes(several).unwrap(), "[0, 0, 1000, 1000];[250, 250];[250, 500, 750, 1000];[2, 18]");
    assert_eq!(boxes(json!({"bbox": [[0, 0.5, 0.1234, 1]], "bbox_type": "norm1"})).unwrap(), "[0, 500, 123, 1000]");
    assert_eq!(boxes(json!({"bbox": [[1, 2, 3, 999.6]], "bbox_type": "norm1000"})).unwrap(), "[1, 2, 3, 1000]");
    // A pixel outside is taken to the edge.
    assert_eq!(boxes(json!({"bbox": [[-0.9, 0, 401, 200]]})).unwrap(), "[0, 0, 1000, 1000]");
}

#[test]
fn names_and_boxes_take_their_places() {
    let objects = json!({"ref": ["dog", "a <bbox>", "dog"], "bbox": [[0, 0, 40, 20], [4, 2]], "bbox_type": null,
                         "image_id": null, "whatever": 1});
    let text =
        spell("Find <ref-object>, <ref-object>", "{\"bbox_2d\": <bbox>, \"label\": \"<ref-object>\"} <bbox>", objects);
    assert_eq!(
        text.unwrap(),
        "Find dog, a <bbox><|im_end|>\n<|im_start|>assistant\n\
         {\"bbox_2d\": [0, 0, 100, 100], \"label\": \"dog\"} [10, 10]<|im_end|>\n"
    );
    // Without objects, the words are words.
    let plain =
        read(&json!({"messages": [{"role": "user", "content": "<bbox>"}, {"role": "assistant", "content": "x"}]}));
    assert_eq!(plain.unwrap().messages[0].content, [Content::text("<bbox>")]);
}

#[test]
fn placeholders_and_objects_must_agree() {
    let objects = json!({"ref": ["dog"], "bbox": [[0, 0, 1, 1]]});
    for (question, answer, wrong, count) in [
        ("<ref-object>", "none", "<bbox>", 0),
        ("<ref-object>", "<bbox><bbox>", "<bbox>", 2),
        ("no name", "<bbox>", "<ref-object>", 0),
    ] {
        match spell(question, answer, objects.clone()) {
            Err(Problem::Objects { placeholder, placeholders, given: 1 }) => {
                assert_eq!((placeholder, placeholders), (wrong, count));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn boxes_that_cannot_be() {
    for bad in [
        json!([0, 0, 402, 20]),
        json!([0, 0, 40, 201.5]),
        json!([-1.5, 0, 40, 20]),
        json!([0, 0, 1e300, 20]),
        json!([1, 2, 3]),
        json!([]),
        json!([1, 2, 3, 4, 5]),
    ] {
        let found = boxes(json!({"bbox": [[0, 0, 1, 1], bad]}));
        assert!(matches!(found, Err(Problem::Box { index: 1, .. })), "{bad}: {found:?}");
    }
    let norm = boxes(json!({"bbox": [[0, 0, 331, 20]], "bbox_type": "norm1"}));
    assert!(matches!(norm, Err(Problem::Box { index: 0, .. })), "{norm:?}");
    let nowhere = boxes(json!({"bbox": [[0, 0, 1, 1]], "image_id": [2]}));
    assert!(matches!(nowhere, Err(Problem::Box { index: 0, .. })), "{nowhere:?}");
    for (objects, field) in [
        (json!([]), "objects"),
        (json!({"bbox": [["0", 0, 1, 1]]}), "objects.bbox[0]"),
        (json!({"bbox": [null]}), "objects.bbox[0]"),
        (json!({"bbox": 5}), "objects.bbox"),
        (json!({"ref": [5]}), "objects.ref[0]"),
        (json!({"bbox_type": "pixels"}), "objects.bbox_type"),
        (json!({"image_id": [-1]}), "objects.image_id[0]"),
        (json!({"image_id": [0.5]}), "objects.image_id[0]"),
    ] {
        let found = problem(read(&json!({"messages": [], "objects": objects})));
        assert!(matches!(&found, Problem::Type { field: named, .. } if named == field), "{objects}: {found}");
    }
}
