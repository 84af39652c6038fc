//! `center`, `ljust`, `rjust` and `zfill` of texts, and `rsplit`.

use minijinja::Error;

use super::super::bounded_text::BoundedText;

/// Where a text stands in a wider one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::prompt) enum Side {
    Left,
    Right,
    Center,
}

/// The text with `fill` beside it, `width` characters wide, in `limit` bytes at most.
pub(in crate::prompt) fn pad(text: &str, width: i128, fill: char, side: Side, limit: usize) -> Result<String, Error> {
    let own = text.chars().count();
    let missing = usize::try_from(width.max(0)).unwrap_or(usize::MAX).saturating_sub(own);
    let left = match side {
        Side::Left => 0,
        Side::Right => missing,
        // Of an odd number, Python gives the left the larger half where the width is odd.
        Side::Center => missing / 2 + (missing & missing.saturating_add(own) & 1),
    };
    let mut out = BoundedText::new(limit);
    let fill = fill.to_string();
    out.repeat(&fill, left)?;
    out.push(text)?;
    out.repeat(&fill, missing - left)?;
    Ok(out.finish())
}

/// Zeros before the text and behind its sign.
pub(in crate::prompt) fn fill_zeros(text: &str, width: i128, limit: usize) -> Result<String, Error> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = &text[..text.len() - digits.len()];
    let mut out = BoundedText::new(limit);
    out.push(sign)?;
    out.push(&pad(digits, width.saturating_sub(sign.len() as i128), '0', Side::Right, limit)?)?;
    Ok(out.finish())
}

/// The parts between `separator`, or between runs of white space, of which the last `most` are cut off.
pub(in crate::prompt) fn split_right<'a>(text: &'a str, separator: Option<&str>, most: Option<usize>) -> Vec<&'a str> {
    let most = most.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    match separator {
        Some(separator) => {
            let mut rest = text;
            while let Some(at) = rest.rfind(separator).filter(|_| parts.len() < most) {
                parts.push(&rest[at + separator.len()..]);
                rest = &rest[..at];
            }
            parts.push(rest);
        }
        None => {
            let mut rest = text.trim_end();
            while let Some(at) = rest.rfind(char::is_whitespace).filter(|_| parts.len() < most) {
                parts.push(rest[at..].trim_start());
                rest = rest[..at].trim_end();
            }
            // What is left keeps its own white space where it is not cut any more.
            if parts.len() < most {
                rest = rest.trim_start();
            }
            if !rest.trim_start().is_empty() {
                parts.push(rest);
            }
        }
    }
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python 3.11 has them.
    #[test]
    fn texts_are_split_from_the_right() {
        for (text, separator, most, expected) in [
            ("a,b,c", Some(","), None, &["a", "b", "c"][..]),
            ("a,b,c", Some(","), Some(1), &["a,b", "c"]),
            ("a,b,c", Some(","), Some(0), &["a,b,c"]),
            ("", Some(","), None, &[""]),
            ("aaa", Some("aa"), None, &["a", ""]),
            (" a  b ", None, None, &["a", "b"]),
            (" a  b ", None, Some(1), &[" a", "b"]),
            (" a  b ", None, Some(0), &[" a  b"]),
            ("  ", None, None, &[]),
            (" ab", None, Some(1), &["ab"]),
        ] {
            assert_eq!(split_right(text, separator, most), expected, "{text:?} {separator:?} {most:?}");
        }
    }
}
