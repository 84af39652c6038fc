//! Rendered prompts and token ids against HF transformers and Jinja2.

use crate::case;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::LazyLock;

use case::{Case, locate, write_out};
use qwen3_vl_burn::processor::{Grid, VideoConfig, compute_timestamps, sample_frames};
use qwen3_vl_burn::prompt::{
    ChatTemplate, Message, Modality, PromptError, RenderOptions, TemplateValue, Tokenizer, VideoPrompt, VisionTokens,
    expand_prompt,
};
use serde_json::{Value, json};

const MERGE: usize = 2;

/// The real Qwen tokenizer.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let mut data = Vec::new();
    let file = std::fs::File::open(locate("tokenizer.json.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut data).unwrap();
    Tokenizer::from_bytes(&data, "tokenizer.json").unwrap()
});

fn read_cases(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(locate(name)).unwrap()).unwrap()
}

fn read_messages(case: &Value) -> Vec<Message> {
    serde_json::from_value(case["messages"].clone()).unwrap()
}

#[test]
fn prompts_equal_the_reference() {
    let released = ChatTemplate::load(locate("processor")).unwrap();
    let builtin = ChatTemplate::chatml().unwrap();
    for (name, case) in read_cases("processor/cases.json").as_object().unwrap() {
        let add_vision_id = case["add_vision_id"].as_bool().unwrap();
        let options = RenderOptions { add_vision_id, ..Default::default() };
        for template in [&released, &builtin] {
            assert_eq!(template.render(&read_messages(case), &options).unwrap(), case["prompt"], "{name}");
        }
    }
}

/// Every case, its grids written down here.
#[test]
fn expanded_prompts_equal_the_reference() {
    let tokens = VisionTokens::find(&TOKENIZER).unwrap();
    for (name, case) in read_cases("processor/cases.json").as_object().unwrap() {
        let images = match name.as_str() {
            "image" => vec![Grid { t: 1, h: 20, w: 26 }],
            "extreme" => vec![Grid { t: 1, h: 4, w: 84 }],
            "two-images" => vec![Grid { t: 1, h: 16, w: 16 }, Grid { t: 1, h: 26, w: 12 }],
            _ => Vec::new(),
        };
        let videos: Vec<_> = case["video"]
            .as_object()
            .map(|video| {
                let fps = video["fps"].as_f64();
                let frames = video["frames"].as_u64().unwrap() as usize;
                let sampled = sample_frames(frames, fps, &VideoConfig::default()).unwrap();
                let timestamps = compute_timestamps(&sampled, fps, 2).unwrap();
                let (h, w) = if name == "video" { (8, 10) } else { (6, 6) };
                VideoPrompt { grid: Grid { t: timestamps.len(), h, w }, timestamps }
            })
            .into_iter()
            .collect();
        let prompt = case["prompt"].as_str().unwrap();
        let found = expand_prompt(&TOKENIZER, prompt, &images, &videos, MERGE).unwrap();
        assert_eq!(found.ids.len() as u64, case["length"].as_u64().unwrap(), "{name}");
        let text = write_out(case["expanded"].as_str().unwrap());
        assert_eq!(found.ids, TOKENIZER.encode(&text).unwrap(), "{name}");
        assert_eq!(TOKENIZER.decode(&found.ids, false), text, "{name}");
        for (id, modality) in found.ids.iter().zip(&found.modalities) {
            assert_eq!(*id == tokens.image_pad, *modality == Modality::Image);
            assert_eq!(*id == tokens.video_pad, *modality == Modality::Video);
        }
        let expected = Case::read(&format!("processor/{name}.safetensors")).ints("input_ids").unwrap();
        assert_eq!(found.ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>(), expected, "{name}");
    }
}

/// A conversation rendered by Jinja2. Read without a `serde_json::Value` between, which would sort the keys of tools.
#[derive(serde::Deserialize)]
struct Rendered {
    template: String,
    messages: Vec<Message>,
    options: BTreeMap<String, TemplateValue>,
    prompt: String,
}

#[test]
fn templates_render_as_jinja2_does() {
    let cases = std::fs::read_to_string(locate("templates/cases.json")).unwrap();
    let cases: Vec<Rendered> = serde_json::from_str(&cases).unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let template = match case.template.as_str() {
            // The template of a text checkpoint, from its tokenizer_config.json.
            "text" => ChatTemplate::load(locate("templates")).unwrap(),
            _ => {
                let source = std::fs::read_to_string(locate("templates/pictures.jinja")).unwrap();
                ChatTemplate::new(source, "pictures.jinja").unwrap()
            }
        };
        let mut variables = case.options;
        let options = RenderOptions {
            add_generation_prompt: variables.remove("add_generation_prompt").unwrap().is_true(),
            add_vision_id: variables.remove("add_vision_id").is_some_and(|value| value.is_true()),
            tools: variables.remove("tools").map(|tools| tools.try_iter().unwrap().collect()).unwrap_or_default(),
            variables,
        };
        assert_eq!(template.render(&case.messages, &options).unwrap(), case.prompt);
    }
}

