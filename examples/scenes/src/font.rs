//! Fonts in WOFF files, and written words as sprites.
//!
//! WOFF 1.0 (W3C, 2012): a header of 44 bytes, a directory with 20 bytes a table (tag, offset, stored length, length,
//! checksum), and the tables, compressed by zlib where that makes them shorter. The font that `ab_glyph` reads has
//! the same tables as they are, behind a header of 12 bytes and a directory with 16 bytes a table.

use std::io::Read;
use std::sync::OnceLock;

use ab_glyph::{Font as _, FontVec, PxScale, ScaleFont as _, point};

use crate::error::SceneError;
use crate::sprite::Sprite;

/// A font's tables have at most this many bytes together.
const LARGEST_FONT: usize = 1 << 20;
/// A font has at most this many tables.
const MOST_TABLES: usize = 64;

/// The fonts that come with this library, by the names of their files.
const EMBEDDED: [(&str, &[u8]); 9] = [
    ("baloo-2", include_bytes!("../../assets/scenes/fonts/baloo-2.woff")),
    ("bitter", include_bytes!("../../assets/scenes/fonts/bitter.woff")),
    ("comic-neue", include_bytes!("../../assets/scenes/fonts/comic-neue.woff")),
    ("courier-prime", include_bytes!("../../assets/scenes/fonts/courier-prime.woff")),
    ("fredoka", include_bytes!("../../assets/scenes/fonts/fredoka.woff")),
    ("oswald", include_bytes!("../../assets/scenes/fonts/oswald.woff")),
    ("patrick-hand", include_bytes!("../../assets/scenes/fonts/patrick-hand.woff")),
    ("roboto-mono", include_bytes!("../../assets/scenes/fonts/roboto-mono.woff")),
    ("roboto-slab", include_bytes!("../../assets/scenes/fonts/roboto-slab.woff")),
];

/// A font that words are written in.
#[derive(Debug)]
pub struct Font {
    /// The name of its file.
    pub name: String,
    outlines: FontVec,
}

impl Font {
    /// The fonts that come with this library.
    pub fn embedded() -> &'static [Self] {
        static FONTS: OnceLock<Vec<Font>> = OnceLock::new();
        let decode = |(name, bytes): (&str, &[u8])| Self::decode(name, bytes).expect("a test reads the embedded fonts");
        FONTS.get_or_init(|| EMBEDDED.into_iter().map(decode).collect())
    }

    /// Reads a WOFF file.
    ///
    /// # Errors
    /// [`SceneError::Font`].
    pub fn decode(name: &str, woff: &[u8]) -> Result<Self, SceneError> {
        let wrong = |reason: &str| SceneError::Font { name: name.to_owned(), reason: reason.to_owned() };
        let tables = unpack(woff).map_err(wrong)?;
        let outlines = FontVec::try_from_vec(tables).map_err(|error| wrong(&error.to_string()))?;
        Ok(Self { name: name.to_owned(), outlines })
    }

    /// Whether the font has all letters of a text.
    pub fn has(&self, text: &str) -> bool {
        text.chars().all(|letter| self.outlines.glyph_id(letter).0 != 0)
    }

    /// Writes a text whose letters are `height` pixels high from the deepest to the highest, and trims it.
    pub fn write(&self, text: &str, height: f32, colour: [u8; 3]) -> Sprite {
        self.write_line(text, height, colour).trimmed()
    }

    /// Writes a text and leaves the room around it, so that lines below each other fit.
    pub fn write_line(&self, text: &str, height: f32, colour: [u8; 3]) -> Sprite {
        let font = self.outlines.as_scaled(PxScale::from(height));
        let (mut x, mut glyphs, mut last) = (1.0, Vec::new(), None);
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            x += last.map_or(0.0, |last| font.kern(last, id));
            glyphs.push(id.with_scale_and_position(font.scale(), point(x, font.ascent() + 1.0)));
            x += font.h_advance(id);
            last = Some(id);
        }
        // A slanted letter may reach over its own width and above the line.
        let mut sprite = Sprite::clear((x + height * 0.4) as u32 + 2, (font.height() * 1.2) as u32 + 2);
        for outline in glyphs.into_iter().filter_map(|glyph| font.outline_glyph(glyph)) {
            let bounds = outline.px_bounds();
            outline.draw(|column, row, coverage| {
                let (x, y) = (bounds.min.x as i32 + column as i32, bounds.min.y as i32 + row as i32);
                if x < 0 || y < 0 || x >= sprite.width as i32 || y >= sprite.height as i32 {
                    return;
                }
                let pixel = &mut sprite.pixels[(y as u32 * sprite.width + x as u32) as usize];
                let alpha = ((coverage.clamp(0.0, 1.0) * 255.0) as u8).max(pixel[3]);
                let [r, g, b] = colour.map(|value| (u32::from(value) * u32::from(alpha) / 255) as u8);
                *pixel = [r, g, b, alpha];
            });
        }
        sprite
    }
}

