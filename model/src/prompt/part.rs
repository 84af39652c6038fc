//! Pictures and videos of a message.

use std::borrow::Cow;

use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};

use crate::processor::{ImageOptions, ImageSource, VideoOptions, VideoSource};

/// A picture of a message.
///
/// In JSON the options stand beside the source: `{"type": "image", "image": "cat.png", "max_pixels": 50176}`. Sources
/// in memory become `data:` URIs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePart {
    /// Where it is; `None` where whoever prepares the prompt supplies the processed picture.
    pub source: Option<ImageSource>,
    /// Limits of its own.
    pub options: ImageOptions,
}

/// A video of a message.
///
/// In JSON the options stand beside the source: `{"type": "video", "video": "cat.mp4", "fps": 1}`; a list of frames is
/// `"video": ["f0.png", "f1.png"]`. What HF's `video_metadata` says of the source is an option too. Sources in memory
/// become `data:` URIs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoPart {
    /// Where it is; `None` where whoever prepares the prompt supplies the processed video.
    pub source: Option<VideoSource>,
    /// Sampling and limits of its own.
    pub options: VideoOptions,
}

impl ImagePart {
    /// The same picture with these options.
    pub fn with_options(mut self, options: ImageOptions) -> Self {
        self.options = options;
        self
    }
}

impl VideoPart {
    /// The same video with these options.
    pub fn with_options(mut self, options: VideoOptions) -> Self {
        self.options = options;
        self
    }
}

impl<T: Into<ImageSource>> From<T> for ImagePart {
    fn from(source: T) -> Self {
        Self { source: Some(source.into()), options: ImageOptions::default() }
    }
}

impl<T: Into<VideoSource>> From<T> for VideoPart {
    fn from(source: T) -> Self {
        Self { source: Some(source.into()), options: VideoOptions::default() }
    }
}

impl Serialize for ImagePart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut part = serializer.serialize_map(None)?;
        part.serialize_entry("type", "image")?;
        if let Some(source) = &self.source {
            part.serialize_entry("image", &write_source(source)?)?;
        }
        write_options(&mut part, &self.options)?;
        part.end()
    }
}

impl Serialize for VideoPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut part = serializer.serialize_map(None)?;
        part.serialize_entry("type", "video")?;
        match &self.source {
            None => {}
            Some(VideoSource::List(frames)) => {
                let frames: Vec<_> = frames.iter().map(write_source).collect::<Result<_, S::Error>>()?;
                part.serialize_entry("video", &frames)?;
            }
            Some(VideoSource::Frames(frames)) => {
                let frames = frames.iter().map(|frame| write_source(&frame.clone().into()).map(Cow::into_owned));
                part.serialize_entry("video", &frames.collect::<Result<Vec<String>, S::Error>>()?)?;
            }
            // A file or its contents are written as a picture's are.
            Some(VideoSource::Location(text)) => part.serialize_entry("video", text)?,
            Some(VideoSource::Path(path)) => {
                part.serialize_entry("video", &write_source(&ImageSource::Path(path.clone()))?)?;
            }
            Some(VideoSource::Bytes(data)) => {
                part.serialize_entry("video", &write_source(&ImageSource::Bytes(data.clone()))?)?;
            }
        }
        write_options(&mut part, &self.options)?;
        part.end()
    }
}

fn write_source<E: serde::ser::Error>(source: &ImageSource) -> Result<Cow<'_, str>, E> {
    source.to_location().ok_or_else(|| E::custom(format!("{source:?} cannot be written as a string")))
}

/// Writes the entries of `options` into the map of a part.
fn write_options<M: SerializeMap>(part: &mut M, options: &impl Serialize) -> Result<(), M::Error> {
    let options = serde_json::to_value(options).map_err(M::Error::custom)?;
    for (name, value) in options.as_object().into_iter().flatten() {
        part.serialize_entry(name, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use serde_json::{Value, json};

    use super::*;

    fn video(value: Value) -> VideoPart {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn options_are_read_in_every_spelling() {
        let image: ImagePart =
            serde_json::from_value(json!({"image": "a", "min_pixels": "4096", "max_pixels": 50176.0})).unwrap();
        assert_eq!(image.options, ImageOptions { min_pixels: Some(4096), max_pixels: Some(50176) });
        let image: ImagePart = serde_json::from_value(json!({"type": "image", "base64": "Zm9v"})).unwrap();
        assert_eq!(image.source, Some("data:;base64,Zm9v".into()));

        let part = video(json!({"type": "video", "video": "a.mp4", "fps": "1.5", "min_frames": 4, "max_frames": 8,
            "min_pixels": 1, "max_pixels": 2, "total_pixels": 3, "raw_fps": null}));
        let options = VideoOptions { fps: Some(1.5), min_frames: Some(4), max_frames: Some(8), ..Default::default() };
        let options = VideoOptions { min_pixels: Some(1), max_pixels: Some(2), total_pixels: Some(3), ..options };
        assert_eq!(part, VideoPart::from("a.mp4").with_options(options));
        for name in ["nframes", "num_frames"] {
            assert_eq!(video(json!({"video": "a", name: 6})).options.num_frames, Some(6));
        }
        let part = video(json!({"video": ["f0.png", {"image": "f1.png"}], "sample_fps": "1"}));
        assert_eq!(part.source, Some(VideoSource::List(vec!["f0.png".into(), "f1.png".into()])));
        assert_eq!(part.options.sample_fps, Some(1.0));
        assert_eq!(video(json!({"type": "video_url", "video_url": {"url": "u"}})).source, Some("u".into()));
    }

    #[test]
    fn parts_survive_the_way_there_and_back() {
        let options =
            VideoOptions { fps: Some(0.5), do_sample_frames: Some(true), num_frames: Some(3), ..Default::default() };
        for part in [VideoPart::default(), "a.mp4".into(), vec![ImageSource::from("f0"), "f1".into()].into()] {
            let part: VideoPart = VideoPart { options: options.clone(), ..part };
            assert_eq!(video(serde_json::to_value(&part).unwrap()), part);
        }
        // Data becomes a URI of the same contents.
        let part = VideoPart::from(b"GIF89a".to_vec());
        assert_eq!(
            serde_json::to_value(&part).unwrap(),
            json!({"type": "video", "video": "data:image/gif;base64,R0lGODlh"})
        );
        let frames = vec![RgbImage::from_pixel(2, 1, image::Rgb([1, 2, 3])); 2];
        let Some(VideoSource::List(list)) =
            video(serde_json::to_value(VideoPart::from(frames.clone())).unwrap()).source
        else {
            panic!("a list")
        };
        for (frame, expected) in list.iter().zip(frames) {
            assert_eq!(*frame.decode(&Default::default()).unwrap(), expected);
        }
    }

    #[test]
    fn refuses_options_that_are_no_numbers() {
        for bad in [
            json!({"video": "a", "fps": "fast"}),
            json!({"video": "a", "fps": [1]}),
            json!({"video": "a", "num_frames": 1.5}),
            json!({"video": "a", "max_frames": -1}),
            json!({"video": "a", "nframes": 1, "num_frames": 2}),
            json!({"video": ["a", 5]}),
        ] {
            assert!(serde_json::from_value::<VideoPart>(bad.clone()).is_err(), "{bad}");
        }
        assert!(serde_json::from_value::<ImagePart>(json!({"image": "a", "max_pixels": "x"})).is_err());
    }
}
