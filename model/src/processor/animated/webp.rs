//! Animated WebP.
//!
//! A frame goes on the canvas that the frame before left, in one of three ways:
//!
//! ```text
//! key frame          the canvas is cleared, the frame's pixels are set as they are
//! not blended        the frame's pixels are set as they are
//! blended            outside of the area that the frame before cleared: blended; inside: set as they are
//! ```
//!
//! A key frame is the first one; one that covers the canvas and is opaque or not blended; and one whose predecessor
//! was cleared and covered the canvas or was a key frame, so that nothing is left of older ones. The background colour
//! of the file counts for nothing. Source: libwebp, `WebPAnimDecoderGetNext`, which Pillow plays.

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};

use super::canvas::{Area, TRANSPARENT, blend_webp, fill, place};
use super::webp_chunks::{WebpStructure, read_structure, require_whole_webp};
use super::{Player, Timeline};
use crate::processor::still::{decode_still, flatten};
use crate::processor::{DecodeLimits, ImageError};

/// The structure of an animated WebP file.
#[derive(Debug)]
pub(in crate::processor) struct Webp {
    structure: WebpStructure,
}

impl Webp {
    /// Reads the structure; `None` for a still picture.
    ///
    /// # Errors
    /// [`ImageError::Truncated`], [`ImageError::Decode`].
    pub fn open(data: &[u8]) -> Result<Option<Self>, ImageError> {
        Ok(read_structure(require_whole_webp(data)?)?.map(|structure| Self { structure }))
    }

    /// Its frames and how long they last.
    pub fn timeline(&self) -> Timeline {
        self.structure.frames.iter().map(|frame| f64::from(frame.milliseconds)).collect()
    }

    /// Width and height of the canvas.
    pub fn size(&self) -> (u32, u32) {
        (self.structure.width, self.structure.height)
    }

    /// How the picture is to be turned, by its metadata.
    pub fn orientation(&self, data: &[u8]) -> Orientation {
        let exif = self.structure.exif.clone().and_then(|range| data.get(range));
        exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
    }

    /// Plays the frames of `data`, the file that was opened.
    ///
    /// # Errors
    /// Those of the limits, before anything is allocated.
    pub fn play<'a>(&'a self, data: &'a [u8], limits: &'a DecodeLimits) -> Result<WebpPlayer<'a>, ImageError> {
        let (width, height) = self.size();
        limits.check(width, height, u64::from(width) * u64::from(height) * 4)?;
        let canvas = RgbaImage::new(width, height);
        Ok(WebpPlayer { structure: &self.structure, data, limits, canvas, next: 0, was_key: false })
    }
}

/// Plays a WebP animation.
pub(in crate::processor) struct WebpPlayer<'a> {
    structure: &'a WebpStructure,
    data: &'a [u8],
    limits: &'a DecodeLimits,
    canvas: RgbaImage,
    next: usize,
    /// Whether the last frame was a key frame.
    was_key: bool,
}

impl WebpPlayer<'_> {
    /// The canvas with its alpha, or without where the file has none.
    pub fn picture(&self) -> DynamicImage {
        let canvas = DynamicImage::ImageRgba8(self.canvas.clone());
        if self.structure.alpha { canvas } else { DynamicImage::ImageRgb8(canvas.into_rgb8()) }
    }
}

impl Player for WebpPlayer<'_> {
    fn advance(&mut self) -> Result<bool, ImageError> {
        let WebpStructure { width, height, frames, .. } = self.structure;
        let Some(frame) = frames.get(self.next) else { return Ok(false) };
        let (decoded, _) = decode_still(&frame.wrap(self.data), ImageFormat::WebP, self.limits)?;
        let decoded = decoded.into_rgba8();
        let area = Area { width: decoded.width(), height: decoded.height(), ..frame.area };
        debug_assert_eq!(area, frame.area);

        let before = self.next.checked_sub(1).map(|index| &frames[index]);
        let cleared = before.filter(|before| before.clear).map(|before| before.area);
        let key = (area.covers(*width, *height) && !(frame.alpha && frame.blend))
            || before.is_none()
            || cleared.is_some_and(|area| area.covers(*width, *height) || self.was_key);
        if key {
            self.canvas.fill(0);
        } else if let Some(area) = cleared {
            fill(&mut self.canvas, area, TRANSPARENT);
        }
        let blend = frame.blend && !key;
        place(&mut self.canvas, &decoded, area, |x, y, over, under| {
            let blended = blend && !cleared.is_some_and(|area| area.contains(x, y));
            if blended { blend_webp(over, under) } else { over }
        });
        (self.next, self.was_key) = (self.next + 1, key);
        Ok(true)
    }

    fn show(&self) -> RgbImage {
        flatten(self.picture())
    }
}
