//! Text on a filled background, within the picture.

use font8x8::legacy::{BASIC_LEGACY, GREEK_LEGACY, HIRAGANA_LEGACY, LATIN_LEGACY};
use image::RgbImage;

use super::canvas::{Area, fill};
use super::style::contrast;

/// Dots along a letter's side.
const LETTER: u32 = 8;
/// Dots between the letters and the edge of the background.
const MARGIN: u32 = 1;
/// Letters that a scaled label must have room for; smaller letters are taken where it hasn't.
const FEW_LETTERS: u32 = 4;

/// The dots of a character, a byte a row, the lowest bit to the left; a frame for one that the font lacks.
fn find_letter(letter: char) -> [u8; 8] {
    let code = u32::from(letter);
    let find = |table: &[[u8; 8]], first: u32| table.get(code.checked_sub(first)? as usize).copied();
    let found = match code {
        0x20..0x80 => find(&BASIC_LEGACY, 0),
        0xA0..0x100 => find(&LATIN_LEGACY, 0xA0),
        0x390..0x3CA => find(&GREEK_LEGACY, 0x390),
        0x3040..0x30A0 => find(&HIRAGANA_LEGACY, 0x3040),
        _ => None,
    };
    // Some places of the tables are empty.
    found
        .filter(|dots| dots.iter().any(|&row| row != 0) || letter.is_whitespace())
        .unwrap_or([0x7F, 0x41, 0x41, 0x41, 0x41, 0x41, 0x7F, 0])
}

/// Writes `text` on `colour`, its background's corner at (`left`, `top`), or, where it would leave the picture, as near
/// to that as it fits. A text wider than the picture is cut and ends in `..`; a picture of less than a letter gets
/// none.
///
/// `place` gives the top edge from the height of the background.
pub(super) fn write_label(
    picture: &mut RgbImage,
    text: &str,
    left: u32,
    place: impl FnOnce(u32) -> u32,
    (dot, colour): (u32, [u8; 3]),
) {
    let (width, height) = picture.dimensions();
    let fits = |dot: u32| {
        let letters = LETTER.saturating_mul(FEW_LETTERS) + 2 * MARGIN;
        dot.saturating_mul(letters) <= width && dot.saturating_mul(LETTER + 2 * MARGIN) <= height
    };
    let largest = (width / (LETTER * FEW_LETTERS + 2 * MARGIN)).min(height / (LETTER + 2 * MARGIN)).max(1);
    let dot = if fits(dot) { dot } else { dot.min(largest) };
    let room = (width / dot).saturating_sub(2 * MARGIN) / LETTER;
    if room == 0 || height / dot < LETTER + 2 * MARGIN {
        return;
    }
    let letters = cut(text, room as usize);
    let (label_width, label_height) = ((letters.len() as u32 * LETTER + 2 * MARGIN) * dot, (LETTER + 2 * MARGIN) * dot);
    let (left, top) = (left.min(width - label_width), place(label_height).min(height - label_height));
    fill(picture, Area { left, top, right: left + label_width, bottom: top + label_height }, colour);
    let ink = contrast(colour);
    for (index, &letter) in letters.iter().enumerate() {
        let start = left + (index as u32 * LETTER + MARGIN) * dot;
        for (row, bits) in (0u32..).zip(find_letter(letter)) {
            for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                let (x, y) = (start + column * dot, top + (row + MARGIN) * dot);
                fill(picture, Area { left: x, top: y, right: x + dot, bottom: y + dot }, ink);
            }
        }
    }
}

/// The first characters of `text`, no more than `room` and none that isn't visible.
fn cut(text: &str, room: usize) -> Vec<char> {
    let mut letters: Vec<char> =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(room + 1).collect();
    if letters.len() > room {
        letters.truncate(room.saturating_sub(2));
        letters.extend(std::iter::repeat_n('.', room.min(2)));
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_what_does_not_fit() {
        let cut = |text, room| cut(text, room).into_iter().collect::<String>();
        assert_eq!(cut("cat", 3), "cat");
        assert_eq!(cut("cats", 3), "c..");
        assert_eq!(cut("cats", 1), ".");
        assert_eq!(cut("a\nb", 9), "a b");
    }

    #[test]
    fn finds_letters() {
        // The bars of an H and of an L, and letters of every table.
        assert_eq!(find_letter('H')[0], 0x33);
        assert_eq!(find_letter(' '), [0; 8]);
        let frame = find_letter('漢');
        assert_eq!(frame[0], 0x7F);
        for letter in ['é', 'ß', 'Ω', 'λ', 'あ'] {
            assert_ne!(find_letter(letter), frame, "{letter}");
        }
        for letter in ['\u{1F642}', '\u{7}', '\u{80}'] {
            assert_eq!(find_letter(letter), frame, "{letter:?}");
        }
    }
}
