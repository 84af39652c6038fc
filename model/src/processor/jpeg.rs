//! Finds the end of a JPEG file.
//!
//! The decoder fills what a truncated file lacks with grey and reports success; a model would then describe grey. HF
//! (Pillow) refuses such a file, and so do we: a JPEG must reach its end-of-image marker.
//!
//! A file is a sequence of segments `FF marker length payload`; after a start-of-scan segment come entropy-coded bytes,
//! in which `FF 00` is a stuffed byte and `FF D0..D7` a restart. Thumbnails inside a payload have markers of their own,
//! so segments are skipped by their length. Source: ITU-T T.81, annex B.

const START: u8 = 0xD8;
const END: u8 = 0xD9;

/// Whether the segments of `data`, a JPEG file, go on to an end-of-image marker.
pub(super) fn reaches_end(data: &[u8]) -> bool {
    let mut at = 0;
    loop {
        // To the next marker: over padding, entropy-coded bytes, stuffed bytes and restarts.
        let Some(offset) = data[at..].windows(2).position(|pair| pair[0] == 0xFF && is_marker(pair[1])) else {
            return false;
        };
        at += offset + 2;
        match data[at - 1] {
            END => return true,
            START | 0x01 => {}
            _ => {
                let Some(&[high, low]) = data.get(at..at + 2) else {
                    return false;
                };
                at += usize::from(u16::from_be_bytes([high, low]));
                if at > data.len() {
                    return false;
                }
            }
        }
    }
}

fn is_marker(byte: u8) -> bool {
    !matches!(byte, 0x00 | 0xFF | 0xD0..=0xD7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_thumbnails_stuffing_and_restarts() {
        // A payload that holds an end marker, then a scan with a stuffed byte and a restart.
        let mut file = vec![0xFF, START, 0xFF, 0xE1, 0, 4, 0xFF, END, 0xFF, 0xDA, 0, 2, 7, 0xFF, 0, 0xFF, 0xD3, 9];
        assert!(!reaches_end(&file));
        file.extend([0xFF, END]);
        assert!(reaches_end(&file));
        assert!(!reaches_end(&file[..file.len() - 1]));
    }

    #[test]
    fn a_length_beyond_the_data_is_no_end() {
        assert!(!reaches_end(&[0xFF, START, 0xFF, 0xE1, 0xFF, 0xFF, 1, 2]));
        assert!(!reaches_end(&[0xFF, START, 0xFF, 0xE1, 0]));
        assert!(!reaches_end(&[]));
    }
}
