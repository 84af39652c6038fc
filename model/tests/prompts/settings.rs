//! Preprocessor settings: what is read, what is assumed, what is refused.

use crate::case;

use case::locate;
use image::RgbImage;
use qwen3_vl_burn::processor::{ImageError, ImageProcessor, PreprocessorConfig, VideoConfig};

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
    assert_eq!(parse("{}").unwrap(), PreprocessorConfig::default());
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
        assert!(matches!(error, ImageError::Json { .. }) && error.to_string().contains("processor_config"), "{error}");
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
        (r#"{"image_std": [0.5, 0.0, 0.5]}"#, "image_std"),
        (r#"{"rescale_factor": -1}"#, "rescale_factor"),
        (r#"{"resample": 2}"#, "resample"),
    ] {
        assert!(matches!(parse(text), Err(ImageError::Setting { name, .. }) if name == wrong), "{text}");
    }
    for (text, wrong) in [
        (r#"{"fps": 0}"#, "fps"),
        (r#"{"min_frames": 0}"#, "min_frames"),
        (r#"{"min_frames": 8, "max_frames": 4}"#, "max_frames"),
    ] {
        let found = VideoConfig::from_json(text, "video.json", &PreprocessorConfig::default());
        assert!(matches!(found, Err(ImageError::Setting { name, .. }) if name == wrong), "{text}");
    }
}

#[test]
fn refuses_files_that_are_no_settings() {
    for text in ["", "{", "[]", r#"{"patch_size": "big"}"#, r#"{"patch_size": -1}"#, r#"{"size": 5}"#] {
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
