//! What the fuzzers do with their bytes. The fuzzers under `fuzz_targets` and the test `fuzz_corpus` both include this
//! file.
//!
//! Each function takes any bytes and must return: what is wrong with them is a typed error, which is dropped. Where
//! something is accepted, it must keep its promises.
//!
//! The template engine and the decoders of pictures have panics of their own, which the library catches;
//! [`watch_panics`] tells them from ours, since a fuzzer would end at either.
#![allow(dead_code, reason = "each fuzzer uses its part")]

use std::fs;
use std::panic::PanicHookInfo;
use std::sync::Once;

use image::RgbImage;
use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::{Checkpoint, expected_tensors};
use qwen3_vl_burn::config::{Fp8Config, MoeConfig, TextConfig, VisionConfig};
use qwen3_vl_burn::grounding::{self, DrawStyle, Shape};
use qwen3_vl_burn::processor::{
    DecodeLimits, ImageProcessor, PreprocessorConfig, VideoConfig, VideoOptions, VideoTools, decode_bytes,
};
use qwen3_vl_burn::prompt::{
    AnswerPiece, ChatTemplate, Message, RenderOptions, TemplateValue, ThinkingStream, opens_thinking, parse_tool_calls,
    split_opened_thinking, split_thinking,
};

/// Takes an input.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 4] =
    [("loader", loader), ("config", config), ("image", image), ("template_message", template_message)];

/// Calls `report` on every panic of our own code, and then the hook that was there (libFuzzer's ends the process). A
/// panic of a dependency says nothing: where the library doesn't catch it, it comes out of the target.
pub fn watch_panics(report: impl Fn() + Send + Sync + 'static) {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic: &PanicHookInfo| {
            if !panic.location().is_some_and(|location| location.file().contains("/registry/src/")) {
                report();
                previous(panic);
            }
        }));
    });
}

/// Stands between the parts of an input.
const NEXT: &[u8] = b"\n--next--\n";

/// The parts of an input.
fn split_parts(data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(NEXT.len()).position(|window| window == NEXT) {
        parts.push(&rest[..at]);
        rest = &rest[at + NEXT.len()..];
    }
    parts.push(rest);
    parts
}

/// A checkpoint: one file, or an index and its shards `1`, `2`, ..
pub fn loader(data: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| fs::write(dir.path().join(name), content).unwrap();
    match split_parts(data).as_slice() {
        [single] => write("model.safetensors", single),
        [index, shards @ ..] => {
            write("model.safetensors.index.json", index);
            for (number, shard) in shards.iter().take(4).enumerate() {
                write(&(number + 1).to_string(), shard);
            }
        }
        [] => {}
    }
    let Ok(checkpoint) = Checkpoint::open(dir.path()) else { return };
    let mut total = 0;
    for name in checkpoint.names() {
        let bytes = checkpoint.bytes(name).unwrap();
        total += bytes.len() as u64;
        let shape = checkpoint.shape(name).unwrap().to_vec();
        if let Ok(dtype) = checkpoint.dtype(name) {
            assert_eq!(bytes.len(), shape.iter().product::<usize>() * dtype.size());
        }
        // What is known of a tensor fits the file, so that loading it takes no more than its bytes do.
        let _ = checkpoint.tensor_data(name, &shape, None);
    }
    assert!(total <= data.len() as u64 && total == checkpoint.total_bytes());
    arrange(checkpoint);
}

/// Reads a checkpoint as a model's: by other names, with experts in any layout.
fn arrange(checkpoint: Checkpoint) {
    // Small enough for seeds: two experts of 2 inputs and 3 outputs in two layers, patches of one pixel.
    let mut text = TextConfig::new(4, 2, 3, 2, 1, 1, 2, [1, 0, 0], true);
    text.moe = Some(MoeConfig::new(2, 1, 3));
    let vision = VisionConfig::new(1, 4, 4, 1, 2, Vec::new()).with_patch_size(1).with_temporal_patch_size(1);
    let config = Qwen3VlConfig::new(text, vision.with_num_position_embeddings(1), 0, 1, 2, 3);
    config.validate().unwrap();
    for block in [None, Some([2, 2])] {
        let checkpoint = checkpoint.clone().with_quantization(Some(Fp8Config { block }));
        let Ok(arranged) = checkpoint.arranged_for(&config) else { continue };
        let expected = expected_tensors(&config);
        let whole = arranged.check(&expected).is_ok();
        for tensor in expected {
            if let Ok(data) = arranged.tensor_data(&tensor.name, &tensor.shape, None) {
                let elements = tensor.shape.iter().product::<usize>();
                assert_eq!(data.as_bytes().len(), elements * data.dtype.size());
            }
            assert!(!whole || arranged.stored_len(&tensor.name).is_ok());
        }
    }
}

/// A `config.json`, and the same text as settings of pictures and videos.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(config) = Qwen3VlConfig::from_json(text) {
        config.validate().unwrap();
    }
    let pictures = PreprocessorConfig::from_json(text, "preprocessor_config.json");
    let _ = VideoConfig::from_json(text, "video_preprocessor_config.json", &pictures.unwrap_or_default());
}