/// The font inside of a WOFF file.
fn unpack(woff: &[u8]) -> Result<Vec<u8>, &'static str> {
    let word = |at: usize| -> Result<usize, &'static str> {
        let bytes = woff.get(at..at + 4).ok_or("the file is cut short")?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    if woff.get(..4) != Some(b"wOFF") {
        return Err("not a WOFF 1.0 file: expected it to begin with `wOFF`");
    }
    let count = word(12)? >> 16;
    if count == 0 || count > MOST_TABLES {
        return Err("expected 1 to 64 tables");
    }
    let power = count.ilog2();
    let range = 16usize << power;
    let mut font = woff[4..8].to_vec();
    for value in [count, range, power as usize, count * 16 - range] {
        font.extend((value as u16).to_be_bytes());
    }
    let mut tables = Vec::new();
    let body = 12 + 16 * count;
    for entry in (0..count).map(|number| 44 + 20 * number) {
        let (offset, stored, length) = (word(entry + 4)?, word(entry + 8)?, word(entry + 12)?);
        if length > LARGEST_FONT - tables.len() {
            return Err("its tables are larger than a mebibyte");
        }
        let data = woff.get(offset..).and_then(|rest| rest.get(..stored)).ok_or("a table lies outside of the file")?;
        font.extend(&woff[entry..entry + 4]);
        font.extend(&woff[entry + 16..entry + 20]);
        font.extend(((body + tables.len()) as u32).to_be_bytes());
        font.extend((length as u32).to_be_bytes());
        let before = tables.len();
        if stored < length {
            let decoder = flate2::read::ZlibDecoder::new(data).take(length as u64);
            { decoder }.read_to_end(&mut tables).map_err(|_| "a table can't be decompressed")?;
        } else {
            tables.extend(data);
        }
        if tables.len() - before != length {
            return Err("a table does not have the length that the directory says");
        }
        tables.resize(tables.len().next_multiple_of(4), 0);
    }
    font.extend(tables);
    Ok(font)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_font_writes_letters_and_digits() {
        for font in Font::embedded() {
            let all: String = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
            assert!(font.has(&all), "{}", font.name);
            for text in ["sun", "SUN", "gjpqy", "07"] {
                let sprite = font.write(text, 20.0, [200, 0, 0]);
                assert!(sprite.width > 8 && (6..30).contains(&sprite.height), "{} {text}", font.name);
            }
        }
    }

    #[test]
    fn a_damaged_font_is_an_error() {
        let (name, whole) = EMBEDDED[0];
        for length in [0, 3, 20, 44, 100, whole.len() / 2, whole.len() - 40] {
            let error = Font::decode(name, &whole[..length]).expect_err("cut short");
            assert!(matches!(error, SceneError::Font { .. }), "{error}");
        }
        let mut long = whole.to_vec();
        long[44 + 12..44 + 16].fill(0xff);
        assert!(Font::decode(name, &long).unwrap_err().to_string().contains("larger than a mebibyte"));
    }
}
