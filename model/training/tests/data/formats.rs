//! The formats of records, and what is wrong with records that have none.

use std::path::Path;

use burn::data::dataset::Dataset;
use qwen3_vl_burn::processor::{ImageOptions, ImageSource, VideoSource};
use qwen3_vl_burn::prompt::{Content, ImagePart, Message, Modality, TemplateValue};
use qwen3_vl_train::data::{Conversations, EncodeOptions, Problem, ReadOptions};
use serde_json::{Value, json};

use crate::setup::{Folder, byte_encoder, problem, read, read_in};

fn picture(folder: &Folder, name: &str) -> Content {
    Content::image(folder.path(name))
}

fn turn(role: &str, content: Vec<Content>) -> Message {
    Message::new(role, content)
}

#[test]
fn every_format_gives_the_same_conversation() {
    let folder = Folder::new();
    let expected = [
        turn("user", vec![picture(&folder, "a.png"), Content::text("What?")]),
        turn("assistant", vec![Content::text("A cat.")]),
        turn("user", vec![Content::text("And?")]),
        turn("assistant", vec![Content::text("No.")]),
    ];
    let part = |part: Value| json!([part, {"type": "text", "text": "What?"}]);
    let messages = |content: Value| {
        json!([{"role": "user", "content": content}, {"role": "assistant", "content": "A cat."},
               {"role": "user", "content": "And?"}, {"role": "assistant", "content": [{"type": "text", "text": "No."}]}])
    };
    for record in [
        json!({"id": "1", "image": "a.png", "conversations": [
            {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."},
            {"from": "human", "value": "And?"}, {"from": "gpt", "value": "No."}]}),
        json!({"image": ["a.png"], "conversations": [
            {"from": "user", "value": " <image> What? \n"}, {"from": "assistant", "value": "A cat."},
            {"from": "user", "value": "And?"}, {"from": "chatgpt", "value": "No."}]}),
        json!({"images": ["a.png"], "messages": messages(json!("<image>What?"))}),
        json!({"images": [{"path": "a.png"}], "conversations": messages(json!("<image>What?"))}),
        json!({"images": "a.png", "messages": messages(part(json!({"type": "image"})))}),
        json!({"messages": messages(part(json!({"type": "image", "image": "a.png"})))}),
        json!({"messages": messages(part(json!({"type": "image_url", "image_url": {"url": "a.png"}})))}),
        json!({"image": "a.png", "conversation": [
            {"human": "<image>What?", "assistant": "A cat."}, {"human": "And?", "assistant": "No."}]}),
        json!({"images": ["a.png"], "history": [["<image>What?", "A cat."]], "query": "And?", "response": "No."}),
        // What is null is not there.
        json!({"messages": messages(json!("<image>What?")), "images": ["a.png"], "videos": null, "objects": null,
               "conversations": null, "system": null, "tools": null}),
    ] {
        let found = read_in(&folder, &record).unwrap();
        assert_eq!(found.messages, expected, "{record}");
        assert!(found.untrained.is_empty() && found.tools.is_empty() && found.objects.is_none());
    }
}

#[test]
fn texts_around_placeholders() {
    let folder = Folder::new();
    let content = |record: Value| read_in(&folder, &record).unwrap().messages[0].content.clone();
    let images = json!(["a.png", "b.png"]);
    let expected = |pieces: [&str; 3]| {
        let [one, two, three] = pieces.map(Content::text);
        vec![one, picture(&folder, "a.png"), two, picture(&folder, "b.png"), three]
    };
    let text = "one <image>\n two<image> three\n";
    let answer = json!({"from": "gpt", "value": "<image> stays\n"});
    let record = json!({"image": images, "conversations": [{"from": "human", "value": text}, answer]});
    assert_eq!(content(record.clone()), expected(["one", "two", "three"]));
    let stays = read_in(&folder, &record).unwrap().messages[1].content.clone();
    assert_eq!(stays, [Content::text("<image> stays\n")]);
    let record = json!({"images": images, "messages": [{"role": "user", "content": text}]});
    assert_eq!(content(record), expected(["one ", "\n two", " three\n"]));
}

#[test]
fn roles_system_and_tools() {
    let call = "{\"name\": \"f\", \"arguments\": {}}";
    let record = read(&json!({"system": "S", "tools": "[{\"name\": \"f\", \"a\": 1}]", "conversations": [
        {"from": "human", "value": "q"}, {"from": "function_call", "value": call},
        {"from": "observation", "value": "r"}, {"from": "gpt", "value": "a"}]}))
    .unwrap();
    let said = |role: &str, text: &str| Message::text(role, text);
    let expected = [
        said("system", "S"),
        said("user", "q"),
        said("assistant", &format!("<tool_call>\n{call}\n</tool_call>")),
        said("tool", "r"),
        said("assistant", "a"),
    ];
    assert_eq!(record.messages, expected);
    assert_eq!(record.tools.len(), 1);

    let twice = json!({"system": "S", "messages": [{"role": "system", "content": "T"}]});
    assert!(matches!(problem(read(&twice)), Problem::Message { message: 0, .. }));

    // Keys keep their order on the way to the template.
    let calls = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a",
        "reasoning_content": "r", "tool_calls": [{"name": "f", "arguments": {"z": 1, "a": 2}}]}]}"#;
    let folder = Folder::new();
    let record = folder.open(calls.replace('\n', " ")).unwrap().get(0).unwrap().unwrap();
    let arguments = record.messages[1].extra["tool_calls"].get_item_by_index(0).unwrap().get_attr("arguments").unwrap();
    assert_eq!(arguments.to_string(), r#"{"z": 1, "a": 2}"#);
    assert_eq!(record.messages[1].extra["reasoning_content"], TemplateValue::from("r"));
}

