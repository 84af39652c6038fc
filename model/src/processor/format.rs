//! What kind of file the first bytes begin.

use std::io::Read;

use flate2::read::GzDecoder;
use image::ImageFormat;

use super::article::find_article;
use super::{ImageError, VideoError};
use crate::json::{FETCH_LFS, LFS_POINTER};

/// Bytes that tell the kinds of files apart; the beginning of an SVG file may be a long comment.
pub(super) const HEAD: usize = 512;

/// What is done about a kind of file that is no picture that can be read.
const CONVERT: &str = "convert it to PNG or JPEG first";
const VIDEO: &str = "it is a video: give it as one";
const DOWNLOAD: &str = "it is a web page, not the picture that it shows: download the picture itself";

const DRAW: &str = "draw it as PNG first";
const PAGES: &str = "convert its pages to PNG or JPEG first";

/// Kinds of files by bytes at a place, and what to do about them.
const KINDS: [(usize, &[u8], &str, &str); 17] = [
    (0, LFS_POINTER, "Git LFS pointer", FETCH_LFS),
    (0, b"\xFF\x0A", "JPEG XL", CONVERT),
    (0, b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL", CONVERT),
    (0, b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000", CONVERT),
    (0, b"\xFF\x4F\xFF\x51", "JPEG 2000", CONVERT),
    (0, b"II*\0", "TIFF", CONVERT),
    (0, b"MM\0*", "TIFF", CONVERT),
    (0, b"8BPS", "Photoshop", CONVERT),
    (0, b"\0\0\x01\0", "ICO", CONVERT),
    (0, b"qoif", "QOI", CONVERT),
    (0, b"v/1\x01", "OpenEXR", CONVERT),
    (0, b"#?RADIANCE", "Radiance HDR", CONVERT),
    (0, b"DDS ", "DDS", CONVERT),
    (0, b"\x1A\x45\xDF\xA3", "Matroska or WebM", VIDEO),
    (8, b"AVI ", "AVI", VIDEO),
    (0, b"\0\0\x01\xBA", "MPEG", VIDEO),
    (4, b"moov", "QuickTime", VIDEO),
];

/// Brands of ISO base media files (ISO/IEC 14496-12, section 4.3) that are pictures: AVIF, and HEIF coded as HEVC.
const AVIF: [&[u8]; 2] = [b"avif", b"avis"];
const HEIC: [&[u8]; 9] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1"];

/// The format of a picture, from the beginning of its file of `bytes` bytes.
///
/// # Errors
/// [`ImageError::UnsupportedFormat`] for a kind of file that is known by name, [`ImageError::UnknownFormat`].
pub(super) fn recognise(data: &[u8], bytes: u64) -> Result<ImageFormat, ImageError> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
    if let Ok(format @ (Bmp | Gif | Jpeg | Png | WebP)) = image::guess_format(data) {
        return Ok(format);
    }
    let named = |(name, advice)| ImageError::UnsupportedFormat { name, advice };
    Err(name_kind(data).map_or(ImageError::UnknownFormat { bytes: bytes as usize }, named))
}

/// Checks that what begins with `data` may be a video. What FFmpeg reads is its own matter, pictures of other formats
/// too; documents and texts are not given to it.
///
/// # Errors
/// [`VideoError::NoVideo`].
pub(super) fn check_video(data: &[u8]) -> Result<(), VideoError> {
    const DOCUMENTS: [&str; 8] =
        ["PDF", "SVG", "compressed SVG", "HTML", "gzip", "Git LFS pointer", "HEIC (HEIF)", "Canon raw (CR3)"];
    match name_kind(data).filter(|(name, _)| DOCUMENTS.contains(name)) {
        Some((name, advice)) => Err(VideoError::NoVideo { name, article: find_article(name), advice }),
        None if is_text(data) => {
            Err(VideoError::NoVideo { name: "text", article: "a", advice: "give a video or a folder of frames" })
        }
        None => Ok(()),
    }
}

/// Whether the beginning of a file is text, and none that lists videos.
fn is_text(data: &[u8]) -> bool {
    let text = match std::str::from_utf8(data) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&data[..error.valid_up_to()]).unwrap_or(""),
        Err(_) => return false,
    };
    let lists = ["ffconcat", "#EXTM3U", "[playlist]", "FFMETA"].iter().any(|head| text.starts_with(head));
    !text.is_empty() && !lists && !text.contains(|c: char| c.is_control() && !c.is_whitespace())
}

