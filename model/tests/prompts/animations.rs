//! Animated WebP and PNG against the frames that they come to, and animations that were cut.

use crate::{case, heard};

use case::locate;
use heard::warnings;
use image::RgbImage;
use qwen3_vl_burn::processor::{
    DecodeLimits, ImageError, ImageProcessor, PreprocessorConfig, ProcessedVideo, VideoConfig, VideoError,
    VideoOptions, VideoSource, decode_bytes, decode_path,
};

/// Frames as they are: their sides are multiples of 32.
fn make_processor() -> ImageProcessor {
    let frames = PreprocessorConfig { do_resize: false, ..PreprocessorConfig::default() };
    ImageProcessor::new(frames.clone(), VideoConfig { frames, ..VideoConfig::default() }).unwrap()
}

fn open(data: &[u8]) -> Result<ProcessedVideo, ImageError> {
    let every = VideoOptions { do_sample_frames: Some(false), ..Default::default() };
    make_processor().process_video_source(&VideoSource::from(data.to_vec()), &every)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(locate(&format!("videos/{name}"))).unwrap()
}

/// Frames below each other, of this height.
fn read_strip(name: &str, height: u32) -> Vec<RgbImage> {
    let strip = decode_path(locate(&format!("videos/{name}.frames.png")), &DecodeLimits::default()).unwrap();
    let cut = |index| image::imageops::crop_imm(&strip, 0, height * index, strip.width(), height).to_image();
    (0..strip.height() / height).map(cut).collect()
}

/// Levels of 8 bits that two videos are apart at most.
fn compare(found: &ProcessedVideo, expected: &[RgbImage]) -> f32 {
    let expected = make_processor().process_video(expected).unwrap();
    assert_eq!(found.pixels.grid, expected.grid);
    let apart = found.pixels.pixel_values.iter().zip(&expected.pixel_values).map(|(a, b)| (a - b).abs() * 127.5);
    apart.fold(0.0, f32::max)
}

/// 120 WebP files and 60 PNG files of random frames: every disposal and blending, any place, any alpha, canvas with and
/// without alpha, pictures that are no frames (`fixtures/videos/composition.py`).
#[test]
fn random_compositions_equal_the_reference() {
    let table = std::fs::read_to_string(locate("videos/composition.csv")).unwrap();
    let (mut lossless, mut lossy) = (0, 0);
    for format in ["webp", "png"] {
        let name = if format == "webp" { "composition.webps" } else { "composition.apngs" };
        let (data, strips) = (read(name), read_strip(name, 32));
        let (mut data, mut strips) = (&data[..], &strips[..]);
        for line in table.lines().skip(1).filter(|line| line.split(',').next() == Some(format)) {
            let fields: Vec<&str> = line.splitn(4, ',').collect();
            let (file, rest) = data.split_at(fields[1].parse().unwrap());
            let (frames, others) = strips.split_at(fields[2].parse().unwrap());
            (data, strips) = (rest, others);
            let found = open(file).unwrap_or_else(|error| panic!("{line}: {error}"));
            let worst = compare(&found, frames);
            // Lossy ones too: the decoder of VP8 has libwebp's arithmetic.
            assert!(worst < 1e-3, "{line}: {worst} levels");
            if fields[3].starts_with("\"lossy") {
                lossy += 1
            } else {
                lossless += 1
            }
            // As a picture, a WebP file is its first frame.
            if format == "webp" {
                assert!(decode_bytes(file, &DecodeLimits::default()).unwrap() == frames[0], "{line}");
            }
        }
        assert!(data.is_empty() && strips.is_empty());
    }
    assert_eq!((lossless, lossy), (160, 20));
}

/// 60 GIF and 36 PNG files that clear and restore, without alpha channels: by rules that FFmpeg, and Pillow but for its
/// own exceptions, share (`fixtures/videos/disposal.py`).
#[test]
fn random_disposals_equal_the_reference() {
    let table = std::fs::read_to_string(locate("videos/disposal.csv")).unwrap();
    let mut checked = 0;
    for (format, name) in [("gif", "disposal.gifs"), ("png", "disposal.apngs")] {
        let (data, strips) = (read(name), read_strip(name, 32));
        let (mut data, mut strips) = (&data[..], &strips[..]);
        for line in table.lines().skip(1).filter(|line| line.starts_with(format)) {
            let fields: Vec<&str> = line.splitn(4, ',').collect();
            let (file, rest) = data.split_at(fields[1].parse().unwrap());
            let (frames, others) = strips.split_at(fields[2].parse().unwrap());
            (data, strips) = (rest, others);
            let worst = compare(&open(file).unwrap_or_else(|error| panic!("{line}: {error}")), frames);
            assert!(worst < 1e-3, "{line}: {worst} levels");
            // As a picture, it is its first frame.
            assert!(decode_bytes(file, &DecodeLimits::default()).unwrap() == frames[0], "{line}");
            checked += 1;
        }
        assert!(data.is_empty() && strips.is_empty());
    }
    assert_eq!(checked, 96);
}

