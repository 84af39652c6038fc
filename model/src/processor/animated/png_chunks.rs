//! PNG files as chunks: read as far as they go, and put together again.
//!
//! ```text
//! signature (8 bytes), then chunks: size (4 bytes, big endian), name (4 bytes), data, CRC-32 of name and data
//! IHDR ..  IDAT*  .. IEND
//! animated: acTL before IDAT, fcTL before the data of each frame, fdAT* in place of IDAT
//! ```
//!
//! Pillow reads a file that ends before its end mark as long as its rows are all there; the decoder wants the end.
//! Source: PNG specification, third edition, section 5.

use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};

use crate::processor::{DecodeLimits, ImageError};

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1A\n";
/// Bytes that are inflated at a time.
const INFLATED: usize = 32 << 10;
/// Where the seven pictures of an interlaced one begin, and the steps between their pixels: x, y, dx, dy.
const ADAM7: [[u64; 4]; 7] =
    [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

/// A chunk of a PNG file.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub name: [u8; 4],
    /// Where its data lie, as far as the file goes.
    pub data: Range<usize>,
    /// Whether all of its data are there.
    pub whole: bool,
    /// Where it ends, with its checksum; `None` where the file ends earlier.
    end: Option<usize>,
}

/// Lists the chunks up to the end mark, or to where the file ends or something else than a chunk begins.
pub(super) fn list_chunks(data: &[u8]) -> impl Iterator<Item = Chunk> {
    let mut at = Some(SIGNATURE.len());
    std::iter::from_fn(move || {
        let start = at?.checked_add(8)?;
        let head = data.get(start - 8..start)?;
        let name = [head[4], head[5], head[6], head[7]];
        if !name.iter().all(u8::is_ascii_alphabetic) {
            return None;
        }
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let stop = start.checked_add(length).filter(|&stop| stop <= data.len());
        let end = stop.map(|stop| stop + 4).filter(|&end| end <= data.len());
        at = end.filter(|_| &name != b"IEND");
        Some(Chunk { name, data: start..stop.unwrap_or(data.len()), whole: stop.is_some(), end })
    })
}

/// The still picture of a PNG file, as a whole file: the file itself, or one without its animation and with an end
/// mark, where it has the one or lacks the other; and whether it ends early.
///
/// # Errors
/// [`ImageError::Truncated`] for a file that ends before its picture, or within a chunk of another kind, as Pillow has
/// it. Whether the picture's rows are all there is found when it is decoded.
pub(in crate::processor) fn clean_png<'a>(
    data: &'a [u8],
    limits: &DecodeLimits,
) -> Result<(Cow<'a, [u8]>, bool), ImageError> {
    let (mut pictured, mut animated, mut ended) = (false, false, false);
    for chunk in list_chunks(data) {
        match &chunk.name {
            b"IDAT" => pictured = true,
            b"acTL" | b"fcTL" | b"fdAT" => animated = true,
            b"IEND" => ended = true,
            _ => {}
        }
        // What comes after the picture of an animation is another frame's.
        if &chunk.name == b"fcTL" && pictured {
            ended = true;
            break;
        }
        if !chunk.whole && &chunk.name != b"IDAT" {
            return Err(ImageError::Truncated {
                format: "PNG",
                bytes: data.len(),
                missing: "within a chunk before its end mark",
            });
        }
    }
    if ended && !animated {
        return Ok((Cow::Borrowed(data), false));
    }
    if !pictured {
        return Err(ImageError::Truncated { format: "PNG", bytes: data.len(), missing: "before its picture" });
    }
    let most = count_row_bytes(data, limits)?;
    Ok((Cow::Owned(without_animation(data, ended, most)), !ended))
}

/// `most`: bytes of rows at most, where the file has not `ended` as it should.
fn without_animation(data: &[u8], ended: bool, most: usize) -> Vec<u8> {
    let chunks: Vec<Chunk> =
        list_chunks(data).take_while(|chunk| &chunk.name != b"IEND").filter(|chunk| !is_animation(chunk)).collect();
    let mut file = SIGNATURE.to_vec();
    for chunk in chunks.iter().filter(|chunk| ended || &chunk.name != b"IDAT") {
        match chunk.end {
            // With the checksum that it has, right or wrong.
            Some(end) => file.extend_from_slice(&data[chunk.data.start - 8..end]),
            None => push_chunk(&mut file, &chunk.name, [&data[chunk.data.clone()]]),
        }
    }
    if !ended {
        let picture = chunks.iter().filter(|chunk| &chunk.name == b"IDAT").map(|chunk| &data[chunk.data.clone()]);
        push_chunk(&mut file, b"IDAT", [&restore_rows(picture, most)[..]]);
    }
    push_chunk(&mut file, b"IEND", []);
    file
}

