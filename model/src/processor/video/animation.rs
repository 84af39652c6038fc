//! Animated GIF and WebP.

use std::io::Cursor;
use std::sync::Arc;

use image::codecs::{gif::GifDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageFormat, RgbImage};

use super::timeline::{Timeline, scan_gif, scan_webp};
use super::{VideoError, VideoLimits};
use crate::processor::decode::flatten;
use crate::processor::guard::guard_decoder;
use crate::processor::{DecodeLimits, ImageError};

/// An animation in memory, its structure read.
pub(super) struct Animation {
    data: Arc<[u8]>,
    format: ImageFormat,
    timeline: Timeline,
}

impl Animation {
    /// Reads the structure of an animation; `None` for what is no GIF and no animated WebP.
    pub fn open(data: &Arc<[u8]>) -> Option<Self> {
        let (format, timeline) = match image::guess_format(data) {
            Ok(ImageFormat::Gif) => (ImageFormat::Gif, scan_gif(data)),
            Ok(ImageFormat::WebP) => (ImageFormat::WebP, scan_webp(data)),
            _ => return None,
        };
        // A GIF without frames is refused as a video; a WebP without is a still picture.
        let animated = timeline.frames > 0 || format == ImageFormat::Gif;
        animated.then(|| Self { data: data.clone(), format, timeline })
    }

    /// Its frames and their rate.
    pub fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// Decodes to the last of the frames at `indices` (in order) and hands those to `sink`, transparent pixels blended
    /// with white.
    ///
    /// # Errors
    /// [`ImageError::Decode`], [`VideoError::FrameCount`], those of the limits, and those of `sink`.
    pub fn read(
        &self,
        indices: &[usize],
        limits: (&DecodeLimits, &VideoLimits),
        sink: &mut dyn FnMut(&RgbImage) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut wanted = indices.iter().peekable();
        let mut frames = self.decode(limits)?;
        for index in 0.. {
            if wanted.peek().is_none() {
                break;
            }
            let Some(frame) = guard_decoder(|| frames.next().transpose())? else { break };
            if wanted.next_if(|&&next| next == index).is_some() {
                sink(&flatten(DynamicImage::ImageRgba8(frame.into_buffer())))?;
            }
        }
        match wanted.count() {
            0 => Ok(()),
            missing => Err(VideoError::FrameCount { expected: indices.len(), found: indices.len() - missing }.into()),
        }
    }

    fn decode(&self, (limits, video): (&DecodeLimits, &VideoLimits)) -> Result<Frames<'_>, ImageError> {
        let data = Cursor::new(&self.data[..]);
        let check = |decoder: &dyn ImageDecoder| {
            let (width, height) = decoder.dimensions();
            video.check_frame(height.into(), width.into())?;
            limits.check(width, height, decoder.total_bytes())
        };
        match self.format {
            ImageFormat::Gif => {
                let mut decoder = guard_decoder(|| GifDecoder::new(data))?;
                check(&decoder)?;
                let mut inner = image::Limits::no_limits();
                inner.max_alloc = Some(limits.max_bytes);
                decoder.set_limits(inner).map_err(ImageError::Decode)?;
                Ok(decoder.into_frames())
            }
            _ => {
                let decoder = guard_decoder(|| WebPDecoder::new(data))?;
                check(&decoder)?;
                Ok(decoder.into_frames())
            }
        }
    }
}