/// As people have them: a sprite on a canvas without alpha, as Pillow writes it; small frames, each cleared, on a
/// transparent canvas; an animated PNG.
#[test]
fn reported_files_equal_pillow() {
    for (name, count) in [("sprite.webp", 4), ("patches.webp", 2), ("moving.png", 4)] {
        let frames = read_strip(name, 64);
        assert_eq!(frames.len(), count);
        let found = open(&read(name)).unwrap();
        assert!(compare(&found, &frames) < 1e-3, "{name}");
        assert_eq!(found.timestamps.len(), count / 2);
        assert!(decode_bytes(&read(name), &DecodeLimits::default()).unwrap() == frames[0], "{name}");
    }
}

/// Disposal and blending as Pillow plays them, and the rates.
#[test]
fn animated_png_files_equal_pillow() {
    let processor = ImageProcessor::new(PreprocessorConfig::default(), VideoConfig::default()).unwrap();
    let every = VideoOptions { do_sample_frames: Some(false), ..Default::default() };
    // 500 ms each; 30, 40, 50 and 80 ms.
    for (name, fps) in [("wave.png", 2.0), ("clear.png", 20.0)] {
        let frames = read_strip(name, 14);
        let path = locate(&format!("videos/{name}"));
        let found = processor.process_video_source(&path.as_path().into(), &every).unwrap();
        assert!(found.pixels == processor.process_video(&frames).unwrap(), "{name}");
        let apart = found.timestamps.iter().zip([0.5 / fps, 2.5 / fps]).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-12, "{:?}", found.timestamps);
        assert!(decode_path(path, &DecodeLimits::default()).unwrap() == frames[0], "{name}");
    }
}

