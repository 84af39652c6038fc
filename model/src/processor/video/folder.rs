//! A folder of frames, in the order that a person would give them.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use super::VideoError;
use crate::processor::ImageError;

/// Ends of file names that count as frames.
const PICTURES: [&str; 6] = ["png", "jpg", "jpeg", "webp", "gif", "bmp"];

/// Lists the pictures of a folder in natural order; hidden files don't count.
///
/// # Errors
/// [`ImageError::Read`] for a folder that cannot be read, [`VideoError::EmptyFolder`].
pub(super) fn list_frames(folder: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let failed = |source| ImageError::Read { path: folder.to_owned(), source };
    let mut frames = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        if !hidden && PICTURES.iter().any(|known| end.eq_ignore_ascii_case(known)) && !path.is_dir() {
            frames.push(path);
        }
    }
    if frames.is_empty() {
        return Err(VideoError::EmptyFolder { path: folder.to_owned() }.into());
    }
    frames.sort_by(|a, b| compare_names(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(frames)
}

/// Natural order: runs of digits compare as numbers, so that `frame2` comes before `frame10`; equal ones (`01` and `1`)
/// compare as text.
fn compare_names(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    while let (Some(&p), Some(&q)) = (x.first(), y.first()) {
        let order = if p.is_ascii_digit() && q.is_ascii_digit() {
            compare_numbers(take_number(&mut x), take_number(&mut y))
        } else {
            (x, y) = (&x[1..], &y[1..]);
            p.cmp(&q)
        };
        if order.is_ne() {
            return order;
        }
    }
    x.len().cmp(&y.len()).then_with(|| a.cmp(b))
}

/// Takes the digits at the start, without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    &digits[digits.iter().take_while(|&&digit| digit == b'0').count()..]
}

/// Numbers of any length: the longer one is larger.
fn compare_numbers(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let ordered = [
            "a.png",
            "frame1.png",
            "frame01b.png",
            "frame2-3.png",
            "frame2-12.png",
            "frame2.png",
            "frame010.png",
            "frame10.png",
            "frame99999999999999999999999.png",
            "frame100000000000000000000000.png",
            "g1.png",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare_names(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare_names(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare_names("x1", "x1"), Ordering::Equal);
    }
}
