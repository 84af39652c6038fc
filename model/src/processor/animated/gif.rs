//! Animated GIF: its blocks, walked without decoding, and its frames on the screen.
//!
//! An image block (`2C`) is a frame; the graphic control extension (`21 F9`) before it holds its delay in hundredths of
//! a second; `3B` is the end. Before a frame, the area of the one before it is
//!
//! ```text
//! left (disposal 0, 1), cleared (2), or restored to what it was before that frame (3)
//! ```
//!
//! What is cleared becomes transparent where the frame has transparency, otherwise the background colour of the file:
//! the specification knows the second only, browsers the first only; Pillow and FFmpeg play both. The screen starts
//! transparent where the first frame has transparency, otherwise in the first colour of its table, as Pillow has it.
//! Source: GIF89a specification, sections 18 to 27.

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, DecodingError, DisposalMethod};
use image::error::ImageFormatHint;
use image::imageops::crop_imm;
use image::{DynamicImage, ImageFormat, RgbImage, Rgba, RgbaImage};

use super::canvas::{Area, TRANSPARENT, fill, place};
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
    pub fn play<'a>(data: &'a [u8], limits: &'a DecodeLimits) -> Result<GifPlayer<'a>, ImageError> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        let decoder = guard_decoder(|| options.read_info(Cursor::new(data)).map_err(wrong))?;
        let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
        limits.check(width, height, u64::from(width) * u64::from(height) * 4)?;
        Ok(GifPlayer { decoder, limits, canvas: RgbaImage::new(width, height), last: None })
    }
}

/// Plays a GIF animation.
pub(in crate::processor) struct GifPlayer<'a> {
    decoder: gif::Decoder<Cursor<&'a [u8]>>,
    limits: &'a DecodeLimits,
    canvas: RgbaImage,
    /// The frame that was put on the canvas last.
    last: Option<Shown>,
}

/// What is to be known of a frame once it has been shown.
struct Shown {
    /// Where it lies on the canvas.
    area: Area,
    after: After,
}

/// What becomes of a frame's area before the next frame.
enum After {
    Keep,
    Fill([u8; 4]),
    Restore(RgbaImage),
}

impl GifPlayer<'_> {
    /// The canvas with its alpha.
    pub fn picture(&self) -> DynamicImage {
        DynamicImage::ImageRgba8(self.canvas.clone())
    }

    /// Reads the next frame: its pixels, where it lies, its disposal and whether it has transparency.
    fn decode(&mut self) -> Result<Option<(RgbaImage, Area, DisposalMethod, bool)>, ImageError> {
        let Self { decoder, limits, .. } = self;
        let head = guard_decoder(|| {
            let frame = decoder.next_frame_info().map_err(wrong)?;
            Ok(frame.map(|frame| {
                let [x, y, width, height] = [frame.left, frame.top, frame.width, frame.height].map(u32::from);
                (Area { x, y, width, height }, frame.dispose, frame.transparent.is_some())
            }))
        })?;
        let Some((area, disposal, transparent)) = head else { return Ok(None) };
        let Area { width, height, .. } = area;
        // A frame without pixels changes nothing.
        if width > 0 && height > 0 {
            limits.check(width, height, u64::from(width) * u64::from(height) * 4)?;
        }
        let mut pixels = RgbaImage::new(width, height);
        guard_decoder(|| decoder.read_into_buffer(&mut pixels).map_err(wrong))?;
        Ok(Some((pixels, area, disposal, transparent)))
    }

    /// The colour at `index` of a table; transparent where it has none.
    fn read_colour(table: Option<&[u8]>, index: usize) -> [u8; 4] {
        match table.and_then(|table| table.get(3 * index..3 * index + 3)) {
            Some(&[red, green, blue]) => [red, green, blue, 255],
            _ => TRANSPARENT,
        }
    }
}

impl Player for GifPlayer<'_> {
    fn advance(&mut self) -> Result<bool, ImageError> {
        let Some((frame, area, disposal, transparent)) = self.decode()? else { return Ok(false) };
        match self.last.take() {
            None if transparent => {}
            None => {
                let first = Self::read_colour(self.decoder.palette().ok(), 0);
                self.canvas.pixels_mut().for_each(|pixel| *pixel = Rgba(first));
            }
            Some(Shown { area, after: After::Fill(colour) }) => fill(&mut self.canvas, area, colour),
            Some(Shown { area, after: After::Restore(before) }) => {
                place(&mut self.canvas, &before, area, |_, _, before, _| before);
            }
            Some(Shown { after: After::Keep, .. }) => {}
        }
        let inside = area.clip(self.canvas.width(), self.canvas.height());
        let after = match disposal {
            DisposalMethod::Background if transparent => After::Fill(TRANSPARENT),
            DisposalMethod::Background => {
                let index = self.decoder.bg_color().unwrap_or(0);
                After::Fill(Self::read_colour(self.decoder.global_palette(), index))
            }
            DisposalMethod::Previous => {
                let Area { x, y, width, height } = inside;
                After::Restore(crop_imm(&self.canvas, x, y, width, height).to_image())
            }
            DisposalMethod::Any | DisposalMethod::Keep => After::Keep,
        };
        place(&mut self.canvas, &frame, area, |_, _, over, under| if over[3] == 0 { under } else { over });
        self.last = Some(Shown { area: inside, after });
        Ok(true)
    }

    fn show(&self) -> RgbImage {
        flatten(self.picture())
    }
}

/// An error of the decoder as one of the library that it belongs to.
fn wrong(error: DecodingError) -> image::ImageError {
    let hint = ImageFormatHint::Exact(ImageFormat::Gif);
    image::ImageError::Decoding(image::error::DecodingError::new(hint, error))
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
