//! Animated GIF, WebP and PNG as videos.

use std::sync::Arc;

use image::{ImageFormat, RgbImage};

use super::{VideoError, VideoLimits};
use crate::processor::animated::{Apng, Gif, Player, Timeline, Webp};
use crate::processor::{DecodeLimits, ImageError};

/// An animation in memory, its structure read.
pub(super) struct Animation {
    data: Arc<[u8]>,
    structure: Structure,
    timeline: Timeline,
    /// Whether the file ends early, so that its last frame may not be whole.
    cut: bool,
}

enum Structure {
    Gif,
    Webp(Webp),
    Apng(Apng),
}

impl Animation {
    /// Reads the structure of an animation; `None` for a still picture. A GIF is never one.
    ///
    /// # Errors
    /// [`ImageError::Decode`] for a structure that breaks the rules, [`ImageError::Truncated`] for a WebP file that
    /// ends early.
    pub fn open(data: &Arc<[u8]>) -> Result<Option<Self>, ImageError> {
        let (structure, timeline, cut) = match image::guess_format(data) {
            Ok(ImageFormat::Gif) => {
                let gif = Gif::open(data);
                (Structure::Gif, gif.timeline(), gif.is_cut())
            }
            Ok(ImageFormat::WebP) => {
                let Some(webp) = Webp::open(data)? else { return Ok(None) };
                let timeline = webp.timeline();
                (Structure::Webp(webp), timeline, false)
            }
            Ok(ImageFormat::Png) => {
                let Some(apng) = Apng::open(data)? else { return Ok(None) };
                let (timeline, cut) = (apng.timeline(), apng.is_cut());
                (Structure::Apng(apng), timeline, cut)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { data: data.clone(), structure, timeline, cut }))
    }

    /// Its frames and their rate.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Leaves out the last frame of a file that ends in it; returns whether there was one to leave out.
    pub fn recount(&mut self) -> bool {
        let last = self.cut && self.timeline.frames() > 1;
        if last {
            self.cut = false;
            self.timeline.drop_last();
            let (bytes, frames) = (self.data.len(), self.timeline.frames());
            tracing::warn!("an animation ends in a frame, after {bytes} bytes: {frames} whole ones are looked at");
        }
        last
    }

    /// Decodes to the last of the frames at `indices` (in order) and hands those to `sink`, transparent pixels blended
    /// with white.
    ///
    /// # Errors
    /// [`ImageError::Decode`], [`VideoError::FrameCount`] for a last frame that the file ends in, those of the limits,
    /// and those of `sink`.
    pub fn read(
        &self,
        indices: &[usize],
        limits: (&DecodeLimits, &VideoLimits),
        sink: &mut dyn FnMut(&RgbImage) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let mut wanted = indices.iter().peekable();
        let mut player = self.play(limits)?;
        for index in 0.. {
            if wanted.peek().is_none() {
                break;
            }
            match player.advance() {
                Ok(true) => {}
                Ok(false) => break,
                // The only frame is missed by its own error.
                Err(ImageError::Decode(_)) if self.cut && index > 0 && index + 1 == self.timeline.frames() => break,
                Err(error) => return Err(error),
            }
            if wanted.next_if(|&&next| next == index).is_some() {
                sink(&player.show())?;
            }
        }
        match wanted.count() {
            0 => {
                if self.cut {
                    let (bytes, frames) = (self.data.len(), self.timeline.frames());
                    tracing::warn!(
                        "an animation ends early, after {bytes} bytes, after frame {frames}; it may have been cut"
                    );
                }
                Ok(())
            }
            missing => Err(VideoError::FrameCount { expected: indices.len(), found: indices.len() - missing }.into()),
        }
    }

    fn play<'a>(
        &'a self,
        (limits, video): (&'a DecodeLimits, &VideoLimits),
    ) -> Result<Box<dyn Player + 'a>, ImageError> {
        let check = |(width, height): (u32, u32)| video.check_frame(height.into(), width.into());
        Ok(match &self.structure {
            Structure::Gif => {
                check(Gif::size(&self.data))?;
                Box::new(Gif::play(&self.data, limits)?)
            }
            Structure::Webp(webp) => {
                check(webp.size())?;
                Box::new(webp.play(&self.data, limits)?)
            }
            Structure::Apng(apng) => {
                check(apng.size())?;
                Box::new(apng.play(&self.data, limits)?)
            }
        })
    }
}