fn is_animation(chunk: &Chunk) -> bool {
    matches!(&chunk.name, b"acTL" | b"fcTL" | b"fdAT")
}

/// Bytes that the rows of a picture take by the head of the file: a byte for the filter, and the samples, which end in
/// a whole byte. An interlaced picture (Adam7) is seven smaller ones.
///
/// # Errors
/// Those of the limits, for these bytes too.
pub(super) fn count_row_bytes(data: &[u8], limits: &DecodeLimits) -> Result<usize, ImageError> {
    let side =
        |at: usize| data.get(at..at + 4).and_then(<[u8]>::first_chunk).map_or(0, |side| u32::from_be_bytes(*side));
    let (width, height) = (side(SIGNATURE.len() + 8), side(SIGNATURE.len() + 12));
    let field = |at: usize| data.get(SIGNATURE.len() + 8 + at).copied().unwrap_or(0);
    let channels = match field(9) {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    let bits = u64::from(field(8).min(16)) * channels;
    let count =
        |width: u64, height: u64| if width == 0 { 0 } else { height.saturating_mul((width * bits).div_ceil(8) + 1) };
    let (width, height) = (u64::from(width), u64::from(height));
    let bytes = match field(12) {
        0 => count(width, height),
        _ => ADAM7.iter().fold(0, |sum, [x, y, dx, dy]| {
            let pass = count(width.saturating_sub(*x).div_ceil(*dx), height.saturating_sub(*y).div_ceil(*dy));
            u64::saturating_add(sum, pass)
        }),
    };
    limits.check(width as u32, height as u32, bytes)?;
    Ok(bytes as usize)
}

/// What a zlib stream that ends early still gives, at most `most` bytes, as a whole stream that is not compressed.
///
/// The PNG decoder wants a few bytes more than it needs, so that it gives up rows that are there.
pub(super) fn restore_rows<'a>(parts: impl Iterator<Item = &'a [u8]>, most: usize) -> Vec<u8> {
    let mut inflater = Decompress::new(true);
    let mut stream = ZlibEncoder::new(Vec::new(), Compression::none());
    let mut rows = Vec::with_capacity(INFLATED);
    let mut left = most;
    // An empty part at the end, for what is held back.
    'parts: for mut part in parts.chain([&[][..]]) {
        while left > 0 {
            let before = (inflater.total_in(), inflater.total_out());
            rows.clear();
            let found = inflater.decompress_vec(part, &mut rows, FlushDecompress::None);
            rows.truncate(left);
            left -= rows.len();
            // Writing into memory does not fail.
            let written = stream.write_all(&rows).is_ok();
            if !written || !matches!(found, Ok(Status::Ok | Status::BufError)) {
                break 'parts;
            }
            let (read, written) = (inflater.total_in() - before.0, inflater.total_out() - before.1);
            part = &part[read as usize..];
            if (read, written) == (0, 0) {
                break;
            }
        }
    }
    stream.finish().unwrap_or_default()
}

/// A whole file with these chunks and an end mark.
pub(super) fn write_png<'a>(
    head: [u8; 13],
    tables: &[(&[u8; 4], &[u8])],
    picture: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut file = SIGNATURE.to_vec();
    push_chunk(&mut file, b"IHDR", [&head[..]]);
    for (name, data) in tables {
        push_chunk(&mut file, name, [*data]);
    }
    push_chunk(&mut file, b"IDAT", picture);
    push_chunk(&mut file, b"IEND", []);
    file
}

/// Adds a chunk whose data are these parts; together they are part of a chunk or file, and fewer than 2³² bytes.
fn push_chunk<'a>(file: &mut Vec<u8>, name: &[u8; 4], parts: impl IntoIterator<Item = &'a [u8]>) {
    let start = file.len();
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(name);
    parts.into_iter().for_each(|part| file.extend_from_slice(part));
    let length = (file.len() - start - 8) as u32;
    file[start..start + 4].copy_from_slice(&length.to_be_bytes());
    let check = crc32fast::hash(&file[start + 4..]);
    file.extend_from_slice(&check.to_be_bytes());
}
