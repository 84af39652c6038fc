//! The structure of an animated WebP file, and its frames as files of their own.
//!
//! ```text
//! "RIFF" size "WEBP"   then chunks: name (4 bytes), size (4 bytes, little endian), data, one byte more where it is odd
//! VP8X                 flags (1 byte; 02 animated, 10 alpha), 3 bytes, canvas width - 1 and height - 1 (3 bytes each)
//! ANMF                 x / 2, y / 2, width - 1, height - 1, milliseconds (3 bytes each), flags (1 byte; 01 clear
//!                      afterwards, 02 don't blend), then the chunks of a still picture: VP8L, or VP8 with ALPH before
//!                      it where it has alpha
//! ```
//!
//! The size of a frame is that of its picture, as libwebp has it. Source: WebP container specification (RFC 9649,
//! section 2.7), VP8 frame header (RFC 6386, section 9.1), VP8L header (RFC 9649, section 3.4).

use std::ops::Range;

use image::ImageFormat;

use super::canvas::Area;
use super::refuse;
use crate::processor::ImageError;

const ANIMATED: u8 = 0x02;
const ALPHA: u8 = 0x10;
/// Bytes of `ANMF` before its chunks.
const FRAME_HEAD: usize = 16;

/// An animated WebP file.
#[derive(Debug)]
pub(super) struct WebpStructure {
    pub width: u32,
    pub height: u32,
    /// Whether the canvas has an alpha channel; without, alpha is dropped at the end.
    pub alpha: bool,
    pub frames: Vec<WebpFrame>,
    /// The `EXIF` chunk.
    pub exif: Option<Range<usize>>,
}

/// A frame of it.
#[derive(Debug)]
pub(super) struct WebpFrame {
    pub area: Area,
    pub milliseconds: u32,
    /// Whether its area becomes transparent before the next frame.
    pub clear: bool,
    /// Whether it is blended with what lies under it.
    pub blend: bool,
    /// Whether its picture says that it has alpha.
    pub alpha: bool,
    alpha_chunk: Option<Range<usize>>,
    picture: Range<usize>,
    lossless: bool,
}

/// The part of `data` that the head of the file announces.
///
/// # Errors
/// [`ImageError::Truncated`] for a file that ends earlier: libwebp refuses it, wherever it was cut.
pub(super) fn require_whole_webp(data: &[u8]) -> Result<&[u8], ImageError> {
    let cut =
        ImageError::Truncated { format: "WebP", bytes: data.len(), missing: "before the end that its head announces" };
    let Some(size) = data.get(4..8) else { return Err(cut) };
    let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
    size.checked_add(8).and_then(|end| data.get(..end)).ok_or(cut)
}

/// Chunks one after the other: name and where the data lie.
struct Chunks<'a> {
    data: &'a [u8],
    at: usize,
    end: usize,
}

impl Iterator for Chunks<'_> {
    type Item = Result<([u8; 4], Range<usize>), ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at.checked_add(8).filter(|&start| start <= self.end)?;
        let head = self.data.get(self.at..start)?;
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some(end) = start.checked_add(size).filter(|&end| end <= self.end) else {
            self.at = self.end;
            let name = head[..4].escape_ascii();
            return Some(Err(refuse(ImageFormat::WebP, format!("the chunk `{name}` is longer than what holds it"))));
        };
        self.at = end + size % 2;
        Some(Ok(([head[0], head[1], head[2], head[3]], start..end)))
    }
}

/// Reads the structure of a whole file ([`require_whole_webp`]); `None` for a still picture.
///
/// # Errors
/// [`ImageError::Decode`] for a structure that breaks the rules. Nothing is decoded.
pub(super) fn read_structure(data: &[u8]) -> Result<Option<WebpStructure>, ImageError> {
    let mut chunks = Chunks { data, at: 12, end: data.len() };
    let head = match chunks.next().transpose()? {
        Some((name, range)) if &name == b"VP8X" => data[range].first_chunk::<10>(),
        _ => None,
    };
    let Some(head) = head else { return Ok(None) };
    let (width, height) = (read_24(&head[4..]) + 1, read_24(&head[7..]) + 1);
    if head[0] & ANIMATED == 0 {
        return check_still(data, chunks, width, height).map(|()| None);
    }
    let alpha = head[0] & ALPHA != 0;
    let mut structure = WebpStructure { width, height, alpha, frames: Vec::new(), exif: None };
    for chunk in chunks {
        let (name, range) = chunk?;
        match &name {
            b"ANMF" => {
                let number = structure.frames.len();
                let frame = read_frame(data, range, number)?;
                if !frame.area.fits(width, height) {
                    let found = frame.area;
                    return Err(refuse(
                        ImageFormat::WebP,
                        format!("frame {number} ({found:?}) is not inside the canvas of {height} x {width} pixels"),
                    ));
                }
                structure.frames.push(frame);
            }
            b"EXIF" => structure.exif = structure.exif.or(Some(range)),
            _ => {}
        }
    }
    if structure.frames.is_empty() {
        return Err(refuse(ImageFormat::WebP, "an animation without frames"));
    }
    Ok(Some(structure))
}