/// Where `fixtures/videos/cuts.csv` says that Pillow reads a file that was cut, it is read, with a warning.
#[test]
fn cut_files_are_read_as_pillow_reads_them() {
    let table = std::fs::read_to_string(locate("videos/cuts.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let mut checked = 0;
    for (row, next) in rows.iter().zip(&rows[1..]).filter(|(row, next)| row[0] == next[0]) {
        let (name, start, end): (_, usize, usize) = (row[0], row[1].parse().unwrap(), next[1].parse().unwrap());
        let (frames, picture): (usize, bool) = (row[2].parse().unwrap(), row[3] == "1");
        let data = read(name);
        let whole = decode_bytes(&data, &DecodeLimits::default()).unwrap();
        // Of a GIF, Pillow wants the code after the last pixel, too, and all of its block: up to three bytes more.
        let last = if name.ends_with("gif") { end - 4 } else { end - 1 };
        for length in [start, (start + last) / 2, last].into_iter().filter(|&length| length <= data.len()) {
            let cut = &data[..length];
            let (found, warned) = warnings(|| decode_bytes(cut, &DecodeLimits::default()));
            match found {
                Ok(found) => assert!(picture && found == whole, "{name} cut to {length}"),
                Err(error) => assert!(!picture && is_damage(&error), "{name} cut to {length}: {error:?}"),
            }
            // Once the next frame of an animated PNG has begun, its picture misses nothing.
            let next = ["wave.png", "clear.png"].contains(&name) && (frames > 1 || length > start + 30);
            let warns = picture && length < data.len() && !next;
            assert_eq!(warned.len(), usize::from(warns), "{name} cut to {length}: {warned:?}");
            checked += 1;
            if !name.starts_with("../") {
                check_cut_video(name, cut, frames, length == data.len());
            }
        }
    }
    assert!(checked > 100, "{checked}");
}

fn check_cut_video(name: &str, cut: &[u8], frames: usize, whole: bool) {
    let processor = ImageProcessor::new(PreprocessorConfig::default(), VideoConfig::default()).unwrap();
    let every = VideoOptions { do_sample_frames: Some(false), ..Default::default() };
    let (found, warned) = warnings(|| processor.process_video_source(&VideoSource::from(cut.to_vec()), &every));
    let length = cut.len();
    match found {
        Ok(found) => {
            let expected = processor.process_video(&read_strip(name, 14)[..frames]).unwrap();
            if name.ends_with("webp") {
                assert_eq!(found.pixels.grid, expected.grid, "{name} cut to {length}");
            } else {
                assert!(found.pixels == expected, "{name} cut to {length}");
            }
            assert_eq!(warned.len(), usize::from(!whole), "{name} cut to {length}: {warned:?}");
        }
        Err(error) => assert!(frames == 0 && is_damage(&error), "{name} cut to {length}: {error:?}"),
    }
}

/// Whether an error says that a file is damaged, or too short to say what it is.
fn is_damage(error: &ImageError) -> bool {
    use ImageError::{Decode, NoFrames, Truncated, UnknownFormat, Video};
    matches!(
        error,
        Decode(_)
            | Truncated { .. }
            | NoFrames
            | UnknownFormat { .. }
            | Video(VideoError::ToolMissing { .. } | VideoError::ToolFailed { .. })
    )
}

/// A PNG chunk, with the right checksum.
fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [name, data].concat();
    let crc = !body.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    [&(data.len() as u32).to_be_bytes()[..], &body, &u32::to_be_bytes(crc)].concat()
}

/// Replaces the data of the `index`-th chunk of this name.
fn replace_chunk(png: &[u8], name: &[u8; 4], index: usize, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let (mut file, mut at, mut seen) = (png[..8].to_vec(), 8, 0);
    while at < png.len() {
        let end = at + 12 + u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        let mut data = png[at + 8..end - 4].to_vec();
        let own: &[u8; 4] = png[at + 4..at + 8].try_into().unwrap();
        if own == name {
            if seen == index {
                change(&mut data);
            }
            seen += 1;
        }
        file.extend(chunk(own, &data));
        at = end;
    }
    file
}

#[test]
fn animated_png_files_may_break_rules() {
    let png = read("moving.png");
    let frames = read_strip("moving.png", 64);
    let play = |png: &[u8]| warnings(|| open(png));
    // Fewer frames announced than there are, and more.
    for (announced, shown) in [(2u32, 2), (9, 4)] {
        let (found, warned) =
            play(&replace_chunk(&png, b"acTL", 0, |data| data[..4].copy_from_slice(&announced.to_be_bytes())));
        assert!(compare(&found.unwrap(), &frames[..shown]) < 1e-3);
        assert_eq!(warned, [format!("an animated PNG announces {announced} frames and has 4")]);
    }
    // No frames announced: a still picture, as Pillow has it.
    let (found, _) = play(&replace_chunk(&png, b"acTL", 0, |data| data[..4].fill(0)));
    assert!(compare(&found.unwrap(), &frames[..1]) < 1e-3);
    // Out of order; outside of the picture; nothing wide; a head that is too short.
    for (name, index, at, value) in
        [(b"fcTL", 1, 0, 7u32), (b"fdAT", 0, 0, 9), (b"fcTL", 1, 12, 60), (b"fcTL", 1, 4, 0), (b"fcTL", 2, 8, u32::MAX)]
    {
        let damaged = replace_chunk(&png, name, index, |data| data[at..at + 4].copy_from_slice(&value.to_be_bytes()));
        let found = open(&damaged);
        assert!(matches!(found, Err(ImageError::Decode(_))), "{name:?} {index}: {found:?}");
        // The default picture is there all the same.
        assert!(decode_bytes(&damaged, &DecodeLimits::default()).unwrap() == frames[0]);
    }
    let short = replace_chunk(&png, b"fcTL", 1, |data| data.truncate(20));
    assert!(matches!(open(&short), Err(ImageError::Decode(_))));
    // A frame whose data are another's is an error where nothing was cut.
    let damaged = replace_chunk(&png, b"fdAT", 2, |data| data.truncate(40));
    assert!(matches!(open(&damaged), Err(ImageError::Decode(_))));
}

#[test]
fn refuses_webp_frames_outside_of_their_canvas() {
    let webp = read("patches.webp");
    let at = |name: &[u8]| webp.windows(4).position(|window| window == name).unwrap();
    let (frame, picture) = (at(b"ANMF") + 8, at(b"VP8L") + 8);
    let change = |from: usize, bytes: &[u8]| {
        let mut damaged = webp.clone();
        damaged[from..from + bytes.len()].copy_from_slice(bytes);
        damaged
    };
    for damaged in [
        // A place beyond the canvas; 16,384 x 16,384 pixels in the picture's own head; no head; a chunk without end.
        change(frame, &[0xFF; 3]),
        change(picture + 1, &[0xFF; 4]),
        change(picture, &[0]),
        change(picture - 4, &[0xFF; 4]),
    ] {
        assert!(matches!(open(&damaged), Err(ImageError::Decode(_))), "{:?}", open(&damaged));
        assert!(matches!(decode_bytes(&damaged, &DecodeLimits::default()), Err(ImageError::Decode(_))));
    }
    // A still picture that is larger than its canvas.
    let mut still = std::fs::read(locate("pictures/lossy-alpha.webp")).unwrap();
    let start = still.windows(3).position(|code| code == [0x9D, 0x01, 0x2A]).unwrap();
    still[start + 3..start + 7].copy_from_slice(&[0xFF, 0x3F, 0xFF, 0x3F]);
    assert!(matches!(decode_bytes(&still, &DecodeLimits::default()), Err(ImageError::Decode(_))));
    // A canvas of 16,777,216 x 16,777,216 pixels is refused before anything is allocated.
    let canvas = at(b"VP8X") + 12;
    let found = open(&change(canvas, &[0xFF; 6]));
    assert!(matches!(found, Err(ImageError::Video(VideoError::FrameTooLarge { .. }))), "{found:?}");
}
