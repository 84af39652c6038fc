//! Keeps panics of decoders from the caller.

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::error::{DecodingError, ImageFormatHint, ImageResult};

use super::ImageError;

/// Runs a decoder. One that panics on a damaged file (as JPEG's does in zune-jpeg 0.5.15, where a component is sampled
/// more finely than the first) gives [`ImageError::Decode`] like one that refuses it. Where panics abort, nothing can
/// be done.
pub(super) fn guard_decoder<T>(decode: impl FnOnce() -> ImageResult<T>) -> Result<T, ImageError> {
    let outcome = catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let reason = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let error = DecodingError::new(ImageFormatHint::Unknown, format!("the decoder panicked: {reason}"));
        Err(image::ImageError::Decoding(error))
    });
    outcome.map_err(ImageError::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = guard_decoder(|| -> ImageResult<()> { panic!("at row {}", 3) }).unwrap_err();
        assert!(error.to_string().contains("the decoder panicked: at row 3"), "{error}");
        assert_eq!(guard_decoder(|| Ok(5)).unwrap(), 5);
    }
}