#[test]
fn paths_are_relative_to_the_file_or_a_root() {
    let folder = Folder::new();
    let absolute = folder.path("x/c.png");
    let record = json!({"images": ["a.png", "data:image/png;base64,AA", "file:///b.png", absolute, "https://x/y.png"],
        "videos": ["v.mp4", ["f0.png", "f1.png"], {"video": "w.mp4", "fps": 1}],
        "messages": [{"role": "user", "content": "<image><image><image><image><image><video><video><video>"}]});
    let data = folder.write("data.json", json!([record]).to_string());
    for (root, expected) in [(None, folder.dir.path()), (Some("/media".into()), Path::new("/media"))] {
        let options = ReadOptions { media_root: root, ..Default::default() };
        let content =
            Conversations::open(&[&data], &options).unwrap().get(0).unwrap().unwrap().messages[0].content.clone();
        let images = content.iter().filter_map(|part| match part {
            Content::Image(part) => part.source.clone(),
            _ => None,
        });
        let images: Vec<_> = images.collect();
        let videos = content.iter().filter_map(|part| match part {
            Content::Video(part) => Some(part.clone()),
            _ => None,
        });
        let videos: Vec<_> = videos.collect();
        let text = |text: &str| ImageSource::Location(text.to_owned());
        assert_eq!(
            images,
            [
                ImageSource::Path(expected.join("a.png")),
                text("data:image/png;base64,AA"),
                text("file:///b.png"),
                ImageSource::Path(absolute.clone()),
                text("https://x/y.png"),
            ]
        );
        let frames = ["f0.png", "f1.png"].map(|frame| ImageSource::Path(expected.join(frame)));
        let sources: Vec<_> = videos.iter().map(|video| video.source.clone().unwrap()).collect();
        let path = |name: &str| VideoSource::Path(expected.join(name));
        assert_eq!(sources, [path("v.mp4"), VideoSource::List(frames.into()), path("w.mp4")]);
        assert_eq!(videos[2].options.fps, Some(1.0));
    }
}

#[test]
fn pictures_of_every_source_are_encoded() {
    let folder = Folder::new();
    folder.draw("a.png", 64, 64);
    let inside = ImageSource::from(std::fs::read(folder.path("a.png")).unwrap()).to_location().unwrap().into_owned();
    let record = json!({"images": ["a.png", inside, {"image": "a.png", "max_pixels": 4096, "min_pixels": 1024}],
        "videos": [["a.png", "a.png", "a.png"]],
        "messages": [{"role": "user", "content": "<image><image><image><video>"}, {"role": "assistant", "content": "x"}]});
    let record = read_in(&folder, &record).unwrap();
    let options = ImageOptions { max_pixels: Some(4096), min_pixels: Some(1024) };
    assert_eq!(
        record.messages[0].content[2],
        Content::image(ImagePart::from(folder.path("a.png")).with_options(options))
    );
    let encoder = byte_encoder(EncodeOptions::default());
    let sample = encoder.encode(&record).unwrap();
    let (images, videos) = (&sample.inputs.images, &sample.inputs.videos);
    assert_eq!((images.grids.len(), videos.grids.len()), (3, 1));
    assert_eq!(images.pixel_values.len(), 3 * 16 * 1536);
    let measure = encoder.measure(&record).unwrap();
    assert_eq!(measure, qwen3_vl_train::data::Measure::of(&sample));
    assert_eq!((measure.image_patches, measure.video_patches), (48, videos.grids[0].patches()));
}

