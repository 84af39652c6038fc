//! Animated PNG.
//!
//! ```text
//! acTL   frames (4 bytes, big endian), plays (4 bytes)
//! fcTL   number (4 bytes), width, height, x, y (4 bytes each), delay / divisor in seconds (2 bytes each),
//!        disposal (1 byte; 0 none, 1 cleared, 2 restored), blending (1 byte; 0 none, 1 over)
//! fdAT   number (4 bytes), then what an IDAT would hold
//! ```
//!
//! Numbers count `fcTL` and `fdAT` from 0. A picture (`IDAT`) that no `fcTL` precedes is for programs that play
//! nothing, and no frame. A first frame that would be restored is cleared. What is cleared holds samples of zero, as
//! Pillow and FFmpeg have it: transparent where there is an alpha channel, otherwise what zero means to the file, black
//! or the first colour of its table. Source: PNG specification, third edition, section 11.3.6.

use std::ops::Range;

use image::imageops::crop_imm;
use image::{DynamicImage, ImageFormat, RgbImage, Rgba, RgbaImage};

use super::canvas::{Area, TRANSPARENT, blend_png, fill, place};
use super::png_chunks::{count_row_bytes, list_chunks, restore_rows, write_png};
use super::{Player, Timeline, refuse};
use crate::processor::still::{decode_still, flatten};
use crate::processor::{DecodeLimits, ImageError};

/// Where `IHDR` has the kind of its samples, and the kinds without an alpha channel.
const COLOUR_TYPE: usize = 9;
const GREY: u8 = 0;
const COLOUR: u8 = 2;
const PALETTE: u8 = 3;

/// What becomes of a frame's area before the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disposal {
    Keep,
    Clear,
    Restore,
}

#[derive(Debug)]
struct Frame {
    area: Area,
    milliseconds: f64,
    disposal: Disposal,
    blend: bool,
    /// Its data, as far as the file goes.
    parts: Vec<Range<usize>>,
}

/// The structure of an animated PNG file.
#[derive(Debug)]
pub(in crate::processor) struct Apng {
    head: [u8; 13],
    palette: Option<Range<usize>>,
    transparency: Option<Range<usize>>,
    frames: Vec<Frame>,
    announced: usize,
    cut: bool,
}

impl Apng {
    /// Reads the structure; `None` for a still picture.
    ///
    /// # Errors
    /// [`ImageError::Decode`] for a structure that breaks the rules. Nothing is decoded.
    pub fn open(data: &[u8]) -> Result<Option<Self>, ImageError> {
        let before = list_chunks(data).take_while(|chunk| &chunk.name != b"IDAT");
        let announced: Vec<u32> = before
            .filter(|chunk| &chunk.name == b"acTL")
            .map(|chunk| read_u32(&data[chunk.data], 0).unwrap_or(0))
            .collect();
        // No frames, or an announcement too many, is no animation, as Pillow has it.
        let &[announced] = &announced[..] else { return Ok(None) };
        if announced == 0 {
            return Ok(None);
        }
        let mut chunks = list_chunks(data);
        let head = chunks.next().filter(|chunk| &chunk.name == b"IHDR");
        let Some(&head) = head.and_then(|chunk| data[chunk.data].first_chunk()) else { return Ok(None) };
        let (palette, transparency) = (None, None);
        let mut found =
            Self { head, palette, transparency, frames: Vec::new(), announced: announced as usize, cut: true };
        let mut number = 0;
        for chunk in chunks {
            let part = chunk.data.clone();
            match &chunk.name {
                b"PLTE" => found.palette = Some(part),
                b"tRNS" => found.transparency = Some(part),
                b"fcTL" if !chunk.whole => break,
                b"fcTL" => {
                    found.push_frame(&data[part], number)?;
                    number += 1;
                }
                b"IDAT" => {
                    if let [first] = &mut found.frames[..] {
                        first.parts.push(part);
                    }
                }
                b"fdAT" => {
                    let Some(start) = part.start.checked_add(4).filter(|&start| start <= part.end) else { break };
                    let last = found.frames.last_mut().filter(|_| read_u32(&data[part.clone()], 0) == Some(number));
                    let last = last.ok_or_else(|| wrong("frames out of order"))?;
                    last.parts.push(start..part.end);
                    number += 1;
                }
                b"IEND" => found.cut = false,
                _ => {}
            }
        }
        found.settle();
        Ok((!found.frames.is_empty()).then_some(found))
    }

    /// Adds the frame of an `fcTL` chunk.
    fn push_frame(&mut self, data: &[u8], number: u32) -> Result<(), ImageError> {
        let field = |at| read_u32(data, at).ok_or_else(|| wrong("a frame without its head"));
        if field(0)? != number {
            return Err(wrong("frames out of order"));
        }
        if self.frames.last().is_some_and(|frame| frame.parts.is_empty()) {
            return Err(wrong("a frame without data"));
        }
        let area = Area { width: field(4)?, height: field(8)?, x: field(12)?, y: field(16)? };
        let (width, height) = self.size();
        if !area.fits(width, height) {
            let index = self.frames.len();
            return Err(wrong(format!(
                "frame {index} ({area:?}) is not inside the picture of {height} x {width} pixels"
            )));
        }
        let delay = field(20)?;
        let divisor = match delay & 0xFFFF {
            0 => 100,
            divisor => divisor,
        };
        let &[disposal, blend] =
            data.get(24..26).and_then(<[u8]>::first_chunk).ok_or_else(|| wrong("a frame without its head"))?;
        let disposal = match disposal {
            1 => Disposal::Clear,
            2 if self.frames.is_empty() => Disposal::Clear,
            2 => Disposal::Restore,
            _ => Disposal::Keep,
        };
        let milliseconds = f64::from(delay >> 16) * 1000.0 / f64::from(divisor);
        self.frames.push(Frame { area, milliseconds, disposal, blend: blend == 1, parts: Vec::new() });
        Ok(())
    }