#[test]
fn templates_are_found_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let render =
        || ChatTemplate::load(folder.path()).unwrap().render(&[Message::text("user", "x")], &Default::default());
    assert_eq!(render().unwrap(), "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n");
    write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "other", "template": "o"}, {"name": "default", "template": "c"}]}"#,
    );
    assert_eq!(render().unwrap(), "c");
    write("chat_template.json", r#"{"chat_template": "b {{ messages[0].content }}"}"#);
    assert_eq!(render().unwrap(), "b x");
    write("chat_template.jinja", "a {{ messages[0].role }}\n");
    assert_eq!(render().unwrap(), "a user");
}

#[test]
fn refuses_templates_that_fail() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("chat_template.jinja"), "{% for x in %}").unwrap();
    let bad = ChatTemplate::load(folder.path());
    assert!(matches!(bad, Err(PromptError::Template { origin, .. }) if origin.ends_with("chat_template.jinja")));
    std::fs::write(folder.path().join("chat_template.jinja"), b"\xFF").unwrap();
    assert!(matches!(ChatTemplate::load(folder.path()), Err(PromptError::Read { .. })));
    std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    std::fs::write(folder.path().join("chat_template.json"), "{").unwrap();
    assert!(matches!(ChatTemplate::load(folder.path()), Err(PromptError::Json { .. })));

    let render = |source: &str| {
        let template = ChatTemplate::new(source, "test").unwrap();
        template.render(&[Message::text("assistant", "x")], &RenderOptions::default())
    };
    assert!(matches!(render("{{ messages[0].content.nothing() }}"), Err(PromptError::Template { .. })));
    assert!(matches!(render("{{ unknown_function() }}"), Err(PromptError::Template { .. })));
    assert!(matches!(render("{{ messages | tojson(bogus=true) }}"), Err(PromptError::Template { .. })));
    let raised = render("{% macro m() %}{{ raise_exception('no ' ~ messages[0].role) }}{% endmacro %}{{ m() }}");
    assert!(matches!(raised, Err(PromptError::Refused { message, .. }) if message == "no assistant"));
}

#[test]
fn a_prompt_must_match_its_pictures() {
    let grid = Grid { t: 1, h: 4, w: 4 };
    let video = |timestamps: &[f64]| VideoPrompt { grid, timestamps: timestamps.to_vec() };
    let expand = |prompt: &str, images: &[Grid], videos: &[VideoPrompt]| {
        expand_prompt(&TOKENIZER, prompt, images, videos, MERGE)
    };
    let (image_prompt, video_prompt) = ("a<|image_pad|>b", "a<|video_pad|>b");
    assert_eq!(expand(image_prompt, &[grid], &[]).unwrap().ids.len(), 6);
    for images in [&[][..], &[grid, grid]] {
        let found = expand(image_prompt, images, &[]);
        let given = images.len();
        assert!(
            matches!(found, Err(PromptError::Count { modality: Modality::Image, placeholders: 1, given: n }) if n == given)
        );
    }
    assert!(matches!(
        expand(video_prompt, &[], &[]),
        Err(PromptError::Count { modality: Modality::Video, placeholders: 1, given: 0 })
    ));
    assert!(matches!(
        expand(video_prompt, &[], &[video(&[0.0, 1.0])]),
        Err(PromptError::Timestamps { index: 0, expected: 1, found: 2 })
    ));
    let odd = Grid { t: 1, h: 3, w: 4 };
    assert!(matches!(expand(image_prompt, &[odd], &[]), Err(PromptError::Grid { grid, merge: 2, .. }) if grid == odd));
    assert!(matches!(expand(image_prompt, &[Grid { t: 0, ..grid }], &[]), Err(PromptError::Grid { .. })));
}

