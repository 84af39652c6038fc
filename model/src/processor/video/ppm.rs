//! Frames as FFmpeg pipes them: raw rgb24, each led by a short text with its size (binary PPM), so that a frame of
//! another size than was announced is noticed.
//!
//! ```text
//! P6 <width> <height> 255 <one blank> then height * width * 3 bytes          any blanks between the words
//! ```

use std::io::{self, ErrorKind, Read};

use image::RgbImage;

/// Longest head that is taken for one.
const MAX_HEAD: usize = 64;
/// Bytes that are reserved before any of them has come.
const RESERVE: usize = 16 << 20;

/// Reads the head of the next frame: height and width; `None` at the end.
///
/// # Errors
/// [`ErrorKind::InvalidData`] for something else, [`ErrorKind::UnexpectedEof`] for half a head, and those of the
/// reader.
pub(super) fn read_head(reader: &mut impl Read) -> io::Result<Option<(u64, u64)>> {
    let wrong = |head: &[u8]| {
        let found = String::from_utf8_lossy(head).escape_debug().to_string();
        io::Error::new(ErrorKind::InvalidData, format!("`{found}` before a frame"))
    };
    let mut head = Vec::new();
    while !is_whole(&head) {
        let mut byte = [0];
        if reader.read(&mut byte)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
        head.push(byte[0]);
        if head.len() > MAX_HEAD || !(head.starts_with(b"P6") || head == b"P") {
            return Err(wrong(&head));
        }
    }
    let text = String::from_utf8_lossy(&head);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words[..] {
        ["P6", width, height, "255"] => match (height.parse(), width.parse()) {
            (Ok(height), Ok(width)) => Ok(Some((height, width))),
            _ => Err(wrong(&head)),
        },
        _ => Err(wrong(&head)),
    }
}

/// Reads the pixels of a frame whose size has been checked.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] for fewer, and those of the reader.
pub(super) fn read_pixels(reader: &mut impl Read, height: u32, width: u32) -> io::Result<RgbImage> {
    let length = u64::from(height) * u64::from(width) * 3;
    let mut pixels = Vec::with_capacity(RESERVE.min(length as usize));
    reader.take(length).read_to_end(&mut pixels)?;
    let found = pixels.len();
    RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| io::Error::new(ErrorKind::UnexpectedEof, format!("{found} of the {length} bytes of a frame")))
}

/// Whether `head` has four words and the blank after them.
fn is_whole(head: &[u8]) -> bool {
    let words = head.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    words == 4 && head.last().is_some_and(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_frames_and_their_end() {
        let mut pipe = &b"P6\n2 1\n255\nabcdefP6 1 1 255 xyz"[..];
        assert_eq!(read_head(&mut pipe).unwrap(), Some((1, 2)));
        assert_eq!(read_pixels(&mut pipe, 1, 2).unwrap().as_raw(), b"abcdef");
        assert_eq!(read_head(&mut pipe).unwrap(), Some((1, 1)));
        assert_eq!(read_pixels(&mut pipe, 1, 1).unwrap().as_raw(), b"xyz");
        assert_eq!(read_head(&mut pipe).unwrap(), None);
    }

    #[test]
    fn refuses_what_is_no_frame() {
        let head = |text: &str| read_head(&mut text.as_bytes()).unwrap_err().kind();
        for text in ["Q", "P5\n1 1\n255\n", "P6 1 1 65535 ", "P6 x 1 255 ", "P6 -1 1 255 ", &"P6 ".repeat(40)] {
            assert_eq!(head(text), ErrorKind::InvalidData, "{text}");
        }
        assert_eq!(head("P6\n1"), ErrorKind::UnexpectedEof);
        assert_eq!(read_pixels(&mut &b"ab"[..], 1, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
