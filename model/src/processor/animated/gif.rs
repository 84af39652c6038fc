//! Animated GIF: its blocks, walked without decoding, and the decoder that plays it.
//!
//! An image block (`2C`) is a frame; the graphic control extension (`21 F9`) before it holds its delay in hundredths of
//! a second; `3B` is the end. Source: GIF89a specification, sections 18 to 27.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder, RgbImage, RgbaImage};

use super::{Player, Timeline};
use crate::processor::guard::guard_decoder;
use crate::processor::still::flatten;
use crate::processor::{DecodeLimits, ImageError};

/// The structure of a GIF file.
#[derive(Debug, Default)]
pub(in crate::processor) struct Gif {
    timeline: Timeline,
    cut: bool,
}

impl Gif {
    /// Walks through the blocks. A frame that the file ends in counts: decoding it will show whether it is whole.
    pub fn open(data: &[u8]) -> Self {
        let mut gif = Self::default();
        gif.cut = walk(data, &mut gif.timeline).is_none();
        gif
    }

    /// Width and height of the screen that the head of `data` announces.
    pub fn size(data: &[u8]) -> (u32, u32) {
        let side = |at| data.get(at..at + 2).map_or(0, |side| u32::from(u16::from_le_bytes([side[0], side[1]])));
        (side(6), side(8))
    }

    /// Its frames and how long they last.
    pub fn timeline(&self) -> Timeline {
        self.timeline.clone()
    }

    /// Whether the file ends within a block.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Plays the frames of `data`.
    ///
    /// # Errors
    /// [`ImageError::Decode`], and those of the limits.
    pub fn play<'a>(data: &'a [u8], limits: &DecodeLimits) -> Result<GifPlayer<'a>, ImageError> {
        let mut decoder = guard_decoder(|| GifDecoder::new(Cursor::new(data)))?;
        let (width, height) = decoder.dimensions();
        limits.check(width, height, decoder.total_bytes())?;
        let mut inner = image::Limits::no_limits();
        inner.max_alloc = Some(limits.max_bytes);
        decoder.set_limits(inner).map_err(ImageError::Decode)?;
        Ok(GifPlayer { frames: decoder.into_frames(), shown: RgbaImage::default() })
    }
}

/// Plays a GIF animation.
pub(in crate::processor) struct GifPlayer<'a> {
    frames: Frames<'a>,
    shown: RgbaImage,
}

impl Player for GifPlayer<'_> {
    fn advance(&mut self) -> Result<bool, ImageError> {
        let frames = &mut self.frames;
        let frame = guard_decoder(|| frames.next().transpose())?;
        let found = frame.is_some();
        self.shown = frame.map(image::Frame::into_buffer).unwrap_or_default();
        Ok(found)
    }

    fn show(&self) -> RgbImage {
        flatten(DynamicImage::ImageRgba8(self.shown.clone()))
    }
}

/// Ends with `None` where the file does, before its end mark. Bytes that are no block end it as the mark does.
fn walk(data: &[u8], timeline: &mut Timeline) -> Option<()> {
    let mut at = 13 + color_table(*data.get(10)?);
    let mut delay = 0.0;
    loop {
        match *data.get(at)? {
            0x2C => {
                // The descriptor, its color table, and the byte of the code size.
                let start = at + 11 + color_table(*data.get(at + 9)?);
                data.get(start - 1)?;
                timeline.push(delay);
                delay = 0.0;
                at = skip_blocks(data, start)?;
            }
            0x21 => {
                if *data.get(at + 1)? == 0xF9 {
                    delay = f64::from(u16::from_le_bytes([*data.get(at + 4)?, *data.get(at + 5)?])) * 10.0;
                }
                at = skip_blocks(data, at + 2)?;
            }
            _ => return Some(()),
        }
    }
}

/// Bytes of the color table that a packed field announces.
fn color_table(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// Skips data blocks, each led by its length, to after the empty one.
fn skip_blocks(data: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*data.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
