//! Videos from folders, lists, animations and memory; what is sampled, and what must be refused.

use crate::case;

use std::path::Path;

use case::locate;
use image::{Rgb, RgbImage};
use qwen3_vl_burn::processor::{
    DecodeLimits, Grid, ImageError, ImageProcessor, ImageSource, LocationError, PreprocessorConfig, ProcessedVideo,
    VideoConfig, VideoError, VideoLimits, VideoOptions, VideoSource, decode_path, smart_resize_video,
};

fn make_processor() -> ImageProcessor {
    ImageProcessor::new(PreprocessorConfig::default(), VideoConfig::default()).unwrap()
}

/// Everything at the rate that it comes in.
fn every_frame() -> VideoOptions {
    VideoOptions { do_sample_frames: Some(false), ..Default::default() }
}

fn open(source: impl Into<VideoSource>, options: &VideoOptions) -> Result<ProcessedVideo, ImageError> {
    make_processor().process_video_source(&source.into(), options)
}

/// Frames of one colour each, so that a frame can be told from its samples.
fn make_frames(count: usize, height: u32, width: u32) -> Vec<RgbImage> {
    (0..count)
        .map(|index| RgbImage::from_pixel(width, height, Rgb([(index * 9) as u8, 40, 200 - index as u8])))
        .collect()
}

/// Saves frames under names that sort otherwise than their numbers.
fn save_frames(folder: &Path, frames: &[RgbImage]) {
    for (index, frame) in frames.iter().enumerate() {
        frame.save(folder.join(format!("frame{index}.png"))).unwrap();
    }
}

fn assert_times(found: &ProcessedVideo, expected: &[f64]) {
    assert_eq!(found.timestamps.len(), expected.len());
    let apart = found.timestamps.iter().zip(expected).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f64::max) < 1e-12, "{:?}, expected {expected:?}", found.timestamps);
}

/// The frames that Pillow finds in an animation.
fn read_strip(name: &str, height: u32) -> Vec<RgbImage> {
    let strip = decode_path(locate(&format!("videos/{name}.frames.png")), &DecodeLimits::default()).unwrap();
    (0..strip.height() / height)
        .map(|index| image::imageops::crop_imm(&strip, 0, index * height, strip.width(), height).to_image())
        .collect()
}

#[test]
fn a_folder_is_read_in_natural_order() {
    let folder = tempfile::tempdir().unwrap();
    let frames = make_frames(23, 64, 64);
    save_frames(folder.path(), &frames);
    std::fs::write(folder.path().join("notes.txt"), "no frame").unwrap();
    std::fs::write(folder.path().join(".hidden.png"), "no frame").unwrap();
    std::fs::create_dir(folder.path().join("sub.png")).unwrap();
    let options = VideoOptions { raw_fps: Some(10.0), ..Default::default() };
    let found = open(folder.path(), &options).unwrap();
    // Sampled at 0, 7, 15, 22 (trunc(2.3 s * 2) = 4 frames): times (0 + 7) / 20 and (15 + 22) / 20.
    assert_eq!(found.timestamps, [0.35, 1.85]);
    let sampled: Vec<_> = [0, 7, 15, 22].map(|index: usize| frames[index].clone()).into();
    assert_eq!(found.pixels, make_processor().process_video(&sampled).unwrap());
    // As a file:// URL, as decoded frames, and as a list that is to be sampled.
    let url = format!("file://{}", folder.path().display());
    assert_eq!(open(url.as_str(), &options).unwrap(), found);
    assert_eq!(open(frames.clone(), &options).unwrap(), found);
    let list: Vec<_> = frames.into_iter().map(ImageSource::from).collect();
    assert_eq!(open(list, &VideoOptions { fps: Some(2.0), ..options }).unwrap(), found);
    // Without a rate it is 24: 23 / 24 s give the minimum of 4 frames, at other times.
    let unknown = open(folder.path(), &VideoOptions::default()).unwrap();
    assert_times(&unknown, &[7.0 / 48.0, 37.0 / 48.0]);
    assert_eq!(unknown.pixels, found.pixels);
}

