//! What the strings in messages name: a path, a `file://` URL, or data inside the string.
//!
//! | string | names |
//! | --- | --- |
//! | `pictures/cat.png` | a path |
//! | `file:///photos/my%20cat.png` | a path, percent-encoded (RFC 8089) |
//! | `data:image/png;base64,iVBOR..` | the data itself (RFC 2397) |
//! | `https://..` | nothing here: this crate opens no connection |

use std::path::PathBuf;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

/// Characters of a string that an error repeats.
const SHOWN: usize = 60;

/// The standard alphabet; the padding may be missing, since senders disagree about it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a string names no picture or video.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocationError {
    /// The string is empty.
    #[error("the source of a picture or video is an empty string")]
    Empty,
    /// Something on the network.
    #[error("{url} is on the network: download it first and give its path")]
    Remote {
        /// The beginning of the address.
        url: String,
    },
    /// An address of a kind that names no file.
    #[error("{url}: expected a path, file:// or data:, found the scheme `{scheme}`")]
    Scheme {
        /// The beginning of the address.
        url: String,
        /// What stands before `://`.
        scheme: String,
    },
    /// A `file://` address of another machine.
    #[error("{url}: the file is on the host `{host}`, only this one can be read (file:///path)")]
    Host {
        /// The beginning of the address.
        url: String,
        /// The host.
        host: String,
    },
    /// A `%` that no two hexadecimal digits follow, or bytes that are no UTF-8 where a path is expected.
    #[error("{url}: wrong percent-encoding at byte {position}")]
    Percent {
        /// The beginning of the address.
        url: String,
        /// Where, in bytes of what is encoded.
        position: usize,
    },
    /// A `data:` URI without the comma that ends its head.
    #[error("{uri}: a data URI needs a comma before its data")]
    DataUri {
        /// The beginning of the URI.
        uri: String,
    },
    /// A `data:` URI of something else.
    #[error("a data URI of type `{found}` is neither a picture nor a video")]
    MediaType {
        /// The type that it announces.
        found: String,
    },
    /// Characters that are no base64.
    #[error("{length} characters are no base64: {source}")]
    Base64 {
        /// Characters of the data.
        length: usize,
        /// Where, and what is wrong.
        source: base64::DecodeError,
    },
}

impl LocationError {
    /// Whether the error repeats the address that it is about.
    pub(super) fn names_source(&self) -> bool {
        use LocationError::{Base64, DataUri, Empty, MediaType};
        !matches!(self, Empty | DataUri { .. } | MediaType { .. } | Base64 { .. })
    }
}

/// What a string names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A file or folder.
    Path(PathBuf),
    /// A file's contents.
    Data(Vec<u8>),
}

/// Tells what `text` names; nothing is opened.
pub(super) fn locate(text: &str) -> Result<Location, LocationError> {
    if text.is_empty() {
        return Err(LocationError::Empty);
    }
    if let Some(rest) = strip_prefix(text, "data:") {
        return read_data_uri(text, rest).map(Location::Data);
    }
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return Ok(Location::Path(PathBuf::from(text)));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => read_file_url(text, rest).map(Location::Path),
        "http" | "https" => Err(LocationError::Remote { url: shorten(text) }),
        scheme => Err(LocationError::Scheme { url: shorten(text), scheme: scheme.to_owned() }),
    }
}

/// The path that `text` names, if it names one; data are not decoded.
pub(super) fn locate_path(text: &str) -> Option<PathBuf> {
    if strip_prefix(text, "data:").is_some() {
        return None;
    }
    match locate(text) {
        Ok(Location::Path(path)) => Some(path),
        _ => None,
    }
}

/// Decodes base64; line breaks and blanks don't count.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, LocationError> {
    let refuse = |source| LocationError::Base64 { length: text.len(), source };
    if !text.contains(|c: char| c.is_ascii_whitespace()) {
        return BASE64.decode(text).map_err(refuse);
    }
    let dense: String = text.split_ascii_whitespace().collect();
    BASE64.decode(dense).map_err(refuse)
}

/// A `data:` URI with the contents of a file.
pub(super) fn write_data_uri(media_type: &str, data: &[u8]) -> String {
    format!("data:{media_type};base64,{}", BASE64.encode(data))
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// A letter, then letters, digits, `+`, `-` and `.` (RFC 3986): at least two, so that `C:` stays a path.
fn is_scheme(scheme: &str) -> bool {
    let tail = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    scheme.len() > 1 && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(tail)
}

fn read_file_url(url: &str, rest: &str) -> Result<PathBuf, LocationError> {
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
        return Err(LocationError::Host { url: shorten(url), host: host.to_owned() });
    }
    if path.is_empty() {
        return Err(LocationError::Empty);
    }
    let bytes = decode_percent(url, path)?;
    let path = String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        LocationError::Percent { url: shorten(url), position }
    })?;
    // file:///C:/cat.png is C:/cat.png.
    let drive = cfg!(windows) && path.as_bytes().get(2) == Some(&b':');
    Ok(PathBuf::from(if drive { &path[1..] } else { &path }))
}