#[test]
fn placeholders_and_files_must_agree() {
    let answer = json!({"role": "assistant", "content": "x"});
    for (record, modality, placeholders, given) in [
        (json!({"image": "a.png", "conversations": [{"from": "human", "value": "no place"}]}), Modality::Image, 0, 1),
        (
            json!({"images": ["a.png"], "messages": [{"role": "user", "content": "<image><image>"}]}),
            Modality::Image,
            2,
            1,
        ),
        (json!({"messages": [{"role": "user", "content": "<video>"}]}), Modality::Video, 1, 0),
        (json!({"videos": ["a", "b"], "messages": [{"role": "user", "content": "<video>"}]}), Modality::Video, 1, 2),
        (json!({"messages": [{"role": "user", "content": [{"type": "image"}]}, answer]}), Modality::Image, 1, 0),
        // In a list, places are parts.
        (
            json!({"images": ["a"], "messages": [{"role": "user", "content": [{"type": "text", "text": "<image>"}]}]}),
            Modality::Image,
            0,
            1,
        ),
    ] {
        match problem(read(&record)) {
            Problem::Placeholders { modality: m, placeholders: p, given: g } => {
                assert_eq!((m, p, g), (modality, placeholders, given), "{record}");
            }
            other => panic!("{other}: {record}"),
        }
    }
}

#[test]
fn wrong_types_are_named() {
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    for (record, field) in [
        (json!([]), "record"),
        (json!("text"), "record"),
        (json!({"messages": {}}), "messages"),
        (json!({"conversations": "none"}), "conversations"),
        (json!({"messages": ["hello"]}), "messages[0]"),
        (json!({"messages": [{"role": 5, "content": "x"}]}), "messages[0].role"),
        (user(json!(5)), "messages[0].content"),
        (user(json!({"text": "x"})), "messages[0].content"),
        (json!({"image": 5, "messages": []}), "image[0]"),
        (json!({"images": ["a", null], "messages": []}), "images[1]"),
        (json!({"images": [{"nothing": 1}], "messages": []}), "images[0]"),
        (json!({"images": [{"image": "a", "max_pixels": "x"}], "messages": []}), "images[0]"),
        (json!({"videos": [["a", 5]], "messages": []}), "videos[0]"),
        (json!({"system": [], "messages": []}), "system"),
        (json!({"tools": 5, "messages": []}), "tools"),
        (json!({"tools": "{", "messages": []}), "tools"),
        (json!({"query": "a", "response": "b", "history": [["a"]]}), "history[0]"),
    ] {
        // A line of JSONL begins with a brace, an element of an array with anything.
        let folder = Folder::new();
        match problem(folder.open(json!([record]).to_string()).unwrap().get(0).unwrap()) {
            Problem::Type { field: found, .. } => assert_eq!(found, field, "{record}"),
            other => panic!("{other}: {record}"),
        }
    }
}

#[test]
fn what_is_no_conversation() {
    assert!(matches!(problem(read(&json!({}))), Problem::NoConversation { found } if found == "nothing"));
    let found = problem(read(&json!({"text": "a", "label": 1})));
    assert!(
        matches!(&found, Problem::NoConversation { found } if found == "`text`, `label`" || found == "`label`, `text`")
    );
    let role =
        problem(read(&json!({"messages": [{"role": "user", "content": "a"}, {"role": "narrator", "content": "b"}]})));
    assert!(matches!(&role, Problem::Role { message: 1, role } if role == "narrator"), "{role}");
    let nothing = problem(read(&json!({"messages": [{"content": "a"}]})));
    assert!(matches!(nothing, Problem::Message { message: 0, .. }), "{nothing}");
    let part = problem(read(&json!({"messages": [{"role": "user", "content": [{"type": "audio"}]}]})));
    assert!(matches!(part, Problem::Message { message: 0, .. }), "{part}");
}

#[test]
fn missing_and_broken_pictures() {
    let folder = Folder::new();
    folder.write("broken.png", b"\x89PNG\r\n\x1a\n and no more");
    folder.write("text.png", "no picture");
    folder.draw("cut.png", 300, 300);
    let data = std::fs::read(folder.path("cut.png")).unwrap();
    folder.write("cut.png", &data[..data.len() / 2]);
    let encoder = byte_encoder(EncodeOptions::default());
    for name in ["missing.png", "broken.png", "text.png", "https://example.org/a.png", "data:image/png;base64,AAAA", ""]
    {
        let record = json!({"images": [name], "messages": [
            {"role": "user", "content": "<image>"}, {"role": "assistant", "content": "x"}]});
        let record = read_in(&folder, &record).unwrap();
        for result in [encoder.encode(&record).map(drop), encoder.measure(&record).map(drop)] {
            assert!(matches!(problem(result), Problem::Model(_)), "{name}");
        }
    }
}
