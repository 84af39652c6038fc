//! Reads the JSON files of a checkpoint.

use serde::de::{DeserializeOwned, Error as _};

/// What a UTF-8 file may begin with; editors of Windows write it.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// The beginning of what Git leaves in place of a large file that was not fetched.
pub(crate) const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// What to do about it.
pub(crate) const FETCH_LFS: &str = "get the file itself: run `git lfs pull` in its folder, or download it";

/// Reads a JSON text, with or without a byte order mark.
///
/// # Errors
/// Serde's, and one that says so for a Git LFS pointer.
pub(crate) fn parse_json<T: DeserializeOwned>(text: impl AsRef<[u8]>) -> serde_json::Result<T> {
    let text = text.as_ref();
    let text = strip_mark(text);
    if text.starts_with(LFS_POINTER) {
        return Err(serde_json::Error::custom(format!("it is a Git LFS pointer: {FETCH_LFS}")));
    }
    serde_json::from_slice(text)
}

/// The text without its byte order mark.
pub(crate) fn strip_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_passed_over_and_pointers_are_named() {
        let read = |text: &[u8]| parse_json::<Vec<u8>>(text);
        assert_eq!(read(b"[1, 2]").unwrap(), [1, 2]);
        assert_eq!(read(b"\xEF\xBB\xBF[1, 2]").unwrap(), [1, 2]);
        assert!(read(b"[\xEF\xBB\xBF1]").is_err());
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";
        assert!(read(pointer).unwrap_err().to_string().contains("git lfs pull"));
    }
}