fn read_data_uri(uri: &str, rest: &str) -> Result<Vec<u8>, LocationError> {
    let (head, data) = rest.split_once(',').ok_or_else(|| LocationError::DataUri { uri: shorten(uri) })?;
    let mut parameters = head.split(';').map(str::trim);
    let kind = parameters.next().unwrap_or_default().to_ascii_lowercase();
    let fits = kind.is_empty()
        || kind == "application/octet-stream"
        || kind.starts_with("image/")
        || kind.starts_with("video/");
    if !fits {
        return Err(LocationError::MediaType { found: shorten(&kind) });
    }
    let base64 = parameters.any(|parameter| parameter.eq_ignore_ascii_case("base64"));
    match (base64, data.contains('%')) {
        (true, false) => decode_base64(data),
        (false, _) => decode_percent(uri, data),
        (true, true) => {
            // Base64 is ASCII: other bytes become U+FFFD and are refused there.
            let bytes = decode_percent(uri, data)?;
            decode_base64(&String::from_utf8_lossy(&bytes))
        }
    }
}

fn decode_percent(url: &str, text: &str) -> Result<Vec<u8>, LocationError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = tail;
            continue;
        }
        let digit = |at: usize| tail.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(LocationError::Percent { url: shorten(url), position: text.len() - rest.len() });
        };
        bytes.push((high * 16 + low) as u8);
        rest = &tail[2..];
    }
    Ok(bytes)
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_paths() {
        for path in ["cat.png", "/a b/c%20d.png", "C:\\cat.png", "-i", "a:b", "http.png", "x/://y"] {
            assert_eq!(locate(path), Ok(Location::Path(PathBuf::from(path))), "{path}");
        }
        let file = |url: &str| locate(url).unwrap();
        assert_eq!(file("file:///a%20b/%C3%A4.png"), Location::Path(PathBuf::from("/a b/ä.png")));
        assert_eq!(file("FILE://localhost/x"), Location::Path(PathBuf::from("/x")));
    }

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn base64_decodes_as_the_standard_says() {
        for (text, bytes) in [("Zg==", "f"), ("Zg", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\r\nYmFy ", "foobar")]
        {
            assert_eq!(decode_base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(locate("data:image/png;base64,Zm9v"), Ok(Location::Data(b"foo".to_vec())));
        assert_eq!(locate("data:;base64,Zm8%3D"), Ok(Location::Data(b"fo".to_vec())));
        assert_eq!(locate("data:image/bmp,BM%00a"), Ok(Location::Data(b"BM\0a".to_vec())));
        assert_eq!(locate(&write_data_uri("video/mp4", b"foobar")), Ok(Location::Data(b"foobar".to_vec())));
    }

    #[test]
    fn refuses_what_names_nothing() {
        let refuse = |text: &str| locate(text).unwrap_err();
        assert_eq!(refuse(""), LocationError::Empty);
        assert_eq!(refuse("file://"), LocationError::Empty);
        for url in ["http://a/b.png", "HTTPS://a"] {
            assert_eq!(refuse(url), LocationError::Remote { url: url.to_owned() });
        }
        assert!(matches!(refuse("s3://a/b"), LocationError::Scheme { scheme, .. } if scheme == "s3"));
        assert!(matches!(refuse("concat://a"), LocationError::Scheme { .. }));
        assert!(matches!(refuse("file://server/x"), LocationError::Host { host, .. } if host == "server"));
        assert!(matches!(refuse("file:///a%2"), LocationError::Percent { position: 2, .. }));
        assert!(matches!(refuse("file:///a%FFb"), LocationError::Percent { position: 2, .. }));
        assert!(matches!(refuse("data:image/png;base64"), LocationError::DataUri { .. }));
        assert!(matches!(refuse("data:text/html,x"), LocationError::MediaType { found } if found == "text/html"));
        assert!(matches!(refuse("data:image/png;base64,Zm9*"), LocationError::Base64 { length: 4, .. }));
        assert!(matches!(refuse("data:image/png;base64,Zm9vY"), LocationError::Base64 { length: 5, .. }));
        assert!(matches!(refuse("data:;base64,%FF"), LocationError::Base64 { .. }));
        // A long string is shown by its beginning.
        assert!(refuse(&format!("https://{}", "x".repeat(1000))).to_string().len() < 200);
    }
}