/// A picture, and the same as a video where it may be an animation, under limits that keep each input fast.
pub fn image(data: &[u8]) {
    let limits = DecodeLimits { max_side: 4096, max_pixels: 1 << 18, ..Default::default() };
    if matches!(data, [b'G', b'I', b'F', ..] | [b'R', b'I', b'F', b'F', ..] | [0x89, b'P', b'N', b'G', ..]) {
        play(data, DecodeLimits { max_pixels: 1 << 14, ..limits });
    }
    if let Ok(picture) = decode_bytes(data, &limits) {
        let (width, height) = picture.dimensions();
        assert!(
            width > 0 && height > 0 && width.max(height) <= 4096 && u64::from(width) * u64::from(height) <= 1 << 18
        );
    }
}

/// Frames of an animation; other files are not given to FFmpeg.
fn play(data: &[u8], limits: DecodeLimits) {
    let frames = PreprocessorConfig { min_pixels: 1024, max_pixels: 1 << 16, ..Default::default() };
    let videos = VideoConfig { max_frames: 8, frames: frames.clone(), ..Default::default() };
    let nowhere =
        VideoTools { ffmpeg: "no/such/ffmpeg".into(), ffprobe: "no/such/ffprobe".into(), ..Default::default() };
    let processor = ImageProcessor::new(frames, videos).unwrap().with_limits(limits).with_video_tools(nowhere);
    if let Ok(video) = processor.process_video_source(&data.to_vec().into(), &VideoOptions::default()) {
        assert_eq!(video.timestamps.len(), video.pixels.grid.t);
        assert_eq!(video.pixels.pixel_values.len(), video.pixels.grid.patches() * 3 * 2 * 16 * 16);
    }
}

/// A chat template, messages with tools and variables, and an answer.
pub fn template_message(data: &[u8]) {
    let parts: Vec<_> = split_parts(data).into_iter().map(String::from_utf8_lossy).collect();
    let conversation = parts.get(1).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    render(parts.first().map_or("", |text| text), &conversation);
    take_apart(parts.last().map_or("", |text| text));
}

/// The second part of an input.
#[derive(Default)]
struct Conversation {
    messages: Vec<Message>,
    options: RenderOptions,
}

impl<'de> serde::Deserialize<'de> for Conversation {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = serde_json::Value::deserialize(deserializer)?;
        let read = |key: &str| value.get(key).cloned();
        let messages = serde_json::from_value(read("messages").unwrap_or_default()).map_err(D::Error::custom)?;
        let mut options = RenderOptions::default();
        if let Some(serde_json::Value::Array(tools)) = read("tools") {
            options.tools = tools.iter().map(TemplateValue::from_serialize).collect();
        }
        if let Some(serde_json::Value::Object(variables)) = read("variables") {
            options.variables =
                variables.into_iter().map(|(name, value)| (name, TemplateValue::from_serialize(value))).collect();
        }
        options.add_vision_id = read("add_vision_id") == Some(true.into());
        Ok(Self { messages, options })
    }
}

fn render(source: &str, conversation: &Conversation) {
    let Conversation { messages, options } = conversation;
    if let Ok(template) = ChatTemplate::new(source, "fuzzed") {
        let _ = template.render(messages, options);
    }
    let builtin = ChatTemplate::chatml().unwrap();
    if let Ok(prompt) = builtin.render(messages, options) {
        assert!(prompt.ends_with("<|im_start|>assistant\n") || opens_thinking(&prompt));
    }
}

fn take_apart(text: &str) {
    for (opened, whole) in [(true, split_opened_thinking(text)), (false, split_thinking(text))] {
        // Where only a closing tag appears, the prompt opened the block.
        let mut stream = ThinkingStream::new(opened || whole.thinking.is_some());
        let mut pieces: Vec<AnswerPiece> =
            text.split_inclusive(['<', '>', '\n', 't']).flat_map(|piece| stream.push(piece)).collect();
        pieces.extend(stream.finish());
        let (mut thinking, mut content) = (String::new(), String::new());
        for piece in pieces {
            match piece {
                AnswerPiece::Thinking(text) => thinking += &text,
                AnswerPiece::Content(text) => content += &text,
            }
        }
        assert_eq!((thinking, content), (whole.thinking.unwrap_or_default(), whole.content));
    }

    let answer = parse_tool_calls(text);
    assert!(answer.content.len() <= text.len());
    assert!(answer.calls.iter().flatten().all(|call| !call.arguments.is_undefined()));

    let Ok(found) = grounding::parse(text) else { return };
    assert!(!found.detections.is_empty() || !found.problems.is_empty());
    let mut picture = RgbImage::new(37, 23);
    let pixels: Vec<_> = found.detections.iter().map(|detection| detection.to_pixels(37, 23)).collect();
    for detection in &pixels {
        let (x, y) = match detection.shape {
            Shape::Box(bounds) => {
                assert!(bounds.x1 <= bounds.x2 && bounds.y1 <= bounds.y2);
                assert!(bounds.x1 >= 0.0 && bounds.y1 >= 0.0);
                (bounds.x2, bounds.y2)
            }
            Shape::Point(point) => (point.x, point.y),
        };
        assert!((0.0..=37.0).contains(&x) && (0.0..=23.0).contains(&y));
    }
    grounding::draw(&mut picture, &pixels, &DrawStyle::default());
}
