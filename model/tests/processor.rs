//! Pictures and videos against HF transformers' processors.

mod case;

use case::{Case, locate};
use image::RgbImage;
use qwen3_vl_burn::processor::{
    DecodeLimits, Grid, ImageProcessor, PreprocessorConfig, ProcessedImages, VideoConfig, compute_timestamps,
    decode_path, sample_frames,
};

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
