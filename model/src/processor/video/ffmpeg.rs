//! Video files through an installed FFmpeg, as two child processes.
//!
//! 1. `ffprobe` tells size, rotation, frame rate and the number of frames: packets are counted, which reads the file
//!    without decoding it. Where that count proves too high (packets that show nothing), decoded frames are counted.
//! 2. `ffmpeg` decodes, drops all but the sampled frames, applies the rotation, and pipes the rest as rgb24
//!    ([`super::ppm`]).
//!
//! The file may come from anyone. Its name is passed as `file:` and an absolute path, so that it is no option and no
//! protocol; only the `file` protocol and demuxers of single files are allowed, so that a playlist inside cannot name
//! other files or addresses.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::RgbImage;
use serde_json::Value;

use super::child::Child;
use super::ppm::{read_head, read_pixels};
use super::{VideoError, VideoLimits};
use crate::processor::{ImageError, MAX_SOURCE_FPS};

/// Demuxers that read one file and nothing else, by FFmpeg's names.
const DEMUXERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpegtsraw,mpeg,mpegvideo,asf,ogg,m4v,h264,hevc,av1,\
                        obu,ivf,mxf,nut,wtv,dv,rm,gxf,gif,apng,yuv4mpegpipe,y4m";
/// Most bytes of what `ffprobe` tells.
const MAX_PROBE: u64 = 1 << 20;
/// Most frames that are named one by one on the command line (32 KiB on Windows); beyond, all frames are piped and
/// dropped here.
const MAX_SELECTED: usize = 1_000;

/// Where FFmpeg's programs are and how long they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTools {
    /// The program `ffmpeg`; a name alone is looked up in `PATH`.
    pub ffmpeg: PathBuf,
    /// The program `ffprobe`; a name alone is looked up in `PATH`.
    pub ffprobe: PathBuf,
    /// Longest run of each of them on a video; then it is killed.
    pub timeout: Duration,
}

impl Default for VideoTools {
    /// `ffmpeg` and `ffprobe` from `PATH`, ten minutes.
    fn default() -> Self {
        Self { ffmpeg: "ffmpeg".into(), ffprobe: "ffprobe".into(), timeout: Duration::from_secs(600) }
    }
}

/// A video file that has been probed.
pub(super) struct Container {
    path: PathBuf,
    tools: VideoTools,
    pub frames: usize,
    pub fps: Option<f64>,
    /// Whether frames were counted by decoding them.
    exact: bool,
}

impl Container {
    /// Probes the file at `path`.
    ///
    /// # Errors
    /// [`VideoError`] of the tools, [`VideoError::NoStream`], and those of the limits.
    pub fn open(path: &Path, tools: &VideoTools, limits: &VideoLimits) -> Result<Self, ImageError> {
        let path = std::path::absolute(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
        let mut container = Self { path, tools: tools.clone(), frames: 0, fps: None, exact: false };
        container.probe("-count_packets", "nb_read_packets", limits)?;
        Ok(container)
    }

    /// Counts again, exactly; returns whether that may help.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn recount(&mut self, limits: &VideoLimits) -> Result<bool, ImageError> {
        if self.exact {
            return Ok(false);
        }
        self.exact = true;
        self.probe("-count_frames", "nb_read_frames", limits)?;
        Ok(true)
    }

    fn probe(&mut self, count: &str, counted: &'static str, limits: &VideoLimits) -> Result<(), ImageError> {
        let entries = format!(
            "stream=width,height,avg_frame_rate,r_frame_rate,{counted}:stream_tags=rotate:stream_side_data=rotation"
        );
        let mut arguments: Vec<OsString> = ["-v", "error", "-select_streams", "V:0", count, "-show_entries", &entries]
            .map(OsString::from)
            .into_iter()
            .chain(["-of", "json"].map(OsString::from))
            .collect();
        arguments.extend(self.name_input());
        let mut child = Child::start(&self.tools.ffprobe, arguments, &self.path, self.tools.timeout)?;
        let mut text = Vec::new();
        if let Err(error) = (&mut child).take(MAX_PROBE).read_to_end(&mut text) {
            return Err(child.explain(error, "JSON").into());
        }
        let parsed: Result<Value, _> = serde_json::from_slice(&text);
        let refused = child.refuse("JSON with the size, rate and number of frames", shorten(&text));
        if text.len() as u64 == MAX_PROBE {
            return Err(refused.into());
        }
        child.finish()?;
        let stream = parsed.map_err(|_| refused)?;
        let stream = match &stream["streams"] {
            Value::Array(streams) if !streams.is_empty() => &streams[0],
            _ => return Err(VideoError::NoStream { path: self.path.clone() }.into()),
        };
        let side = |name: &str| stream[name].as_u64().unwrap_or(0);
        limits.check_frame(side("height"), side("width"))?;
        // Numbers come as strings; a stream without a packet has none.
        self.frames = stream[counted].as_str().and_then(|count| count.parse().ok()).unwrap_or(0);
        self.fps = read_rate(&stream["avg_frame_rate"]).or_else(|| read_rate(&stream["r_frame_rate"]));
        match self.fps {
            Some(fps) if fps > MAX_SOURCE_FPS => Err(ImageError::FrameRate { fps }),
            _ => Ok(()),
        }
    }