#[test]
fn a_list_counts_as_sampled() {
    let list: Vec<_> = make_frames(5, 64, 64).into_iter().map(ImageSource::from).collect();
    // Five frames, a second apart: the last is repeated, and times are means of pairs.
    for options in [
        VideoOptions { sample_fps: Some(1.0), ..Default::default() },
        VideoOptions { raw_fps: Some(1.0), ..Default::default() },
        VideoOptions { fps: Some(1.0), ..Default::default() },
    ] {
        assert_eq!(open(list.clone(), &options).unwrap().timestamps, [0.5, 2.5, 4.0]);
    }
    let two = VideoOptions { num_frames: Some(2), raw_fps: Some(1.0), ..Default::default() };
    assert_eq!(open(list, &two).unwrap().timestamps, [2.0]);
}

#[test]
fn sampling_follows_the_options() {
    let frames = make_frames(24, 64, 64);
    let times = |options: VideoOptions| {
        open(frames.clone(), &VideoOptions { raw_fps: Some(4.0), ..options }).map(|video| video.timestamps.len())
    };
    // 6 seconds.
    assert_eq!(times(VideoOptions::default()).unwrap(), 6);
    assert_eq!(times(VideoOptions { fps: Some(1.0), ..Default::default() }).unwrap(), 3);
    assert_eq!(times(VideoOptions { fps: Some(1.0), min_frames: Some(8), ..Default::default() }).unwrap(), 4);
    assert_eq!(times(VideoOptions { max_frames: Some(4), ..Default::default() }).unwrap(), 2);
    // Below the checkpoint's minimum of 4, which moves out of the way; above its maximum likewise.
    assert_eq!(times(VideoOptions { max_frames: Some(2), ..Default::default() }).unwrap(), 1);
    assert_eq!(times(VideoOptions { min_frames: Some(1000), ..Default::default() }).unwrap(), 12);
    assert_eq!(times(VideoOptions { num_frames: Some(10), ..Default::default() }).unwrap(), 5);
    assert_eq!(times(VideoOptions { num_frames: Some(100), ..Default::default() }).unwrap(), 12);
    assert_eq!(times(every_frame()).unwrap(), 12);
}

#[test]
fn a_single_frame_fills_a_temporal_patch() {
    let frame = make_frames(1, 64, 96);
    let found = open(frame.clone(), &VideoOptions::default()).unwrap();
    assert_eq!((found.pixels.grid, found.timestamps), (Grid { t: 1, h: 4, w: 6 }, vec![0.0]));
    // A still picture is a video of one frame.
    let still = open(locate("pictures/rgba.png"), &VideoOptions::default()).unwrap();
    assert_eq!((still.pixels.grid.t, still.timestamps), (1, vec![0.0]));
}

/// Lossless, so that frames equal Pillow's; frames that cover a part, stay or are cleared are composed as it does.
#[test]
fn animations_equal_pillow() {
    for (name, count, fps) in [
        // 9 frames in 450 ms; 100 ms each; no delay, which means 100 ms; 125 ms; 250 ms.
        ("wave.gif", 9, 20.0),
        ("parts.gif", 5, 10.0),
        ("clear.gif", 4, 10.0),
        ("wave.webp", 6, 8.0),
        ("clear.webp", 4, 4.0),
    ] {
        let frames = read_strip(name, 14);
        assert_eq!(frames.len(), count, "{name}");
        let expected = make_processor().process_video(&frames).unwrap();
        let path = locate(&format!("videos/{name}"));
        let found = open(path.clone(), &every_frame()).unwrap();
        assert!(found.pixels == expected, "{name}");
        let times: Vec<f64> =
            (0..count).step_by(2).map(|first| (first + (first + 1).min(count - 1)) as f64 / fps / 2.0).collect();
        assert_times(&found, &times);
        // From memory and from a data URI.
        let data = std::fs::read(path).unwrap();
        let uri = ImageSource::from(data.clone()).to_location().unwrap().into_owned();
        assert_eq!(open(data, &every_frame()).unwrap(), found);
        assert_eq!(open(uri, &every_frame()).unwrap(), found);
    }
    // Sampled: 9 frames of 50 ms, the minimum of 4 at 0, 2.67, 5.33, 8.
    let found = open(locate("videos/wave.gif"), &VideoOptions::default()).unwrap();
    let frames = read_strip("wave.gif", 14);
    let sampled: Vec<_> = [0, 3, 5, 8].map(|index: usize| frames[index].clone()).into();
    assert_eq!(found.pixels, make_processor().process_video(&sampled).unwrap());
    assert_times(&found, &[3.0 / 40.0, 13.0 / 40.0]);
}

