//! Where a picture comes from.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use super::location::{Location, LocationError, decode_base64, locate, locate_path, write_data_uri};
use super::{DecodeLimits, ImageError, decode_bytes, decode_path};

/// Where a picture comes from. Copies share the data.
#[derive(Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A string as messages have it: a path, a `file://` URL or a `data:` URI. It is looked at when the picture is
    /// decoded.
    Location(String),
    /// A file.
    Path(PathBuf),
    /// The contents of a file.
    Bytes(Arc<[u8]>),
    /// Pixels.
    Picture(Arc<RgbImage>),
}

impl ImageSource {
    /// Tells what a string names: a path ([`Self::Path`]; also as `file://`) or data (`data:` URI; [`Self::Bytes`]).
    ///
    /// Nothing is opened.
    ///
    /// # Errors
    /// [`LocationError`]; `http://` and `https://` are [`LocationError::Remote`].
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        locate(text).map(|location| match location {
            Location::Path(path) => Self::Path(path),
            Location::Data(data) => Self::Bytes(data.into()),
        })
    }

    /// The contents of a file, written in base64 without the head of a `data:` URI.
    ///
    /// # Errors
    /// [`LocationError::Base64`].
    pub fn from_base64(text: &str) -> Result<Self, LocationError> {
        decode_base64(text).map(|data| Self::Bytes(data.into()))
    }

    /// Decodes the picture to 8-bit RGB; decoded pixels are lent.
    ///
    /// # Errors
    /// [`ImageError::Location`], and those of [`decode_path`] and [`decode_bytes`]. Decoded pixels are checked against
    /// `limits` too.
    pub fn decode(&self, limits: &DecodeLimits) -> Result<Cow<'_, RgbImage>, ImageError> {
        match self {
            Self::Location(text) => match locate(text)? {
                Location::Path(path) => decode_path(path, limits),
                Location::Data(data) => decode_bytes(&data, limits),
            },
            Self::Path(path) => decode_path(path, limits),
            Self::Bytes(data) => decode_bytes(data, limits),
            Self::Picture(picture) => {
                limits.check(picture.width(), picture.height(), picture.as_raw().len() as u64)?;
                return Ok(Cow::Borrowed(picture));
            }
        }
        .map(Cow::Owned)
    }

    /// The file, where it is one.
    pub(super) fn path(&self) -> Option<Cow<'_, Path>> {
        match self {
            Self::Path(path) => Some(Cow::Borrowed(path)),
            Self::Location(text) => locate_path(text).map(Cow::Owned),
            Self::Bytes(_) | Self::Picture(_) => None,
        }
    }

    /// The source as a string that messages can hold: data becomes a `data:` URI, pixels one of a PNG file. `None` for
    /// a path that is no Unicode, and for pixels that PNG cannot hold (none).
    pub fn to_location(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Location(text) => Some(Cow::Borrowed(text)),
            Self::Path(path) => path.to_str().map(Cow::Borrowed),
            Self::Bytes(data) => Some(Cow::Owned(write_data_uri(name_media_type(data), data))),
            Self::Picture(picture) => {
                let mut png = std::io::Cursor::new(Vec::new());
                picture.write_to(&mut png, image::ImageFormat::Png).ok()?;
                Some(Cow::Owned(write_data_uri("image/png", png.get_ref())))
            }
        }
    }
}

/// The media type of a file's contents.
pub(super) fn name_media_type(data: &[u8]) -> &'static str {
    image::guess_format(data).map_or("application/octet-stream", |format| format.to_mime_type())
}

impl fmt::Debug for ImageSource {
    /// Sizes in place of contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Location(text) => f.debug_tuple("Location").field(&format_args!("{text:.100}")).finish(),
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Bytes(data) => f.debug_tuple("Bytes").field(&format_args!("{} bytes", data.len())).finish(),
            Self::Picture(picture) => {
                let (width, height) = picture.dimensions();
                f.debug_tuple("Picture").field(&format_args!("{height} x {width}")).finish()
            }
        }
    }
}

impl From<&str> for ImageSource {
    fn from(text: &str) -> Self {
        Self::Location(text.to_owned())
    }
}

impl From<String> for ImageSource {
    fn from(text: String) -> Self {
        Self::Location(text)
    }
}

impl From<&Path> for ImageSource {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<PathBuf> for ImageSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<Vec<u8>> for ImageSource {
    fn from(data: Vec<u8>) -> Self {
        Self::Bytes(data.into())
    }
}

impl From<RgbImage> for ImageSource {
    fn from(picture: RgbImage) -> Self {
        Self::Picture(Arc::new(picture))
    }
}