    /// Decodes the frames at `indices` (in order) and hands them to `sink`.
    ///
    /// # Errors
    /// [`VideoError`] of the tools, [`VideoError::FrameCount`], those of the limits, and those of `sink`.
    pub fn read(
        &self,
        indices: &[usize],
        limits: &VideoLimits,
        sink: &mut dyn FnMut(&RgbImage) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let selected = indices.len() <= MAX_SELECTED;
        let mut child =
            Child::start(&self.tools.ffmpeg, self.name_frames(indices, selected), &self.path, self.tools.timeout)?;
        let mut wanted = indices.iter().enumerate().map(|(at, &index)| if selected { at } else { index }).peekable();
        let mut at = 0;
        while wanted.peek().is_some() {
            let (height, width) = match read_head(&mut child) {
                Ok(Some(size)) => size,
                Ok(None) => break,
                Err(error) => return Err(child.explain(error, "frames in PPM").into()),
            };
            limits.check_frame(height, width)?;
            // Checked: the product is below 2^32 or the limits were raised past what a picture can be.
            let (Ok(rows), Ok(columns)) = (u32::try_from(height), u32::try_from(width)) else {
                let max_pixels = limits.max_frame_pixels;
                return Err(VideoError::FrameTooLarge { height, width, max_pixels }.into());
            };
            let frame = match read_pixels(&mut child, rows, columns) {
                Ok(frame) => frame,
                Err(error) => return Err(child.explain(error, "whole frames").into()),
            };
            if wanted.next_if_eq(&at).is_some() {
                sink(&frame)?;
            }
            at += 1;
        }
        match wanted.count() {
            // What it still has to say doesn't matter: dropping it ends it.
            0 => Ok(()),
            missing => {
                child.finish()?;
                Err(VideoError::FrameCount { expected: indices.len(), found: indices.len() - missing }.into())
            }
        }
    }

    fn name_frames(&self, indices: &[usize], selected: bool) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = ["-nostdin", "-hide_banner", "-v", "error"].map(OsString::from).into();
        arguments.extend(self.name_input());
        // A constant rate of our own: FFmpeg repeats and drops frames to keep the file's.
        let mut filters = "settb=1/25,setpts=N".to_owned();
        if selected {
            filters = format!("select='{}',{filters}", write_choice(indices));
        }
        let last = if selected { indices.len() } else { indices.last().map_or(0, |last| last + 1) }.to_string();
        let output = ["-map", "0:V:0", "-an", "-sn", "-dn", "-vf", &filters, "-r", "25", "-frames:v", &last];
        arguments.extend(output.map(OsString::from));
        arguments.extend(["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"].map(OsString::from));
        arguments
    }

    fn name_input(&self) -> Vec<OsString> {
        let mut name = OsString::from("file:");
        name.push(&self.path);
        let mut arguments: Vec<OsString> =
            ["-protocol_whitelist", "file", "-format_whitelist", DEMUXERS, "-i"].map(OsString::from).into();
        arguments.push(name);
        arguments
    }
}

/// FFmpeg's expression for "frame `n` is one of these": a balanced tree of sums, since FFmpeg refuses chains of about a
/// hundred.
fn write_choice(indices: &[usize]) -> String {
    match indices {
        [] => "0".to_owned(),
        [index] => format!("eq(n,{index})"),
        _ => {
            let (low, high) = indices.split_at(indices.len() / 2);
            format!("({}+{})", write_choice(low), write_choice(high))
        }
    }
}

/// `30000/1001`; `0/0` where it is unknown.
fn read_rate(value: &Value) -> Option<f64> {
    let (numerator, denominator) = value.as_str()?.split_once('/')?;
    let fps = numerator.parse::<f64>().ok()? / denominator.parse::<f64>().ok()?;
    (fps.is_finite() && fps > 0.0).then_some(fps)
}

fn shorten(text: &[u8]) -> String {
    format!("{:.200}", String::from_utf8_lossy(text))
}
