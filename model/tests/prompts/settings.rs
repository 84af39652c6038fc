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
    assert_eq!(*processor.video_config(), VideoConfig::default());
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

    let own = r#"{"size": {"shortest_edge": 4096, "longest_edge": 8192}, "patch_size": 16, "min_frames": 2}"#;
    std::fs::write(folder.path().join("video_preprocessor_config.json"), own).unwrap();
    let processor = ImageProcessor::load(folder.path()).unwrap();
    let videos = processor.video_config();
    assert_eq!((videos.frames.patch_size, videos.frames.max_pixels, videos.min_frames), (16, 8192, 2));
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
