//! An array of which only some slices are in memory.

use super::files::Files;
use super::reader::{Request, read_all};
use super::{PAGE, Piece, PrefetchError};
use memmap2::MmapMut;
use std::ops::Range;

/// What the system gives and takes memory in, bytes: at most this on every system in use (4 KiB on x86, up to 64 KiB
/// elsewhere).
pub(super) const UNIT: usize = if cfg!(target_arch = "x86_64") { PAGE } else { 64 << 10 };

/// Address space for a piece of a file, cut into slices of one size (a layer's experts). What was not read is zero and
/// takes no memory.
///
/// ```text
/// addresses   | slice 0 | slice 1 | slice 2 | slice 3 |      as far apart as in the file, at the same place in a page
/// memory      |         |#########|         |#########|      1 and 3 were read
/// ```
///
/// An op that takes the whole array finds each slice where it belongs, as long as it only reads those that are there.
#[derive(Debug)]
pub(super) struct Stack {
    map: MmapMut,
    /// Where the first slice begins in the mapping.
    skip: usize,
    piece: Piece,
    /// Bytes of a slice.
    slice: usize,
}

impl Stack {
    /// Address space for `piece`, `slices` slices; nothing is read.
    pub(super) fn new(piece: Piece, slices: usize) -> Result<Self, PrefetchError> {
        let len = (piece.range.end - piece.range.start) as usize;
        let skip = (piece.range.start % PAGE as u64) as usize;
        let map = MmapMut::map_anon((skip + len).max(1)).map_err(|source| PrefetchError::Space {
            what: piece.name.clone(),
            bytes: len as u64,
            source,
        })?;
        // Whole huge pages would bring memory that nobody counts.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::NoHugePage);
        Ok(Self { map, skip, slice: len / slices.max(1), piece })
    }

    /// Bytes of memory that one slice takes, the pages that it shares with its neighbours included.
    pub(super) fn cost(&self) -> usize {
        self.slice + 2 * UNIT
    }

    /// The array.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.map[self.skip..]
    }

    /// Reads `slices`, ascending.
    pub(super) fn fill(&mut self, files: &Files, slices: &[usize]) -> Result<(), PrefetchError> {
        let Self { map, skip, piece, slice } = self;
        files.check(piece.file, piece.range.end, &piece.name)?;
        let mut requests = Vec::new();
        let mut rest = &mut map[*skip..];
        let mut at = piece.range.start;
        for &index in slices {
            let start = piece.range.start + (index * *slice) as u64;
            let (_, behind) = rest.split_at_mut((start - at) as usize);
            let (mut target, behind) = behind.split_at_mut(*slice);
            rest = behind;
            at = start + *slice as u64;
            // Whole pages go around the page cache, the ends through it.
            let mut start = start;
            for end in cuts(start..at) {
                let (buffer, behind) = target.split_at_mut((end - start) as usize);
                target = behind;
                requests.push(Request { file: piece.file, range: (start, end), buffer, what: &piece.name });
                start = end;
            }
        }
        read_all(files, requests)
    }

    /// Gives the memory of slice `index` back; pages that it shares with its neighbours stay.
    pub(super) fn release(&mut self, index: usize) {
        let start = (self.skip + index * self.slice).next_multiple_of(UNIT);
        let end = (self.skip + (index + 1) * self.slice) / UNIT * UNIT;
        if start >= end {
            return;
        }
        #[cfg(unix)]
        // SAFETY: the mapping is private and anonymous, the range inside it and of whole pages; they read as zeros
        // afterwards. Nobody else looks at them: `self` is borrowed mutably.
        let advised =
            unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
        #[cfg(unix)]
        if let Err(error) = advised {
            tracing::debug!(piece = self.piece.name, %error, "memory not given back");
        }
    }
}

/// Ends of the requests that read `range`: its first part of a page, whole pages in requests of
/// [`super::reader::REQUEST`], its last part.
fn cuts(range: Range<u64>) -> Vec<u64> {
    let page = PAGE as u64;
    let (first, last) = (range.start.next_multiple_of(page), range.end / page * page);
    let mut ends = Vec::new();
    if first < last {
        ends.extend((range.start < first).then_some(first));
        ends.extend((first..last).step_by(super::reader::REQUEST).skip(1));
        ends.push(last);
    }
    ends.extend((ends.last() != Some(&range.end)).then_some(range.end));
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_end_at_pages() {
        assert_eq!(cuts(10..20), [20]);
        assert_eq!(cuts(4000..5000), [5000]);
        assert_eq!(cuts(4000..9000), [4096, 8192, 9000]);
        assert_eq!(cuts(4096..8192), [8192]);
        let large = cuts(1..(5 << 20) + 1);
        assert_eq!(large, [4096, (2 << 20) + 4096, (4 << 20) + 4096, 5 << 20, (5 << 20) + 1]);
    }
}
