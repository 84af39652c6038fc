//! How many tokens a picture or video will have, without decoding it.
//!
//! Of a picture the header is read, of a video the number of frames and the first frame.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat, ImageReader};

use super::file::require_file;
use super::format::{HEAD, recognise};
use super::guard::guard_decoder;
use super::location::{Location, locate};
use super::size::choose_size;
use super::video::{FrameFitter, OpenVideo};
use super::{
    DecodeLimits, Grid, ImageError, ImageOptions, ImageProcessor, ImageSource, VideoOptions, VideoSource,
    compute_timestamps,
};

/// A picture as its header announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasuredImage {
    /// Height in pixels, turned as its EXIF says.
    pub height: usize,
    /// Width in pixels, turned as its EXIF says.
    pub width: usize,
    /// Its grid in patches, once it is processed.
    pub grid: Grid,
}

/// A video as its container and first frame announce it.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredVideo {
    /// Its grid in patches, once it is processed.
    pub grid: Grid,
    /// When each temporal patch happens, in seconds.
    pub timestamps: Vec<f64>,
}

impl ImageProcessor {
    /// Tells what [`Self::process_source`] will make of a picture whose data are sound.
    ///
    /// # Errors
    /// As there, but for damage behind the header.
    pub fn measure_source(&self, source: &ImageSource, options: &ImageOptions) -> Result<MeasuredImage, ImageError> {
        let config = options.apply(self.picture_config())?;
        let measure = || {
            let (height, width) = measure_picture(source, &self.opening().pictures)?;
            let (h, w) = choose_size(&config, height, width)?;
            let grid = Grid { t: 1, h: h / config.patch_size, w: w / config.patch_size };
            Ok(MeasuredImage { height, width, grid })
        };
        measure().map_err(|error: ImageError| match source.path() {
            Some(path) => error.at(&path),
            None => error,
        })
    }

    /// Tells what [`Self::process_video_source`] will make of a video whose data are sound. A file whose container
    /// announces more frames than it has may become shorter.
    ///
    /// # Errors
    /// As there, but for damage behind the first frame.
    pub fn measure_video_source(
        &self,
        source: &VideoSource,
        options: &VideoOptions,
    ) -> Result<MeasuredVideo, ImageError> {
        let measure = || {
            let config = options.apply(self.video_config())?;
            let video = OpenVideo::open(source, self.opening())?;
            let sampled = self.sample_video(&video, matches!(source, VideoSource::List(_)), options, &config)?;
            let count = sampled.indices.len();
            let mut fitter = FrameFitter::new(&config.frames, &self.opening().limits, sampled.pixels, count)?;
            let first = &sampled.indices[..count.min(1)];
            video.read(first, &mut |frame| fitter.push(frame))?;
            let (height, width) = fitter.target()?;
            let patch = config.frames.patch_size;
            let t = count.div_ceil(config.frames.temporal_patch_size);
            let happened = options.frames_indices.as_deref().unwrap_or(&sampled.indices);
            let timestamps = compute_timestamps(happened, sampled.fps, config.frames.temporal_patch_size)?;
            Ok(MeasuredVideo { grid: Grid { t, h: height / patch, w: width / patch }, timestamps })
        };
        measure().map_err(|error: ImageError| match source.path() {
            Some(path) => error.at(&path),
            None => error,
        })
    }
}

/// Height and width of a picture, turned as its EXIF says.
fn measure_picture(source: &ImageSource, limits: &DecodeLimits) -> Result<(usize, usize), ImageError> {
    match source {
        ImageSource::Picture(picture) => {
            limits.check(picture.width(), picture.height(), picture.as_raw().len() as u64)?;
            Ok((picture.height() as usize, picture.width() as usize))
        }
        ImageSource::Bytes(data) => measure_bytes(data, limits),
        ImageSource::Path(path) => measure_path(path, limits),
        ImageSource::Location(text) => match locate(text)? {
            Location::Path(path) => measure_path(&path, limits),
            Location::Data(data) => measure_bytes(&data, limits),
        },
    }
}

fn measure_path(path: &Path, limits: &DecodeLimits) -> Result<(usize, usize), ImageError> {
    let failed = |source| ImageError::Read { path: path.to_owned(), source };
    let (bytes, max_bytes) = (require_file(path)?.len(), limits.max_file_bytes);
    if bytes > max_bytes {
        return Err(ImageError::FileTooLarge { path: path.to_owned(), bytes, max_bytes });
    }
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let head = file.fill_buf().map_err(failed)?;
    let format = recognise(&head[..head.len().min(HEAD)], bytes)?;
    measure_header(file, format, limits)
}

fn measure_bytes(data: &[u8], limits: &DecodeLimits) -> Result<(usize, usize), ImageError> {
    measure_header(Cursor::new(data), recognise(data, data.len() as u64)?, limits)
}

fn measure_header(
    reader: impl BufRead + Seek,
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<(usize, usize), ImageError> {
    let mut reader = ImageReader::with_format(reader, format);
    let mut inner = image::Limits::no_limits();
    inner.max_alloc = Some(limits.max_bytes);
    reader.limits(inner);
    let mut decoder = guard_decoder(|| reader.into_decoder())?;
    let (width, height) = decoder.dimensions();
    limits.check(width, height, decoder.total_bytes())?;
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let orientation = guard_decoder(|| decoder.orientation()).unwrap_or(Orientation::NoTransforms);
    let turned = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let (height, width) = if turned { (width, height) } else { (height, width) };
    Ok((height as usize, width as usize))
}
