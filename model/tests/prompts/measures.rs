//! What pictures and videos are told to become, against what they become.

use std::path::Path;

use qwen3_vl_burn::processor::{
    DecodeLimits, ImageError, ImageOptions, ImageProcessor, ImageSource, VideoOptions, VideoSource,
};

use crate::case::locate;

fn list(folder: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(locate(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn processor() -> ImageProcessor {
    ImageProcessor::load(locate("tiny-dense")).unwrap()
}

#[test]
fn pictures_become_what_their_headers_tell() {
    let processor = processor();
    let mut seen = 0;
    for path in list("pictures").into_iter().chain(list("processor")) {
        if !path.extension().is_some_and(|end| ["png", "jpg", "gif", "webp", "bmp"].iter().any(|known| end == *known)) {
            continue;
        }
        for options in [ImageOptions::default(), ImageOptions { max_pixels: Some(3000), min_pixels: Some(1024) }] {
            let data = std::fs::read(&path).unwrap();
            for source in [ImageSource::Path(path.clone()), ImageSource::from(data)] {
                let measured = processor.measure_source(&source, &options).unwrap();
                let decoded = source.decode(&DecodeLimits::default()).unwrap();
                let size = (measured.width, measured.height);
                assert_eq!(size, (decoded.width() as usize, decoded.height() as usize), "{}", path.display());
                assert_eq!(
                    measured.grid,
                    processor.process_source(&source, &options).unwrap().grid,
                    "{}",
                    path.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn videos_become_what_their_beginnings_tell() {
    let processor = processor();
    let frames: Vec<ImageSource> =
        (0..5).map(|n| locate(&format!("processor/video-short.frame{n:03}.png")).into()).collect();
    let mut sources = vec![VideoSource::List(frames)];
    for path in list("videos") {
        let animated = ["gif", "webp", "png"].iter().any(|known| path.extension().is_some_and(|end| end == *known));
        if animated && !path.to_string_lossy().contains(".frames.") {
            sources.push(VideoSource::Path(path));
        }
    }
    assert!(sources.len() > 6, "{}", sources.len());
    for source in &sources {
        for options in [
            VideoOptions::default(),
            VideoOptions { fps: Some(3.0), max_pixels: Some(4096), ..Default::default() },
            VideoOptions { num_frames: Some(3), raw_fps: Some(10.0), ..Default::default() },
        ] {
            let processed = processor.process_video_source(source, &options).unwrap();
            let measured = processor.measure_video_source(source, &options).unwrap();
            assert_eq!(
                (measured.grid, measured.timestamps),
                (processed.pixels.grid, processed.timestamps),
                "{source:?}"
            );
        }
    }
}

#[test]
fn what_cannot_be_told() {
    let processor = processor();
    let measure = |source: ImageSource| processor.measure_source(&source, &ImageOptions::default()).unwrap_err();
    assert!(matches!(measure("missing.png".into()), ImageError::Read { .. }));
    assert!(matches!(measure(Path::new(".").into()), ImageError::NotAFile { .. }));
    assert!(matches!(measure(b"no picture".to_vec().into()), ImageError::UnknownFormat { bytes: 10 }));
    assert!(matches!(measure("https://example.org/a.png".into()), ImageError::Location(_)));
    // A header that announces 60,000 x 60,000 pixels: refused before anything is decoded.
    let bomb = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/image/bomb.png");
    match measure(bomb.clone().into()) {
        ImageError::File { path, source } => {
            assert!(path == bomb && matches!(*source, ImageError::TooLarge { .. }), "{source}");
        }
        other => panic!("{other}"),
    }
    let options = ImageOptions { max_pixels: Some(0), ..Default::default() };
    let source = locate("tiny-dense/image.0.png").into();
    assert!(matches!(processor.measure_source(&source, &options), Err(ImageError::Option { name: "max_pixels", .. })));
    let none = processor.measure_video_source(&VideoSource::List(Vec::new()), &VideoOptions::default());
    assert!(matches!(none, Err(ImageError::NoFrames)), "{none:?}");
}
