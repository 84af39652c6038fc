//! Preprocessor settings: what is read, what is assumed, what is refused.

use crate::{case, heard};

use case::locate;
use image::RgbImage;
use qwen3_vl_burn::processor::{
    ImageError, ImageOptions, ImageProcessor, ImageSource, PreprocessorConfig, VideoConfig, VideoOptions, VideoSource,
};

fn parse(text: &str) -> Result<PreprocessorConfig, ImageError> {
    PreprocessorConfig::from_json(text, "preprocessor_config.json")
}

#[test]
fn reads_both_spellings_of_the_limits() {
    let new = parse(r#"{"size": {"shortest_edge": 4096, "longest_edge": 65536}}"#).unwrap();
    assert_eq!((new.min_pixels, new.max_pixels), (4096, 65536));
    assert_eq!(new, parse(r#"{"min_pixels": 4096, "max_pixels": 65536}"#).unwrap());
    assert_eq!(new, parse(r#"{"size": {"min_pixels": 4096, "max_pixels": 65536}}"#).unwrap());
    // The older keys win, as in HF.
    let both = parse(r#"{"min_pixels": 2048, "size": {"shortest_edge": 4096, "longest_edge": 65536}}"#).unwrap();
    assert_eq!((both.min_pixels, both.max_pixels), (2048, 65536));
}

#[test]
fn reads_a_checkpoint() {
    let processor = ImageProcessor::load(locate("tiny-dense")).unwrap();
    let pictures = processor.picture_config();
    assert_eq!((pictures.min_pixels, pictures.max_pixels), (4096, 65536));
    assert_eq!((pictures.factor(), pictures.row_len()), (32, 1536));
    // Videos have no file of their own: as in HF, the pictures' limits are theirs too.
    let frames = pictures.clone();
    assert_eq!(*processor.video_config(), VideoConfig { frames, ..VideoConfig::default() });
}

#[test]
fn absent_files_mean_the_released_values() {
    let folder = tempfile::tempdir().unwrap();
    let processor = ImageProcessor::load(folder.path()).unwrap();
    assert_eq!(*processor.picture_config(), PreprocessorConfig::default());
    // A file without limits is another matter: HF's class has its own.
    let class = PreprocessorConfig { min_pixels: 3_136, max_pixels: 1_003_520, ..PreprocessorConfig::default() };
    assert_eq!(parse("{}").unwrap(), class);
    assert_eq!(parse(r#"{"size": null, "min_pixels": null}"#).unwrap(), class);
    let smaller = parse(r#"{"max_pixels": 65536}"#).unwrap();
    assert_eq!((smaller.min_pixels, smaller.max_pixels), (3_136, 65_536));
    assert_eq!(processor.video_config().frames.max_pixels, 25_165_824);
}

#[test]
fn reads_videos_and_the_joint_file() {
    let folder = tempfile::tempdir().unwrap();
    let joint =
        r#"{"image_processor": {"patch_size": 14, "resample": 3}, "video_processor": {"fps": 4, "max_frames": 8}}"#;
    std::fs::write(folder.path().join("processor_config.json"), joint).unwrap();
    let processor = ImageProcessor::load(folder.path()).unwrap();
    assert_eq!(processor.picture_config().patch_size, 14);
    // Videos take patches from the pictures' settings where they have none of their own.
    let videos = processor.video_config();
    assert_eq!((videos.frames.patch_size, videos.fps, videos.min_frames, videos.max_frames), (14, 4.0, 4, 8));
}

/// The longest edge of pictures and of videos in a folder that has these files.
#[track_caller]
fn limits_of(files: &[(&str, String)]) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let processor = ImageProcessor::load(folder.path()).unwrap();
    (processor.picture_config().max_pixels, processor.video_config().frames.max_pixels)
}

/// Every way in which three files can have the settings. HF's order: the nested ones, then those for videos, then those
/// for pictures.
#[test]
fn nested_settings_come_before_older_files() {
    const RELEASED: (usize, usize) = (16_777_216, 25_165_824);
    let size = |edge: usize| format!(r#"{{"size": {{"shortest_edge": 4096, "longest_edge": {edge}}}}}"#);
    let pictures = || ("preprocessor_config.json", size(16_384));
    let videos = || ("video_preprocessor_config.json", size(32_768));
    let joint = |text: String| ("processor_config.json", text);
    let both = || joint(format!(r#"{{"image_processor": {}, "video_processor": {}}}"#, size(40_960), size(262_144)));
    let nested_pictures = || joint(format!(r#"{{"image_processor": {}}}"#, size(40_960)));
    let nested_videos = || joint(format!(r#"{{"image_processor": null, "video_processor": {}}}"#, size(262_144)));
    // As HF 4 wrote it: names only.
    let flat = || joint(r#"{"processor_class": "Qwen3VLProcessor"}"#.to_owned());
    for (files, expected) in [
        (vec![], RELEASED),
        (vec![flat()], RELEASED),
        (vec![pictures()], (16_384, 16_384)),
        (vec![videos()], (RELEASED.0, 32_768)),
        (vec![pictures(), videos()], (16_384, 32_768)),
        (vec![flat(), pictures(), videos()], (16_384, 32_768)),
        (vec![both()], (40_960, 262_144)),
        (vec![both(), pictures()], (40_960, 262_144)),
        (vec![both(), videos()], (40_960, 262_144)),
        (vec![both(), pictures(), videos()], (40_960, 262_144)),
        (vec![nested_pictures()], (40_960, RELEASED.1)),
        (vec![nested_pictures(), pictures()], (40_960, 16_384)),
        (vec![nested_pictures(), pictures(), videos()], (40_960, 32_768)),
        (vec![nested_videos()], (RELEASED.0, 262_144)),
        (vec![nested_videos(), pictures(), videos()], (16_384, 262_144)),
    ] {
        assert_eq!(limits_of(&files), expected, "{files:?}");
    }
}

/// Nested settings of 40,960 pixels beside older ones of 16,384: HF 5.23 makes 10 by 14 patches of a picture of 320 by
/// 224 pixels, which are 35 tokens.
#[test]
fn a_picture_has_the_tokens_of_the_nested_settings() {
    let folder = tempfile::tempdir().unwrap();
    let size = |edge: usize| format!(r#"{{"size": {{"shortest_edge": 4096, "longest_edge": {edge}}}}}"#);
    std::fs::write(folder.path().join("preprocessor_config.json"), size(16_384)).unwrap();
    let joint = format!(r#"{{"image_processor": {}}}"#, size(40_960));
    std::fs::write(folder.path().join("processor_config.json"), joint).unwrap();
    let processor = ImageProcessor::load(folder.path()).unwrap();
    let grid = processor.process(&RgbImage::new(320, 224)).unwrap().grid;
    assert_eq!((grid.t, grid.h, grid.w), (1, 10, 14));
    let one = processor.process(&RgbImage::new(32, 32)).unwrap().grid;
    assert_eq!((one.t, one.h, one.w), (1, 4, 4));
}

#[test]
fn refuses_nested_settings_that_are_no_object() {
    for nested in ["[1]", "3", r#""Qwen2VLImageProcessor""#] {
        let folder = tempfile::tempdir().unwrap();
        let joint = format!(r#"{{"image_processor": {nested}}}"#);
        std::fs::write(folder.path().join("processor_config.json"), joint).unwrap();
        let error = ImageProcessor::load(folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ImageError::Json { .. }) && text.contains("processor_config"), "{text}");
        assert!(text.contains("image_processor"), "{text}");
    }
}

/// A wrong value in a folder is blamed on its file and its key.
#[test]
fn wrong_types_name_their_file_and_key() {
    for (name, text) in [
        ("processor_config.json", r#"{"image_processor": {"merge_size": "two"}}"#),
        ("processor_config.json", r#"{"video_processor": {"merge_size": 1.5}}"#),
        ("preprocessor_config.json", r#"{"merge_size": [2]}"#),
        ("video_preprocessor_config.json", r#"{"merge_size": true}"#),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let error = ImageProcessor::load(folder.path()).unwrap_err();
        assert!(error.is_about_settings(), "{error}");
        let error = error.to_string();
        assert!(error.contains(name) && error.contains("`merge_size`"), "{error}");
    }
}

/// Settings beside the nested ones are not read, and a warning says so; the names that HF 4 wrote there are none.
#[test]
fn flat_settings_of_the_joint_file_are_warned_of() {
    let load = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("processor_config.json"), text).unwrap();
        heard::warnings(|| ImageProcessor::load(folder.path()).unwrap())
    };
    let (processor, warned) = load(r#"{"size": {"shortest_edge": 4096, "longest_edge": 65536}, "patch_size": 14}"#);
    assert_eq!(*processor.picture_config(), PreprocessorConfig::default());
    assert!(matches!(&warned[..], [text] if text.contains("`size`, `patch_size`")), "{warned:?}");
    assert!(load(r#"{"processor_class": "Qwen3VLProcessor", "auto_map": {}}"#).1.is_empty());
}

/// Null, one number for three channels, and limits that nothing asks for, as HF 5.24 reads them.
#[test]
fn null_and_scalars_are_as_in_hf() {
    let config =
        parse(r#"{"do_resize": null, "do_normalize": null, "image_mean": 0.25, "size": {"height": 64}}"#).unwrap();
    assert_eq!((config.do_resize, config.do_normalize, config.do_rescale), (false, false, true));
    assert_eq!(config.image_mean, [0.25; 3]);
    let limits = parse(r#"{"min_pixels": 4096, "size": {"longest_edge": 65536.0}}"#).unwrap();
    assert_eq!((limits.min_pixels, limits.max_pixels), (4096, 65536));
}

fn parse_videos(text: &str) -> VideoConfig {
    VideoConfig::from_json(text, "video.json", &PreprocessorConfig::default()).unwrap()
}

/// Frames that HF 5.24 takes of 60, 10 a second, with these settings.
#[test]
fn videos_are_sampled_as_their_settings_say() {
    let frames: Vec<RgbImage> = (0..60).map(|_| RgbImage::new(64, 64)).collect();
    let size = r#""size": {"shortest_edge": 4096, "longest_edge": 25165824}"#;
    let count = |settings: &str, options: VideoOptions| {
        let videos = parse_videos(&format!("{{{size}{settings}}}"));
        let processor = ImageProcessor::new(PreprocessorConfig::default(), videos).unwrap();
        let options = VideoOptions { raw_fps: Some(10.0), ..options };
        processor.process_video_source(&frames.clone().into(), &options).unwrap().pixels.grid.t
    };
    let plain = VideoOptions::default;
    for (settings, expected) in [
        ("", 6),
        (r#", "do_sample_frames": false"#, 30),
        (r#", "do_sample_frames": null"#, 30),
        (r#", "fps": null"#, 30),
        (r#", "fps": null, "max_frames": 8"#, 4),
        (r#", "num_frames": 6, "fps": null"#, 3),
        (r#", "num_frames": 100, "fps": null"#, 30),
        (r#", "max_frames": 4"#, 2),
    ] {
        assert_eq!(count(settings, plain()), expected, "{settings}");
    }
    // What a video asks for goes first.
    let one = || VideoOptions { fps: Some(1.0), ..plain() };
    assert_eq!(count(r#", "do_sample_frames": false"#, one()), 3);
    assert_eq!(count(r#", "num_frames": 20, "fps": null"#, one()), 3);
    let eight = || VideoOptions { num_frames: Some(8), ..plain() };
    assert_eq!(count(r#", "num_frames": 20, "fps": null"#, eight()), 4);
    assert_eq!(count(r#", "num_frames": 20, "fps": null"#, VideoOptions { max_frames: Some(4), ..plain() }), 2);
    // HF refuses every video then.
    let (_, warned) = heard::warnings(|| parse_videos(&format!(r#"{{{size}, "num_frames": 6}}"#)));
    assert!(matches!(&warned[..], [text] if text.contains("num_frames")), "{warned:?}");
}

/// The limits of HF 5.24 for videos: its class's without `size`; keys beside `size` count for nothing; those of each
/// frame where they are asked for.
#[test]
fn limits_of_videos_are_those_of_their_size() {
    let absent = parse_videos("{}").frames;
    assert_eq!((absent.min_pixels, absent.max_pixels), (131_072, 786_432));
    let text =
        r#"{"size": {"shortest_edge": 4096, "longest_edge": 25165824}, "min_pixels": 8192, "max_pixels": 65536}"#;
    let (config, warned) = heard::warnings(|| parse_videos(text));
    assert_eq!((config.frames.min_pixels, config.frames.max_pixels), (4_096, 25_165_824));
    assert!(matches!(&warned[..], [text] if text.contains("min_pixels")), "{warned:?}");

    let capped = r#"{"size": {"shortest_edge": 4096, "longest_edge": 25165824}, "cap_pixels_per_frame": true"#;
    assert_eq!(parse_videos(&format!("{capped}}}")).max_pixels(12), 12 * 768 * 1024);
    let four = parse_videos(&format!(r#"{capped}, "max_video_tokens": 4}}"#));
    // 1.05 times the least, which is more than four tokens of 1,024 pixels.
    assert_eq!(four.max_pixels(12), 12 * 4_300);
    let processor = ImageProcessor::new(PreprocessorConfig::default(), four).unwrap();
    let grid = processor.process_video(&vec![RgbImage::new(448, 320); 12]).unwrap().grid;
    assert_eq!((grid.t, grid.h, grid.w), (6, 2, 4));
}

/// Settings of another model's patches are blamed before anything is computed.
#[test]
fn patches_must_be_those_of_the_model() {
    let config = qwen3_vl_burn::Qwen3VlConfig::from_dir(locate("tiny-dense")).unwrap();
    let check = |text: &str| {
        let pictures = parse(text).unwrap();
        ImageProcessor::new(pictures.clone(), VideoConfig::beside(&pictures)).unwrap().check_fit(&config.vision)
    };
    check("{}").unwrap();
    for (text, named) in [
        (r#"{"patch_size": 14}"#, "patch_size"),
        (r#"{"merge_size": 3}"#, "spatial_merge_size"),
        (r#"{"temporal_patch_size": 1}"#, "temporal_patch_size"),
    ] {
        let error = check(text).unwrap_err();
        assert!(error.is_about_settings() && error.to_string().contains(named), "{error}");
    }
    // A folder of both says so when its processor is loaded.
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "preprocessor_config.json"] {
        let text = std::fs::read_to_string(locate("tiny-dense").join(name)).unwrap();
        std::fs::write(folder.path().join(name), text.replace("\"merge_size\": 2", "\"merge_size\": 4")).unwrap();
    }
    let error = qwen3_vl_burn::Qwen3VlProcessor::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("merge_size"), "{error}");
}

/// Limits that a picture or video asks for are blamed on their option.
#[test]
fn wrong_limits_are_blamed_on_the_option() {
    let processor = ImageProcessor::load(locate("tiny-dense")).unwrap();
    let picture = ImageSource::from(RgbImage::new(64, 64));
    let video = VideoSource::from(vec![RgbImage::new(64, 64); 4]);
    for (min_pixels, max_pixels, wrong) in
        [(None, Some(1), "max_pixels"), (Some(1_000_000_000_000), None, "min_pixels"), (Some(0), None, "min_pixels")]
    {
        let found = processor.process_source(&picture, &ImageOptions { min_pixels, max_pixels });
        assert!(matches!(found, Err(ImageError::Option { name, .. }) if name == wrong), "{found:?}");
        let options = VideoOptions { min_pixels, max_pixels, ..Default::default() };
        let found = processor.process_video_source(&video, &options);
        assert!(matches!(found, Err(ImageError::Option { name, .. }) if name == wrong), "{found:?}");
    }
}

#[test]
fn refuses_values_that_cannot_work() {
    for (text, wrong) in [
        (r#"{"patch_size": 0}"#, "patch_size"),
        (r#"{"patch_size": 100000}"#, "patch_size"),
        (r#"{"temporal_patch_size": 0}"#, "temporal_patch_size"),
        (r#"{"merge_size": 0}"#, "merge_size"),
        (r#"{"min_pixels": 0}"#, "size.shortest_edge"),
        (r#"{"min_pixels": 1000000000, "max_pixels": 1000000000}"#, "size.shortest_edge"),
        (r#"{"min_pixels": 9000, "max_pixels": 8000}"#, "size.longest_edge"),
        (r#"{"min_pixels": 1, "max_pixels": 1023}"#, "size.longest_edge"),
        (r#"{"image_mean": [0.5, 0.5]}"#, "image_mean"),
        (r#"{"image_mean": null}"#, "image_mean"),
        (r#"{"patch_size": "big"}"#, "patch_size"),
        (r#"{"patch_size": -1}"#, "patch_size"),
        (r#"{"patch_size": null}"#, "patch_size"),
        (r#"{"do_resize": "yes"}"#, "do_resize"),
        (r#"{"size": 5}"#, "size"),
        (r#"{"size": [64, 64]}"#, "size"),
        (r#"{"size": {"height": 64, "width": 64}}"#, "size"),
        (r#"{"size": {"shortest_edge": 4096}}"#, "size"),
        (r#"{"size": {"longest_edge": 65536}}"#, "size"),
        (r#"{"size": {"shortest_edge": 4096, "longest_edge": 65536, "height": 3}}"#, "size"),
        (r#"{"size": {"shortest_edge": 4096, "longest_edge": "many"}}"#, "size"),
        (r#"{"image_std": [0.5, 0.0, 0.5]}"#, "image_std"),
        (r#"{"rescale_factor": -1}"#, "rescale_factor"),
        (r#"{"resample": 2}"#, "resample"),
    ] {
        assert!(matches!(parse(text), Err(ImageError::Setting { name, .. }) if name == wrong), "{text}");
    }
    for (text, wrong) in [
        (r#"{"fps": 0}"#, "fps"),
        (r#"{"fps": "2"}"#, "fps"),
        (r#"{"size": null}"#, "size"),
        (r#"{"size": {"height": 64, "width": 64}}"#, "size"),
        (r#"{"num_frames": 0}"#, "num_frames"),
        (r#"{"max_frames": null}"#, "max_frames"),
        (r#"{"cap_pixels_per_frame": true, "max_video_tokens": 0}"#, "max_video_tokens"),
        (r#"{"min_frames": 0}"#, "min_frames"),
        (r#"{"min_frames": 8, "max_frames": 4}"#, "max_frames"),
    ] {
        let found = VideoConfig::from_json(text, "video.json", &PreprocessorConfig::default());
        assert!(matches!(found, Err(ImageError::Setting { name, .. }) if name == wrong), "{text}");
    }
}

#[test]
fn refuses_files_that_are_no_settings() {
    for text in ["", "{", "[]", "3"] {
        assert!(matches!(parse(text), Err(ImageError::Json { .. })), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("preprocessor_config.json"), b"{\"patch_size\": \xFF}").unwrap();
    assert!(matches!(ImageProcessor::load(folder.path()), Err(ImageError::Read { .. })));
}

#[test]
fn refuses_pictures_that_cannot_be_sized() {
    let processor = ImageProcessor::load(locate("tiny-dense")).unwrap();
    let thin = processor.process(&RgbImage::new(4000, 1));
    assert!(matches!(thin, Err(ImageError::AspectRatio { height: 1, width: 4000, ratio: 4000.0, .. })));
    assert!(matches!(processor.process_video(&[]), Err(ImageError::NoFrames)));
    let uneven = processor.process_video(&[RgbImage::new(64, 64), RgbImage::new(64, 32)]);
    assert!(matches!(uneven, Err(ImageError::FrameSize { index: 1, expected: (64, 64), found: (32, 64) })));

    let fixed = PreprocessorConfig { do_resize: false, ..Default::default() };
    let processor = ImageProcessor::new(fixed, VideoConfig::default()).unwrap();
    let odd = processor.process(&RgbImage::new(64, 48));
    assert!(matches!(odd, Err(ImageError::NotDivisible { height: 48, width: 64, factor: 32 })));
    assert_eq!(processor.process(&RgbImage::new(64, 32)).unwrap().grid.patches(), 8);
}