/// Checks that the picture of a still file has the size of its canvas: the decoder makes room for it before it looks.
fn check_still(data: &[u8], chunks: Chunks<'_>, width: u32, height: u32) -> Result<(), ImageError> {
    for chunk in chunks {
        let (name, part) = chunk?;
        let size = match &name {
            b"VP8 " => read_lossy_size(&data[part]),
            b"VP8L" => read_lossless_size(&data[part]),
            _ => continue,
        };
        if let Some((found_width, found_height, _)) = size.filter(|&(w, h, _)| (w, h) != (width, height)) {
            let reason =
                format!("a picture of {found_height} x {found_width} pixels in a canvas of {height} x {width}");
            return Err(refuse(ImageFormat::WebP, reason));
        }
    }
    Ok(())
}

fn read_frame(data: &[u8], range: Range<usize>, number: usize) -> Result<WebpFrame, ImageError> {
    let wrong = |what: &str| refuse(ImageFormat::WebP, format!("frame {number} {what}"));
    let head = data[range.clone()].first_chunk::<FRAME_HEAD>().ok_or_else(|| wrong("has no head"))?;
    let mut alpha_chunk = None;
    for chunk in (Chunks { data, at: range.start + FRAME_HEAD, end: range.end }) {
        let (name, part) = chunk?;
        let lossless = match &name {
            b"ALPH" => {
                alpha_chunk = alpha_chunk.or(Some(part));
                continue;
            }
            b"VP8 " => false,
            b"VP8L" if alpha_chunk.is_some() => return Err(wrong("has alpha twice")),
            b"VP8L" => true,
            _ => continue,
        };
        let size =
            if lossless { read_lossless_size(&data[part.clone()]) } else { read_lossy_size(&data[part.clone()]) };
        let (width, height, alpha) = size.ok_or_else(|| wrong("holds no picture"))?;
        return Ok(WebpFrame {
            area: Area { x: read_24(head) * 2, y: read_24(&head[3..]) * 2, width, height },
            milliseconds: read_24(&head[12..]),
            clear: head[15] & 1 != 0,
            blend: head[15] & 2 == 0,
            alpha: alpha || alpha_chunk.is_some(),
            alpha_chunk,
            picture: part,
            lossless,
        });
    }
    Err(wrong("holds no picture"))
}

/// Width, height and alpha of a VP8 key frame.
fn read_lossy_size(data: &[u8]) -> Option<(u32, u32, bool)> {
    let &[tag, _, _, 0x9D, 0x01, 0x2A, a, b, c, d] = data.first_chunk::<10>()? else { return None };
    let side = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3FFF);
    (tag & 1 == 0).then(|| (side([a, b]), side([c, d]), false))
}

/// Width, height and alpha of a VP8L picture.
fn read_lossless_size(data: &[u8]) -> Option<(u32, u32, bool)> {
    let &[0x2F, a, b, c, d] = data.first_chunk::<5>()? else { return None };
    let bits = u32::from_le_bytes([a, b, c, d]);
    Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bits >> 28 & 1 != 0))
}

/// Three bytes, little endian; `bytes` has them.
fn read_24(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0])
}

impl WebpFrame {
    /// The frame as a file that holds nothing else. `data` is that of the animation.
    pub fn wrap(&self, data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
        if let Some(alpha) = &self.alpha_chunk {
            let mut head = vec![ALPHA, 0, 0, 0];
            head.extend_from_slice(&(self.area.width - 1).to_le_bytes()[..3]);
            head.extend_from_slice(&(self.area.height - 1).to_le_bytes()[..3]);
            push_chunk(&mut file, b"VP8X", &head);
            push_chunk(&mut file, b"ALPH", &data[alpha.clone()]);
        }
        push_chunk(&mut file, if self.lossless { b"VP8L" } else { b"VP8 " }, &data[self.picture.clone()]);
        let size = (file.len() - 8) as u32;
        file[4..8].copy_from_slice(&size.to_le_bytes());
        file
    }
}

/// Adds a chunk; `data` is part of a file whose own size is 32 bits.
fn push_chunk(file: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    file.extend_from_slice(name);
    file.extend_from_slice(&(data.len() as u32).to_le_bytes());
    file.extend_from_slice(data);
    file.resize(file.len() + data.len() % 2, 0);
}
