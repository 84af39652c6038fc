//! Every kind of picture file against Pillow, and files that must be refused.

mod case;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use case::locate;
use image::{ImageFormat, RgbImage};
use qwen3_vl_burn::processor::{
    DecodeLimits, ImageError, ImageProcessor, ImageSource, LocationError, decode_bytes, decode_path,
};

/// Most bytes that may be asked for at once before a picture is refused.
const LIMIT: usize = 64 << 20;

/// The system's allocator, noting the largest request of each thread.
struct Noting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed to `System` unchanged; noting touches no memory of the caller's and allocates none.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promise about `layout` is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

fn decode(data: &[u8]) -> Result<RgbImage, ImageError> {
    decode_bytes(data, &DecodeLimits::default())
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(locate(&format!("pictures/{name}"))).unwrap()
}

/// Largest difference of a sample from what Pillow makes of the file.
fn compare(name: &str) -> u8 {
    let found = decode(&read(name)).unwrap();
    let expected = image::load_from_memory_with_format(&read(&format!("{name}.rgb.png")), ImageFormat::Png).unwrap();
    let expected = expected.into_rgb8();
    assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
    found.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn lossless_files_equal_pillow() {
    for name in ["rgb.bmp", "grey.png", "bits.png", "palette.png", "animation.gif", "grey16.png"] {
        assert_eq!(compare(name), 0, "{name}");
    }
    for name in ["grey-alpha.png", "rgba.png", "palette-alpha.png", "rgba.webp", "animation.webp"] {
        assert_eq!(compare(name), 0, "{name}");
    }
    for name in ["grey-key.png", "rgb-key.png", "palette.bmp", "rgb16.png", "turned-6.png", "turned-8.webp"] {
        assert_eq!(compare(name), 0, "{name}");
    }
}

#[test]
fn lossy_webp_files_equal_pillow() {
    for name in ["lossy.webp", "lossy-alpha.webp"] {
        assert_eq!(compare(name), 0, "{name}");
    }
}

#[test]
fn jpeg_files_equal_pillow_up_to_rounding() {
    // Two inverse cosine transforms and colour conversions round differently by a few levels.
    for name in ["grey.jpg", "cmyk.jpg", "ycck.jpg"]
        .map(str::to_owned)
        .into_iter()
        .chain((2..=8).map(|n| format!("turned-{n}.jpg")))
    {
        let worst = compare(&name);
        assert!(worst <= 4, "{name}: {worst}");
    }
}

#[test]
fn orientation_turns_the_picture() {
    // The picture is 24 x 16; orientations 5 to 8 lay it on its side.
    assert_eq!(decode(&read("turned-3.jpg")).unwrap().dimensions(), (24, 16));
    assert_eq!(decode(&read("turned-6.jpg")).unwrap().dimensions(), (16, 24));
}

#[test]
fn refuses_broken_files() {
    let png = read("rgba.png");
    assert!(matches!(decode(&png[..png.len() / 2]), Err(ImageError::Decode(_))));
    let mut damaged = png.clone();
    damaged[60] ^= 0x55;
    assert!(matches!(decode(&damaged), Err(ImageError::Decode(_))));

    let jpeg = read("turned-6.jpg");
    for end in [jpeg.len() - 2, jpeg.len() / 2] {
        assert!(
            matches!(decode(&jpeg[..end]), Err(ImageError::Truncated { format: "JPEG", bytes, .. }) if bytes == end)
        );
    }
    assert!(matches!(decode(b""), Err(ImageError::UnknownFormat { bytes: 0 })));
    assert!(matches!(decode(b"no picture at all"), Err(ImageError::UnknownFormat { bytes: 17 })));
    let missing = decode_path("no/such/file.png", &DecodeLimits::default());
    assert!(matches!(missing, Err(ImageError::Read { path, .. }) if path.ends_with("file.png")));
}

/// Truncating any file anywhere gives a picture or an error, never a panic.
#[test]
fn any_prefix_is_handled() {
    for name in ["rgb.bmp", "palette-alpha.png", "rgba.webp", "animation.gif", "cmyk.jpg", "turned-5.jpg"] {
        let data = read(name);
        for end in 0..data.len() {
            let _ = decode(&data[..end]);
        }
    }
}

/// A PNG header that announces `width` x `height` RGBA pixels of 16 bits, and no data.
fn announce(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR".to_vec();
    png.extend(width.to_be_bytes());
    png.extend(height.to_be_bytes());
    png.extend([16, 6, 0, 0, 0]);
    let check = checksum(&png[12..]);
    png.extend(check.to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xAF\x06\x1E\0\0\0\0IEND\xAE\x42\x60\x82");
    png
}

/// CRC-32 of a PNG chunk (PNG specification, annex D).
fn checksum(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[test]
fn refuses_bombs_before_decoding() {
    LARGEST.set(0);
    refuse_bombs();
    assert!(LARGEST.get() < LIMIT, "{} bytes at once", LARGEST.get());
}

fn refuse_bombs() {
    let bomb = decode(&announce(60_000, 60_000));
    assert!(matches!(bomb, Err(ImageError::TooLarge { height: 60_000, width: 60_000, .. })), "{bomb:?}");
    let long = decode(&announce(70_000, 1));
    assert!(matches!(long, Err(ImageError::TooLarge { width: 70_000, max_side: 65_535, .. })), "{long:?}");
    // Within the pixel limit, but 8 bytes each.
    let deep = decode(&announce(13_000, 13_000));
    assert!(matches!(deep, Err(ImageError::TooManyBytes { bytes: 1_352_000_000, .. })), "{deep:?}");
    // Other formats announce a size as well: 65,535 x 65,535.
    let mut gif = read("animation.gif");
    gif[6..10].fill(0xFF);
    assert!(matches!(decode(&gif), Err(ImageError::TooLarge { .. })));
    let mut bmp = read("rgb.bmp");
    bmp[18..26].copy_from_slice(&[0xFF, 0xFF, 0, 0, 0xFF, 0xFF, 0, 0]);
    assert!(matches!(decode(&bmp), Err(ImageError::TooLarge { .. })));
    // A lossy WebP file, 16,383 x 16,383: the sides are the 14 bits after the start code of the frame.
    let mut webp = read("lossy.webp");
    let frame = webp.windows(3).position(|code| code == [0x9D, 0x01, 0x2A]).unwrap();
    webp[frame + 3..frame + 7].copy_from_slice(&[0xFF, 0x3F, 0xFF, 0x3F]);
    assert!(matches!(decode(&webp), Err(ImageError::TooLarge { height: 16_383, width: 16_383, .. })));
    let mut jpeg = read("grey.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xFF);
    assert!(matches!(decode(&jpeg), Err(ImageError::TooLarge { height: 65_535, width: 65_535, .. })));
}

#[test]
fn limits_can_be_set() {
    let strict = DecodeLimits { max_pixels: 100, ..Default::default() };
    let processor = ImageProcessor::load(locate("tiny-dense")).unwrap().with_limits(strict);
    let found = processor.process_bytes(&read("rgba.png"));
    assert!(matches!(found, Err(ImageError::TooLarge { height: 16, width: 24, max_pixels: 100, .. })));
}

#[test]
fn refuses_empty_pictures() {
    assert!(decode(&announce(0, 5)).is_err());
    let mut gif = read("animation.gif");
    gif[6..8].fill(0);
    assert!(matches!(decode(&gif), Err(ImageError::Empty { height: 16, width: 0 })));
    let processor = ImageProcessor::load(locate("tiny-dense")).unwrap();
    assert!(matches!(processor.process(&RgbImage::new(0, 0)), Err(ImageError::Empty { .. })));
}

/// Cut in the middle, or with a byte turned where no marker shows it: an error of this crate, for every format.
#[test]
fn refuses_damaged_files_of_every_format() {
    for name in ["rgba.png", "grey.jpg", "rgba.webp", "lossy.webp", "animation.gif", "rgb.bmp"] {
        let data = read(name);
        // Inside the first frame of an animation.
        let cut = decode(&data[..data.len() / 5]);
        assert!(matches!(cut, Err(ImageError::Decode(_) | ImageError::Truncated { .. })), "{name}");
        // Every byte turned, one after the other: a picture or an error, never a panic.
        for index in 0..data.len() {
            let mut damaged = data.clone();
            damaged[index] ^= 0xFF;
            let strict = DecodeLimits { max_pixels: 1 << 16, ..Default::default() };
            let _ = decode_bytes(&damaged, &strict);
        }
    }
}

#[test]
fn sources_give_the_same_picture() {
    let path = locate("pictures/rgba.png");
    let expected = decode_path(&path, &DecodeLimits::default()).unwrap();
    let bytes = ImageSource::from(read("rgba.png"));
    let uri = bytes.to_location().unwrap().into_owned();
    assert!(uri.starts_with("data:image/png;base64,iVBORw0KGgo"), "{uri:.40}");
    let base64 = uri.split_once(',').unwrap().1;
    for source in [
        ImageSource::from(path.as_path()),
        ImageSource::from(path.to_str().unwrap()),
        ImageSource::from(format!("file://{}", path.display())),
        ImageSource::parse(&uri).unwrap(),
        ImageSource::from(uri.clone()),
        ImageSource::from_base64(base64).unwrap(),
        ImageSource::from(expected.clone()),
        bytes,
    ] {
        assert_eq!(*source.decode(&DecodeLimits::default()).unwrap(), expected, "{source:?}");
        // Written into a message and read from it.
        let again = ImageSource::parse(&source.to_location().unwrap()).unwrap();
        assert_eq!(*again.decode(&DecodeLimits::default()).unwrap(), expected, "{source:?}");
        assert!(format!("{source:?}").len() < 200);
    }
}

#[test]
fn refuses_sources_that_are_no_picture() {
    let limits = DecodeLimits::default();
    let refuse = |source: ImageSource| source.decode(&limits).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(refuse(folder.path().into()), ImageError::NotAFile { found: "a folder", .. }));
    #[cfg(target_os = "linux")]
    assert!(matches!(refuse("/dev/zero".into()), ImageError::NotAFile { found: "a pipe or device", .. }));
    assert!(matches!(refuse("no/such.png".into()), ImageError::Read { .. }));
    assert!(matches!(refuse("http://example.org/a.png".into()), ImageError::Location(LocationError::Remote { .. })));
    assert!(matches!(refuse("data:image/png;base64,?".into()), ImageError::Location(LocationError::Base64 { .. })));
    assert!(matches!(refuse("data:image/png".into()), ImageError::Location(LocationError::DataUri { .. })));
    assert!(matches!(refuse("data:image/png;base64,Zm9v".into()), ImageError::UnknownFormat { bytes: 3 }));
    assert!(matches!(refuse(RgbImage::new(0, 3).into()), ImageError::Empty { height: 3, width: 0 }));
    let strict = DecodeLimits { max_pixels: 10, ..limits };
    let picture = ImageSource::from(RgbImage::new(4, 4));
    assert!(matches!(picture.decode(&strict), Err(ImageError::TooLarge { height: 4, width: 4, .. })));
}

/// What cannot be decoded is named: the file, and the kind of file that it is.
#[test]
fn errors_name_the_file_and_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    let refuse = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        let error = decode_path(&path, &DecodeLimits::default()).unwrap_err();
        let processor = ImageProcessor::load(locate("tiny-dense")).unwrap();
        let same = processor.process_source(&path.as_path().into(), &Default::default()).unwrap_err();
        assert_eq!(error.to_string(), same.to_string());
        let text = error.to_string();
        text.strip_prefix(&format!("{}: ", path.display())).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    for (content, kind) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "a HEIC (HEIF)"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "an AVIF"),
        (b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>", "an SVG"),
        (b"%PDF-1.4", "a PDF"),
        (b"\xFF\x0A\0\0", "a JPEG XL"),
    ] {
        let text = refuse(content);
        assert!(text.starts_with(&format!("{kind} file cannot be read as a picture")), "{text}");
        assert!(text.contains("PNG"), "{text}");
    }
    assert!(refuse(b"abc").starts_with("3 bytes are no PNG"));
    assert!(refuse(&read("grey.jpg")[..300]).starts_with("the JPEG data ends after 300 bytes"));
    assert!(refuse(&read("rgba.png")[..300]).starts_with("cannot decode the picture"));
    let thin = folder.path().join("thin.png");
    RgbImage::new(400, 1).save(&thin).unwrap();
    let processor = ImageProcessor::load(locate("tiny-dense")).unwrap();
    let found = processor.process_source(&thin.as_path().into(), &Default::default());
    assert!(matches!(found, Err(ImageError::File { path, .. }) if path == thin));
}

/// A file of a terabyte (that takes no room on the disk) is refused by its length, and one that is no picture by its
/// beginning.
#[test]
fn large_files_are_not_read() {
    LARGEST.set(0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.png");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let found = decode_path(&path, &DecodeLimits::default());
    assert!(matches!(found, Err(ImageError::FileTooLarge { bytes: 0x100_0000_0000, max_bytes: 0x1000_0000, .. })));
    std::fs::File::create(&path).unwrap().set_len(200 << 20).unwrap();
    let found = decode_path(&path, &DecodeLimits::default());
    let Err(ImageError::File { path: named, source }) = found else { panic!("{found:?}") };
    assert!(named == path && matches!(*source, ImageError::UnknownFormat { bytes: 0xC80_0000 }));
    assert!(LARGEST.get() < LIMIT, "{} bytes at once", LARGEST.get());
}
