//! Articles of the kinds of files that errors name.

/// `an` where the name is spoken with a vowel first.
pub(super) fn find_article(name: &str) -> &'static str {
    let spoken = ["AVIF", "AVI", "ICO", "MPEG", "MP4", "SVG", "HTML", "OpenEXR"];
    if spoken.iter().any(|head| name.starts_with(head)) { "an" } else { "a" }
}
