//! The alphabet in which byte-level tokenizers spell bytes.
//!
//! A token's spelling has one character for each byte. Printable Latin-1 characters stand for their own byte; the other
//! 68 bytes are spelled `U+0100 + n`, `n` counting them in order: 0..=32, 127..=160, 173. Source: GPT-2's tokenizer
//! (Radford et al. 2019).

/// Appends the bytes that `spelling` stands for. A spelling outside the alphabet (an added token) stands for itself.
pub(super) fn append_bytes(spelling: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for character in spelling.chars() {
        match find_byte(character) {
            Some(byte) => bytes.push(byte),
            None => {
                bytes.truncate(start);
                bytes.extend_from_slice(spelling.as_bytes());
                return;
            }
        }
    }
}

fn find_byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    let byte = match code {
        33..=126 | 161..=172 | 174..=255 => code,
        // The bytes without a printable character, by their rank.
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 127,
        0x143 => 173,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_covers_every_byte_once() {
        let mut bytes: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(find_byte).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn spells_as_gpt2() {
        // Space is U+0120, newline U+010A; U+00C3 U+00A4 are the UTF-8 bytes of an a-umlaut.
        let mut bytes = Vec::new();
        append_bytes("\u{120}a\u{10A}Ã¤", &mut bytes);
        assert_eq!(bytes, " a\nä".as_bytes());
        append_bytes("漢", &mut bytes);
        assert_eq!(bytes, " a\nä漢".as_bytes());
    }
}