/// The sizes that Qwen's own package computes from the same options.
#[test]
fn pixel_options_equal_the_reference() {
    let table = std::fs::read_to_string(locate("videos/options.csv")).unwrap();
    let config = VideoConfig::default();
    let mut rows = 0;
    for line in table.lines().skip(1) {
        let n: Vec<usize> = line.split(',').map(|field| field.parse().unwrap()).collect();
        let options = VideoOptions {
            min_pixels: Some(n[3]),
            max_pixels: Some(n[4]),
            total_pixels: Some(n[5]),
            ..Default::default()
        };
        let limits = options.limit_pixels(n[0], &config);
        assert_eq!(smart_resize_video(n[0], n[1], n[2], 2, 32, limits).unwrap(), (n[6], n[7]), "{line}");
        rows += 1;
    }
    assert!(rows > 200, "{rows}");
}

#[test]
fn pixel_options_change_the_grid() {
    let frames = make_frames(4, 256, 256);
    let grid = |options: VideoOptions| open(frames.clone(), &options).unwrap().pixels.grid;
    assert_eq!(grid(VideoOptions::default()), Grid { t: 2, h: 16, w: 16 });
    let small = VideoOptions { max_pixels: Some(128 * 128), ..Default::default() };
    assert_eq!(grid(small), Grid { t: 2, h: 8, w: 8 });
    // Two temporal patches of 128 x 128.
    let total = VideoOptions { total_pixels: Some(2 * 128 * 128), ..Default::default() };
    assert_eq!(grid(total), Grid { t: 2, h: 8, w: 8 });
    let large = VideoOptions { min_pixels: Some(512 * 512), ..Default::default() };
    assert_eq!(grid(large), Grid { t: 2, h: 32, w: 32 });
}

#[test]
fn refuses_options_that_cannot_work() {
    let refuse = |options: VideoOptions, wrong: &str| {
        let found = open(make_frames(2, 64, 64), &options);
        assert!(matches!(found, Err(ImageError::Option { name, .. }) if name == wrong), "{options:?}: {found:?}");
    };
    let none = VideoOptions::default();
    for fps in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        refuse(VideoOptions { fps: Some(fps), ..none.clone() }, "fps");
        refuse(VideoOptions { raw_fps: Some(fps), ..none.clone() }, "raw_fps");
        refuse(VideoOptions { sample_fps: Some(fps), ..none.clone() }, "sample_fps");
    }
    refuse(VideoOptions { raw_fps: Some(1e-300), ..none.clone() }, "raw_fps");
    refuse(VideoOptions { num_frames: Some(0), ..none.clone() }, "num_frames");
    refuse(VideoOptions { num_frames: Some(4), fps: Some(2.0), ..none.clone() }, "num_frames");
    refuse(VideoOptions { min_frames: Some(0), ..none.clone() }, "min_frames");
    refuse(VideoOptions { max_frames: Some(0), ..none.clone() }, "max_frames");
    refuse(VideoOptions { min_frames: Some(8), max_frames: Some(4), ..none.clone() }, "min_frames");
    refuse(VideoOptions { min_pixels: Some(9), max_pixels: Some(8), ..none.clone() }, "min_pixels");
    refuse(VideoOptions { total_pixels: Some(0), ..none.clone() }, "total_pixels");
}