/// Name and advice.
fn name_kind(data: &[u8]) -> Option<(&'static str, &'static str)> {
    if data.get(4..8) == Some(b"ftyp") {
        return Some(name_brand(data));
    }
    let fits = |at: usize, bytes: &[u8]| data.get(at..).is_some_and(|rest| rest.starts_with(bytes));
    // Its header may stand behind other bytes.
    if data.trim_ascii_start().starts_with(b"%PDF-") {
        return Some(("PDF", PAGES));
    }
    if data.starts_with(b"\x1F\x8B") {
        let mut head = Vec::new();
        // As far as it goes: only the beginning is here.
        let _ = GzDecoder::new(data).take(HEAD as u64).read_to_end(&mut head);
        return Some(match name_markup(&head) {
            Some(("SVG", advice)) => ("compressed SVG", advice),
            _ => ("gzip", "unpack it first"),
        });
    }
    let known = KINDS.iter().find(|(at, bytes, ..)| fits(*at, bytes));
    known.map(|&(_, _, name, advice)| (name, advice)).or_else(|| name_markup(data))
}

/// An ISO base media file: its major brand says what it is, or the compatible ones do.
fn name_brand(data: &[u8]) -> (&'static str, &'static str) {
    let size = data.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
    let end = size.clamp(12, HEAD).min(data.len());
    let mut brands = data.get(8..12).into_iter().chain(data.get(16..end).unwrap_or_default().chunks_exact(4));
    // `mif1` and `msf1` say only that it is HEIF; those after them say more.
    if brands.clone().any(|brand| AVIF.contains(&brand)) {
        return ("AVIF", CONVERT);
    }
    if brands.clone().any(|brand| brand == b"crx ") {
        return ("Canon raw (CR3)", CONVERT);
    }
    if brands.any(|brand| HEIC.contains(&brand) || brand == b"msf1") {
        return ("HEIC (HEIF)", CONVERT);
    }
    ("MP4 or QuickTime", VIDEO)
}

/// Text that begins as SVG or HTML does, after comments and declarations.
fn name_markup(data: &[u8]) -> Option<(&'static str, &'static str)> {
    let data = data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data);
    let head = String::from_utf8_lossy(&data[..data.len().min(HEAD)]).to_ascii_lowercase();
    let head = head.trim_start();
    if !head.starts_with('<') {
        return None;
    }
    if head.contains("<svg") || head.contains("<!doctype svg") {
        return Some(("SVG", DRAW));
    }
    (head.contains("<html") || head.contains("<!doctype html")).then_some(("HTML", DOWNLOAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(data: &[u8]) -> Option<&'static str> {
        match recognise(data, data.len() as u64) {
            Err(ImageError::UnsupportedFormat { name, .. }) => Some(name),
            Err(ImageError::UnknownFormat { bytes }) if bytes == data.len() => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn kinds_have_names() {
        for (data, expected) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC (HEIF)"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC (HEIF)"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
            (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "MP4 or QuickTime"),
            (b"\0\0\0\x14ftyp", "MP4 or QuickTime"),
            (b"%PDF-1.7\n", "PDF"),
            (b"\r\n\n%PDF-1.4", "PDF"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "Canon raw (CR3)"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
            (b"\x1F\x8B\x08\0\0", "gzip"),
            (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
            (b"\xEF\xBB\xBF  <SVG>", "SVG"),
            (b"<!DOCTYPE html><html>", "HTML"),
            (b"\xFF\x0A\xFA\x1F", "JPEG XL"),
            (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL"),
            (b"II*\0\x08\0\0\0", "TIFF"),
            (b"RIFF\x10\0\0\0AVI LIST", "AVI"),
        ] {
            assert_eq!(name(data), Some(expected));
        }
        for data in [&b""[..], b"svg", b"no picture at all", b"<xml/>", b"RIFF\x10\0\0\0WAVE", b"\0\0\0\x18ft"] {
            assert_eq!(name(data), None);
        }
        assert_eq!(recognise(b"GIF89a", 6).unwrap(), ImageFormat::Gif);
    }

    #[test]
    fn compressed_drawings_are_unpacked() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packed, b"<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>")
            .unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(name(&packed), Some("compressed SVG"));
        // Cut, as where only its beginning was read.
        assert_eq!(name(&packed[..packed.len() - 9]), Some("compressed SVG"));
    }

    #[test]
    fn articles_are_as_spoken() {
        let message = |data: &[u8]| recognise(data, 9).unwrap_err().to_string();
        assert!(message(b"\0\0\0\x1cftypavif\0\0\0\0avif").starts_with("an AVIF file"));
        assert!(message(b"%PDF-1.7").starts_with("a PDF file"));
        assert!(message(b"\0\0\0\x18ftypheic\0\0\0\0").starts_with("a HEIC"));
    }

    #[test]
    fn documents_are_no_videos() {
        for (data, named) in [
            (&b"%PDF-1.7"[..], "a PDF file"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC (HEIF) file"),
            (b"<svg/>", "an SVG file"),
            (b"Just a note.\n\xC3", "a text file"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ] {
            let error = check_video(data).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        for data in [&b""[..], b"\0\0\0\x18ftypisom", b"\x1A\x45\xDF\xA3", b"#EXTM3U\n", b"II*\0", b"\x01\x02"] {
            check_video(data).unwrap();
        }
    }
}