    /// Compares what was announced with what is there.
    fn settle(&mut self) {
        if self.frames.last().is_some_and(|frame| frame.parts.is_empty()) {
            self.frames.pop();
        }
        let (found, announced) = (self.frames.len(), self.announced);
        if found != announced && !(self.cut && found < announced) {
            tracing::warn!("an animated PNG announces {announced} frames and has {found}");
        }
        self.frames.truncate(announced);
    }

    /// Its frames and how long they last.
    pub fn timeline(&self) -> Timeline {
        self.frames.iter().map(|frame| frame.milliseconds).collect()
    }

    /// Whether the file ends before its end mark.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Width and height.
    pub fn size(&self) -> (u32, u32) {
        let side = |at| read_u32(&self.head, at).unwrap_or(0);
        (side(0), side(4))
    }

    /// Plays the frames of `data`, the file that was opened.
    ///
    /// # Errors
    /// Those of the limits, before anything is allocated.
    pub fn play<'a>(&'a self, data: &'a [u8], limits: &'a DecodeLimits) -> Result<ApngPlayer<'a>, ImageError> {
        let (width, height) = self.size();
        limits.check(width, height, (u64::from(width) * u64::from(height)).saturating_mul(4))?;
        let most = count_row_bytes(data, limits)?;
        let cleared = self.read_zero(data);
        let canvas = RgbaImage::from_pixel(width, height, Rgba(cleared));
        Ok(ApngPlayer { file: self, data, limits, most, canvas, cleared, next: 0, before: None })
    }

    /// The pixel whose samples are zero.
    fn read_zero(&self, data: &[u8]) -> [u8; 4] {
        let table = |range: &Option<Range<usize>>| range.clone().map_or(&[][..], |range| &data[range]);
        let (palette, transparency) = (table(&self.palette), table(&self.transparency));
        // What is transparent: one value of grey or colour, 16 bits a sample; or a list of alphas, one a colour.
        let keyed = !transparency.is_empty() && transparency.iter().all(|&byte| byte == 0);
        match (self.head[COLOUR_TYPE], palette) {
            (GREY | COLOUR, _) => [0, 0, 0, if keyed { 0 } else { 255 }],
            (PALETTE, &[red, green, blue, ..]) => [red, green, blue, transparency.first().copied().unwrap_or(255)],
            _ => TRANSPARENT,
        }
    }

    /// A frame as a file of its own; `most`: bytes of its rows at most.
    fn wrap(&self, frame: &Frame, data: &[u8], most: usize) -> Vec<u8> {
        let mut head = self.head;
        head[..4].copy_from_slice(&frame.area.width.to_be_bytes());
        head[4..8].copy_from_slice(&frame.area.height.to_be_bytes());
        let table = |name, range: &Option<Range<usize>>| range.clone().map(|range| (name, &data[range]));
        let tables: Vec<_> =
            [table(b"PLTE", &self.palette), table(b"tRNS", &self.transparency)].into_iter().flatten().collect();
        let parts = frame.parts.iter().map(|part| &data[part.clone()]);
        if self.cut && self.frames.last().is_some_and(|last| std::ptr::eq(last, frame)) {
            let rows = restore_rows(parts, most);
            return write_png(head, &tables, [&rows[..]].into_iter());
        }
        write_png(head, &tables, parts)
    }
}

/// Plays a PNG animation.
pub(in crate::processor) struct ApngPlayer<'a> {
    file: &'a Apng,
    data: &'a [u8],
    limits: &'a DecodeLimits,
    /// Bytes of rows at most.
    most: usize,
    canvas: RgbaImage,
    /// What is cleared becomes this.
    cleared: [u8; 4],
    next: usize,
    /// What the last frame covered, where that is restored.
    before: Option<RgbaImage>,
}

impl Player for ApngPlayer<'_> {
    fn advance(&mut self) -> Result<bool, ImageError> {
        let Some(frame) = self.file.frames.get(self.next) else { return Ok(false) };
        let (decoded, _) = decode_still(&self.file.wrap(frame, self.data, self.most), ImageFormat::Png, self.limits)?;
        let decoded = decoded.into_rgba8();

        if let Some(last) = self.next.checked_sub(1).map(|index| &self.file.frames[index]) {
            match (last.disposal, self.before.take()) {
                (Disposal::Clear, _) => fill(&mut self.canvas, last.area, self.cleared),
                (Disposal::Restore, Some(before)) => {
                    place(&mut self.canvas, &before, last.area, |_, _, before, _| before);
                }
                _ => {}
            }
        }
        let Area { x, y, width, height } = frame.area;
        if frame.disposal == Disposal::Restore {
            self.before = Some(crop_imm(&self.canvas, x, y, width, height).to_image());
        }
        // There is nothing to blend the first one with.
        let blend = frame.blend && self.next > 0;
        place(
            &mut self.canvas,
            &decoded,
            frame.area,
            |_, _, over, under| if blend { blend_png(over, under) } else { over },
        );
        self.next += 1;
        Ok(true)
    }

    fn show(&self) -> RgbImage {
        flatten(DynamicImage::ImageRgba8(self.canvas.clone()))
    }
}

fn wrong(what: impl Into<String>) -> ImageError {
    refuse(ImageFormat::Png, what)
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