#[test]
fn refuses_sources_that_are_no_video() {
    let folder = tempfile::tempdir().unwrap();
    let none = VideoOptions::default();
    let empty = open(folder.path(), &none);
    assert!(matches!(empty, Err(ImageError::Video(VideoError::EmptyFolder { path })) if path == folder.path()));
    let missing = open(folder.path().join("no.mp4"), &none);
    assert!(matches!(missing, Err(ImageError::Read { path, .. }) if path.ends_with("no.mp4")));
    assert!(matches!(open(Vec::<RgbImage>::new(), &none), Err(ImageError::NoFrames)));
    assert!(matches!(open(Vec::<ImageSource>::new(), &none), Err(ImageError::NoFrames)));
    let remote = open("https://example.org/a.mp4", &none);
    assert!(matches!(remote, Err(ImageError::Location(LocationError::Remote { .. }))));
    let list = vec![ImageSource::from("no/such.png")];
    assert!(matches!(open(list, &none), Err(ImageError::Read { .. })));

    // One frame of another size, which the sampling reaches; and one that is no picture.
    save_frames(folder.path(), &make_frames(4, 64, 64));
    RgbImage::new(64, 32).save(folder.path().join("frame2.png")).unwrap();
    let uneven = open(folder.path(), &none);
    let Err(ImageError::File { path, source }) = uneven else { panic!("{uneven:?}") };
    assert!(
        path == folder.path()
            && matches!(*source, ImageError::FrameSize { index: 2, expected: (64, 64), found: (32, 64) }),
        "{source:?}"
    );
    std::fs::write(folder.path().join("frame2.png"), "text").unwrap();
    let text = open(folder.path(), &none);
    let Err(ImageError::File { path, source }) = text else { panic!("{text:?}") };
    assert!(path.ends_with("frame2.png") && matches!(*source, ImageError::UnknownFormat { bytes: 4 }), "{source:?}");
    let thin = open(make_frames(2, 1, 4000), &none);
    assert!(matches!(thin, Err(ImageError::AspectRatio { ratio: 4000.0, .. })));
}

#[test]
fn refuses_damaged_animations() {
    for name in ["wave.gif", "wave.webp"] {
        let data = std::fs::read(locate(&format!("videos/{name}"))).unwrap();
        // In the first frame: what ends later is in `animations.rs`.
        let cut = open(data[..data.len() / 12].to_vec(), &every_frame());
        assert!(matches!(cut, Err(ImageError::Decode(_) | ImageError::Truncated { .. })), "{name}: {cut:?}");
        // Any prefix gives frames or an error, never a panic. Without FFmpeg, so that only this code is asked.
        for end in (14..data.len()).step_by(7) {
            let _ = open(data[..end].to_vec(), &every_frame());
        }
    }
    // A GIF that has a head and no frame.
    let data = std::fs::read(locate("videos/wave.gif")).unwrap();
    let found = open([&data[..13], &[0; 768], b";"].concat(), &VideoOptions::default());
    assert!(matches!(found, Err(ImageError::NoFrames)), "{found:?}");
}

#[test]
fn limits_hold_before_frames_are_decoded() {
    let limit = |limits: VideoLimits, frames: usize| {
        let video = VideoSource::from(make_frames(frames, 64, 96));
        make_processor().with_video_limits(limits).process_video_source(&video, &every_frame())
    };
    let limits = VideoLimits::default();
    let many = limit(VideoLimits { max_frames: 4, ..limits }, 5);
    assert!(matches!(many, Err(ImageError::Video(VideoError::TooManyFrames { frames: 5, max_frames: 4 }))));
    let bytes = limit(VideoLimits { max_bytes: 5 * 64 * 96 * 3 - 1, ..limits }, 5);
    assert!(
        matches!(
            bytes,
            Err(ImageError::Video(VideoError::TooManyBytes { frames: 5, height: 64, width: 96, bytes: 92160, .. }))
        ),
        "{bytes:?}"
    );
    assert!(limit(VideoLimits { max_bytes: 5 * 64 * 96 * 3, ..limits }, 5).is_ok());
    let large = limit(VideoLimits { max_frame_pixels: 6143, ..limits }, 5);
    assert!(matches!(large, Err(ImageError::Video(VideoError::FrameTooLarge { height: 64, width: 96, .. }))));

    // An animation that announces 65,535 x 65,535 pixels; one with 0 x 0.
    let mut gif = std::fs::read(locate("videos/wave.gif")).unwrap();
    gif[6..10].fill(0xFF);
    let bomb = open(gif.clone(), &VideoOptions::default());
    assert!(matches!(bomb, Err(ImageError::Video(VideoError::FrameTooLarge { height: 65_535, .. }))), "{bomb:?}");
    gif[6..10].fill(0);
    assert!(matches!(open(gif, &VideoOptions::default()), Err(ImageError::Empty { .. })));
    // More pixels than frames of this size may have, asked for by an option.
    let huge = VideoOptions { min_pixels: Some(1 << 26), ..every_frame() };
    let found = open(make_frames(6, 64, 64), &huge);
    assert!(matches!(found, Err(ImageError::Video(VideoError::TooManyBytes { frames: 6, .. }))), "{found:?}");
}
