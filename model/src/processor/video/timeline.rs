//! How many frames an animation has and how long they last, from the structure of its file, without decoding.
//!
//! - GIF: blocks; an image block (`2C`) is a frame, the graphic control extension (`21 F9`) before it holds its delay
//!   in hundredths of a second. Source: GIF89a specification, sections 20 to 23.
//! - WebP: RIFF chunks; an `ANMF` chunk is a frame, whose duration in milliseconds is 24 bits at byte 12. Source: WebP
//!   container specification (RFC 9649, section 2.7.1.1).
//!
//! As browsers and FFmpeg have it, a delay of 10 ms or less is no delay but a default of 100 ms.

/// Delays up to this many milliseconds count as none.
const NO_DELAY: u64 = 10;
/// What they become.
const DEFAULT_DELAY: u64 = 100;

/// Frames of an animation and their duration together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Timeline {
    pub frames: usize,
    pub milliseconds: u64,
}

impl Timeline {
    fn push(&mut self, delay: u64) {
        self.frames += 1;
        self.milliseconds += if delay <= NO_DELAY { DEFAULT_DELAY } else { delay };
    }

    /// Mean number of frames a second; `None` without frames.
    pub fn fps(&self) -> Option<f64> {
        (self.frames > 0).then(|| self.frames as f64 * 1000.0 / self.milliseconds as f64)
    }
}

/// Counts the frames of a GIF file. A frame that the file ends in counts: decoding it will fail.
pub(super) fn scan_gif(data: &[u8]) -> Timeline {
    let mut timeline = Timeline::default();
    // The walk ends with `None` where the file does.
    let _ = walk_gif(data, &mut timeline);
    timeline
}

fn walk_gif(data: &[u8], timeline: &mut Timeline) -> Option<()> {
    let mut at = 13 + color_table(*data.get(10)?);
    let mut delay = 0;
    loop {
        match *data.get(at)? {
            0x2C => {
                timeline.push(delay);
                delay = 0;
                // The descriptor, its color table, and the byte of the code size.
                at = skip_blocks(data, at + 11 + color_table(*data.get(at + 9)?))?;
            }
            0x21 => {
                if *data.get(at + 1)? == 0xF9 {
                    delay = u64::from(u16::from_le_bytes([*data.get(at + 4)?, *data.get(at + 5)?])) * 10;
                }
                at = skip_blocks(data, at + 2)?;
            }
            _ => return None,
        }
    }
}

/// Bytes of the color table that a packed field announces.
fn color_table(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// Skips data blocks, each led by its length, to after the empty one.
fn skip_blocks(data: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*data.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

/// Counts the frames of a WebP file; none for a still picture.
pub(super) fn scan_webp(data: &[u8]) -> Timeline {
    let mut timeline = Timeline::default();
    let mut at = 12usize;
    while let Some(head) = at.checked_add(8).and_then(|end| data.get(at..end)) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if &head[..4] == b"ANMF" {
            let Some(&[low, middle, high]) = data.get(at + 20..at + 23) else { break };
            timeline.push(u64::from(u32::from_le_bytes([low, middle, high, 0])));
        }
        // Chunks are padded to an even length.
        let Some(next) = length.checked_add(length % 2 + 8).and_then(|step| at.checked_add(step)) else { break };
        at = next;
    }
    timeline
}
