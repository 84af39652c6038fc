//! Pictures and videos against HF transformers' processors, alone and in conversations.

use crate::case;

use std::io::Read;
use std::sync::LazyLock;

use case::{Case, locate, write_out};
use image::RgbImage;
use qwen3_vl_burn::processor::{
    DecodeLimits, Grid, ImageError, ImageOptions, ImageProcessor, ImageSource, LocationError, PreprocessorConfig,
    ProcessedImages, ProcessedMedia, VideoConfig, VideoOptions, VideoSource, compute_timestamps, decode_path,
    sample_frames,
};
use qwen3_vl_burn::prompt::{
    ChatTemplate, Content, ImagePart, Message, Modality, PromptError, RenderOptions, Tokenizer, VideoPart,
};
use qwen3_vl_burn::{Error, Qwen3VlProcessor};
use serde_json::Value;

/// One level of an 8-bit sample after normalisation with mean and std 0.5, and what f32 adds to it.
const LEVEL: f32 = 1.0 / 127.5 + 1e-5;

fn read_picture(name: &str) -> RgbImage {
    decode_path(locate(name), &DecodeLimits::default()).unwrap()
}

/// The processor of `processor/settings.json`.
fn make_processor() -> ImageProcessor {
    let settings = std::fs::read_to_string(locate("processor/settings.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    let pictures = PreprocessorConfig::from_json(&settings["image"].to_string(), "settings.json").unwrap();
    let videos = VideoConfig::from_json(&settings["video"].to_string(), "settings.json", &pictures).unwrap();
    ImageProcessor::new(pictures, videos).unwrap()
}

/// At most one 8-bit level apart anywhere, and equal in 99% of the samples.
fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let apart = |(a, b): (&f32, &f32)| (a - b).abs();
    let worst = found.iter().zip(expected).map(apart).fold(0.0, f32::max);
    let equal = found.iter().zip(expected).filter(|&pair| apart(pair) < 1e-5).count() as f64 / found.len() as f64;
    println!("{name}: worst {worst:e}, equal {:.3}%", equal * 100.0);
    assert!(worst <= LEVEL, "{name}: {worst}");
    assert!(equal >= 0.99, "{name}: {equal}");
}

#[test]
fn pictures_equal_the_reference() {
    let tiny = ImageProcessor::load(locate("tiny-dense")).unwrap();
    for (processor, name, count) in [
        (&make_processor(), "processor/image", 1),
        (&make_processor(), "processor/extreme", 1),
        (&make_processor(), "processor/two-images", 2),
        (&tiny, "tiny-dense/image", 1),
        (&tiny, "tiny-dense/two-images", 2),
    ] {
        let case = Case::read(&format!("{name}.safetensors"));
        let pictures: Vec<_> = (0..count).map(|index| read_picture(&format!("{name}.{index}.png"))).collect();
        let processed = processor.process_all(&pictures).unwrap();
        assert_eq!(processed.grids, case.grids("image_grid_thw"), "{name}");
        assert_close(name, &processed.pixel_values, &case.floats("pixel_values").unwrap());
    }
}

#[test]
fn videos_equal_the_reference() {
    let tiny = ImageProcessor::load(locate("tiny-dense")).unwrap();
    let case = Case::read("tiny-dense/video.safetensors");
    let frames: Vec<_> = (0..6).map(|index| read_picture(&format!("tiny-dense/video.frame{index}.png"))).collect();
    let processed = tiny.process_video(&frames).unwrap();
    assert_eq!(vec![processed.grid], case.grids("video_grid_thw"));
    assert_close("tiny-dense/video", &processed.pixel_values, &case.floats("pixel_values_videos").unwrap());

    // `video` goes through a conversation below.
    let processor = make_processor();
    let case = Case::read("processor/video-short.safetensors");
    let sampled = sample_frames(5, Some(29.97), processor.video_config()).unwrap();
    let frames: Vec<_> =
        sampled.iter().map(|index| read_picture(&format!("processor/video-short.frame{index:03}.png"))).collect();
    let processed = processor.process_video(&frames).unwrap();
    assert_eq!(vec![processed.grid], case.grids("video_grid_thw"));
    assert_close("video-short", &processed.pixel_values, &case.floats("pixel_values_videos").unwrap());
    let seconds = compute_timestamps(&sampled, Some(29.97), 2).unwrap();
    let seconds: Vec<String> = seconds.iter().map(|t| format!("{t:.1}")).collect();
    assert_eq!(seconds, ["0.0", "0.1"]);
}

#[test]
fn an_odd_frame_is_repeated() {
    let processor = make_processor();
    let frame = |value: u8| RgbImage::from_pixel(64, 64, image::Rgb([value; 3]));
    let odd = processor.process_video(&[frame(0), frame(100), frame(200)]).unwrap();
    let even = processor.process_video(&[frame(0), frame(100), frame(200), frame(200)]).unwrap();
    assert_eq!(odd, even);
    assert_eq!(odd.grid, Grid { t: 2, h: 4, w: 4 });
    let one = processor.process_video(&[frame(9)]).unwrap();
    assert_eq!(one.grid.t, 1);
}

#[test]
fn pictures_concatenate_in_order() {
    let processor = ImageProcessor::load(locate("tiny-dense")).unwrap();
    let pictures = [64, 96].map(|width| RgbImage::from_pixel(width, 64, image::Rgb([width as u8; 3])));
    let each: Vec<_> = pictures.iter().map(|picture| processor.process(picture).unwrap()).collect();
    let all: ProcessedImages = each.iter().cloned().collect();
    assert_eq!(all.grids, [each[0].grid, each[1].grid]);
    assert_eq!(all.pixel_values, [each[0].pixel_values.clone(), each[1].pixel_values.clone()].concat());
    assert_eq!(all, processor.process_all(&pictures).unwrap());
}

/// The real tokenizer, the released template and the settings of the cases.
static CONVERSATIONS: LazyLock<Qwen3VlProcessor> = LazyLock::new(|| {
    let mut data = Vec::new();
    let file = std::fs::File::open(locate("tokenizer.json.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut data).unwrap();
    Qwen3VlProcessor {
        tokenizer: Tokenizer::from_bytes(&data, "tokenizer.json").unwrap(),
        template: ChatTemplate::load(locate("processor")).unwrap(),
        images: make_processor(),
    }
});

/// The messages of a case, its pictures and frames named.
fn read_messages(name: &str, case: &Value) -> Vec<Message> {
    let mut messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
    let file = |end: String| locate(&format!("processor/{name}.{end}.png"));
    let mut pictures = 0;
    for part in messages.iter_mut().flat_map(|message| &mut message.content) {
        match part {
            Content::Text(_) => {}
            Content::Image(part) => {
                part.source = Some(file(pictures.to_string()).into());
                pictures += 1;
            }
            Content::Video(part) => {
                let frames = 0..case["video"]["frames"].as_u64().unwrap();
                let frames = frames.map(|index| file(format!("frame{index:03}")).into()).collect();
                part.source = Some(VideoSource::List(frames));
                part.options.raw_fps = case["video"]["fps"].as_f64();
                part.options.do_sample_frames = Some(true);
            }
        }
    }
    messages
}

/// From messages to what the model takes: text, ids, sampling, grids and pixels of every case.
#[test]
fn every_case_equals_the_reference() {
    let cases = std::fs::read_to_string(locate("processor/cases.json")).unwrap();
    let cases: Value = serde_json::from_str(&cases).unwrap();
    assert_eq!(cases.as_object().unwrap().len(), 6);
    for (name, case) in cases.as_object().unwrap() {
        let messages = read_messages(name, case);
        let add_vision_id = case["add_vision_id"].as_bool().unwrap();
        let options = RenderOptions { add_vision_id, ..Default::default() };
        assert_eq!(CONVERSATIONS.template.render(&messages, &options).unwrap(), case["prompt"], "{name}");

        let found = CONVERSATIONS.process(&messages, &options).unwrap();
        let expected = Case::read(&format!("processor/{name}.safetensors"));
        let ids: Vec<i64> = found.input_ids.iter().map(|&id| id.into()).collect();
        assert_eq!(ids, expected.ints("input_ids").unwrap(), "{name}");
        assert_eq!(ids.len() as u64, case["length"].as_u64().unwrap(), "{name}");
        let text = CONVERSATIONS.tokenizer.decode(&found.input_ids, false);
        assert_eq!(text, write_out(case["expanded"].as_str().unwrap()), "{name}");
        for (media, grids, pixels) in [
            (&found.images, "image_grid_thw", "pixel_values"),
            (&found.videos, "video_grid_thw", "pixel_values_videos"),
        ] {
            assert_eq!(media.grids, expected.grids(grids), "{name}");
            match expected.floats(pixels) {
                Some(pixels) => assert_close(name, &media.pixel_values, &pixels),
                None => assert!(media.pixel_values.is_empty()),
            }
        }

        // Processed once, then used for every turn.
        let media = CONVERSATIONS.process_all_media(&messages).unwrap();
        assert_eq!(CONVERSATIONS.prepare(&messages, &media, &options).unwrap(), found, "{name}");
    }
}

#[test]
fn options_travel_in_messages() {
    let path = locate("processor/image.0.png");
    let json = serde_json::json!({"type": "image", "image": path, "max_pixels": 50176});
    let part: Content = serde_json::from_value(json).unwrap();
    let Some(ProcessedMedia::Image(found)) = CONVERSATIONS.process_media(&part).unwrap() else { panic!() };
    // 311 x 417 pixels are shrunk by sqrt(311 * 417 / 50176) = 1.608 to 193.4 x 259.4, and down to multiples of 32: 192
    // x 256.
    assert_eq!(found.grid, Grid { t: 1, h: 12, w: 16 });
    let large = ImageOptions { min_pixels: Some(1 << 20), ..Default::default() };
    let part = Content::image(ImagePart::from(path.clone()).with_options(large));
    let media = CONVERSATIONS.process_media(&part).unwrap().unwrap();
    assert!(media.tokens(2) >= (1 << 20) / 1024, "{}", media.tokens(2));
    let wrong = ImageOptions { min_pixels: Some(9), max_pixels: Some(8) };
    let part = Content::image(ImagePart::from(path).with_options(wrong));
    let found = CONVERSATIONS.process_media(&part);
    assert!(matches!(found, Err(Error::Image(ImageError::Option { name: "min_pixels", .. }))));
    let frames = vec![RgbImage::new(64, 64); 8];
    let all = VideoOptions { num_frames: Some(8), raw_fps: Some(2.0), ..Default::default() };
    let part = Content::video(VideoPart::from(frames).with_options(all));
    let Some(ProcessedMedia::Video(found)) = CONVERSATIONS.process_media(&part).unwrap() else { panic!() };
    assert_eq!(found.timestamps, [0.25, 1.25, 2.25, 3.25]);
}

#[test]
fn conversations_must_match_their_media() {
    let options = RenderOptions::default();
    let picture = ImageSource::from(RgbImage::new(64, 64));
    let turn = |content: Vec<Content>| [Message::new("user", content)];
    let both = turn(vec![Content::image(picture), Content::video(vec![RgbImage::new(64, 64)]), Content::text("?")]);
    let media = CONVERSATIONS.process_all_media(&both).unwrap();
    assert!(CONVERSATIONS.prepare(&both, &media, &options).is_ok());
    let prepare = |media: &[&ProcessedMedia]| CONVERSATIONS.prepare(&both, media, &options);
    let count = |found: Result<_, Error>, wrong: Modality, given: usize| {
        assert!(
            matches!(found, Err(Error::Prompt(PromptError::Count { modality, placeholders: 1, given: n })) if modality == wrong && n == given)
        );
    };
    count(prepare(&[&media[1]]), Modality::Image, 0);
    count(prepare(&[&media[0], &media[0], &media[1]]), Modality::Image, 2);
    count(prepare(&[&media[0]]), Modality::Video, 0);
    count(prepare(&[&media[0], &media[1], &media[1]]), Modality::Video, 2);
    // A mark that the user typed is a placeholder too.
    let typed = turn(vec![Content::text("<|image_pad|>")]);
    assert!(matches!(CONVERSATIONS.process(&typed, &options), Err(Error::Prompt(PromptError::Count { given: 0, .. }))));

    let unnamed = turn(vec![both[0].content[0].clone(), Content::Video(VideoPart::default())]);
    let found = CONVERSATIONS.process(&unnamed, &options);
    assert!(matches!(found, Err(Error::Prompt(PromptError::NoSource { modality: Modality::Video, index: 1 }))));
    let remote = turn(vec![Content::image("https://example.org/cat.png")]);
    let found = CONVERSATIONS.process(&remote, &options);
    assert!(matches!(found, Err(Error::Image(ImageError::Location(LocationError::Remote { .. })))));
    // What has no name of its own is named by its place.
    for (source, wrong) in [
        (ImageSource::from(b"no picture".to_vec()), "10 bytes are no PNG"),
        ("data:image/png;base64,Zm9v".into(), "3 bytes are no PNG"),
        ("data:image/png;base64,?".into(), "1 characters are no base64"),
        (RgbImage::new(400, 1).into(), "a picture of 1 x 400"),
    ] {
        let both = [both[0].clone(), Message::new("user", vec![Content::text("and"), Content::image(source)])];
        let error = CONVERSATIONS.process(&both, &options).unwrap_err();
        let text = error.to_string();
        let place = "image 2 of the conversation, in message 1 (both counted from 0): ";
        assert!(text.starts_with(&format!("{place}{wrong}")), "{text}");
        assert!(matches!(
            error,
            Error::Prompt(PromptError::Media { modality: Modality::Image, index: 2, message: 1, .. })
        ));
    }
    let found = CONVERSATIONS.ask(&["no/such.png"], "?");
    assert!(matches!(found, Err(Error::Image(ImageError::Read { .. }))));
}