#[test]
fn text_survives_the_way_there_and_back() {
    for text in [
        "",
        "Write a haiku. ÄÖÜ 漢字 🙂\n\ttabs  and   spaces 12345",
        "<think>\n</think><|im_end|>",
        "e\u{301}\0\u{7F}\u{AD}",
    ] {
        let ids = TOKENIZER.encode(text).unwrap();
        // The tokenizer composes characters (NFC): e and its accent become one.
        assert_eq!(TOKENIZER.decode(&ids, false), text.replace("e\u{301}", "é"));
    }
    let ids = TOKENIZER.encode("a<|im_end|>b<think>").unwrap();
    assert_eq!(TOKENIZER.decode(&ids, true), "ab<think>");
    assert_eq!(TOKENIZER.decode(&[64, 200_000, 65], true), "ab");
}

#[test]
fn a_stream_never_splits_a_character() {
    let text = "a🙂漢字ÄÖ ́<|im_end|>👩‍🚀𓀀 end";
    let ids = TOKENIZER.encode(text).unwrap();
    // Some character takes several tokens here, or this test shows nothing.
    assert!(ids.iter().any(|&id| TOKENIZER.decode(&[id], false).contains('\u{FFFD}')));
    for skip_special in [false, true] {
        let mut stream = TOKENIZER.stream(skip_special);
        let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
        assert!(pieces.iter().all(|piece| !piece.contains('\u{FFFD}')), "{pieces:?}");
        assert_eq!(pieces.concat() + &stream.finish(), TOKENIZER.decode(&ids, skip_special));
    }
    // Cut inside a character: the stream ends with a mark of what is missing, like decode.
    let astronaut = TOKENIZER.encode("𓀀").unwrap();
    let cut = &astronaut[..1];
    let mut stream = TOKENIZER.stream(false);
    assert_eq!(stream.push(cut[0]), "");
    assert_eq!(stream.finish(), TOKENIZER.decode(cut, false));
}

/// Any sequence of ids: streamed pieces join to what decoding all at once gives.
#[test]
fn a_stream_joins_to_the_whole() {
    let mut state = 1u64;
    for _ in 0..200 {
        let ids: Vec<u32> = (0..30)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Single bytes half of the time: the first 256 ids.
                (state >> 33) as u32 % if state >> 63 == 0 { 256 } else { 151_936 }
            })
            .collect();
        let mut stream = TOKENIZER.stream(false);
        let joined: String = ids.iter().map(|&id| stream.push(id)).collect();
        assert_eq!(joined + &stream.finish(), TOKENIZER.decode(&ids, false));
    }
}

#[test]
fn refuses_tokenizers_that_cannot_be_used() {
    let refuse = |data: &[u8]| Tokenizer::from_bytes(data, "tokenizer.json").unwrap_err();
    assert!(matches!(refuse(b"\xFF\xFE"), PromptError::Tokenizer { .. }));
    assert!(matches!(refuse(b"{}"), PromptError::Tokenizer { .. }));
    let words = json!({"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}});
    assert!(matches!(refuse(words.to_string().as_bytes()), PromptError::Decoder { found, .. } if found == "nothing"));
    let missing = Tokenizer::load("no/such/folder");
    assert!(matches!(missing, Err(PromptError::Read { path, .. }) if path.ends_with("tokenizer.json")));

    let bytes = json!({"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}});
    let plain = Tokenizer::from_bytes(bytes.to_string().as_bytes(), "tokenizer.json").unwrap();
    let expanded = expand_prompt(&plain, "<|image_pad|>", &[Grid { t: 1, h: 2, w: 2 }], &[], MERGE);
    assert!(matches!(expanded, Err(PromptError::MissingToken { token: "<|vision_start|>" })));
}

/// Texts of several pieces: none that fits is refused, and one that is far too long is not encoded to its end.
#[test]
fn tokens_beyond_a_limit_are_counted_in_pieces() {
    for unit in ["a", "hello world ", "漢", "🙂", "<|im_start|>user\nHi<|im_end|>\n", "1", " ", "e\u{301}"] {
        let text = unit.repeat(200_000 / unit.len());
        let count = TOKENIZER.encode(&text).unwrap().len();
        for limit in [count, count + 1, 2 * count, text.len(), usize::MAX / 2] {
            assert_eq!(TOKENIZER.count_beyond(&text, limit).unwrap(), None, "{unit} {limit}");
        }
        let found = TOKENIZER.count_beyond(&text, count / 4).unwrap().unwrap();
        assert!((count / 4..=count + 100).contains(&found), "{unit}: {found} of {count}");
    }
    let start = std::time::Instant::now();
    let text: String = (0..8_000_000).map(|i: u32| char::from(b'a' + (i % 1009 * (i % 1013) % 26) as u8)).collect();
    let found = TOKENIZER.count_beyond(&text, 1000).unwrap().unwrap();
    assert!(found < 100_000 && start.elapsed().as_secs() < 10, "{found} in {:?}", start.elapsed());
}
