//! What is read at once: byte ranges of files, and their places in a buffer.

use super::buffer::PAGE;
use std::ops::Range;

/// Ranges that are no further apart are read in one piece, bytes: that much takes less time than another request.
const GAP: u64 = 64 << 10;

/// A byte range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What errors call it.
    pub name: String,
    /// Its file, an index into the [`Files`](super::Files).
    pub file: usize,
    /// Its bytes there.
    pub range: Range<u64>,
}

/// Pieces that are used together.
///
/// ```text
/// file    ....|  page  |  page  |  page  |....      pieces a, b; a span covers them in whole pages
///                  aaaaaaaaa bbbbbbb
/// buffer      |  page  |  page  |  page  |          the same bytes, at the same place in their page
/// ```
///
/// A span is read straight into the buffer: reads around the page cache take whole pages at aligned places of both. A
/// piece that is aligned to its elements in the file (HF's are) is so in memory.
#[derive(Debug, Clone)]
pub struct Unit {
    name: String,
    pieces: Vec<Piece>,
    spans: Vec<Span>,
    /// Where each piece begins in the buffer.
    places: Vec<usize>,
    len: usize,
}

/// Whole pages of a file and their place in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) file: usize,
    /// First byte in the file, a multiple of [`PAGE`].
    pub(super) start: u64,
    /// Where the last piece ends in the file.
    pub(super) end: u64,
    /// First byte in the buffer, a multiple of [`PAGE`].
    pub(super) place: usize,
}

impl Span {
    /// Bytes in the buffer, a multiple of [`PAGE`].
    pub(super) fn len(&self) -> usize {
        to_usize(self.end - self.start).next_multiple_of(PAGE)
    }
}

impl Unit {
    /// Lays `pieces` out.
    pub fn new(name: impl Into<String>, pieces: Vec<Piece>) -> Self {
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|&i| (pieces[i].file, pieces[i].range.start));
        let mut spans: Vec<Span> = Vec::new();
        let mut places = vec![0; pieces.len()];
        let mut len = 0;
        for i in order {
            let Piece { file, range, .. } = &pieces[i];
            match spans.last_mut() {
                Some(span) if span.file == *file && range.start <= span.end.saturating_add(GAP) => {
                    span.end = span.end.max(range.end);
                }
                _ => {
                    let start = range.start / PAGE as u64 * PAGE as u64;
                    spans.push(Span { file: *file, start, end: range.end, place: len });
                }
            }
            if let Some(span) = spans.last() {
                places[i] = span.place + to_usize(range.start - span.start);
                len = span.place + span.len();
            }
        }
        Self { name: name.into(), pieces, spans, places, len }
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pieces, in the order given.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes of a buffer that holds it, a multiple of [`PAGE`].
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without a byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of piece `index` in the buffer.
    ///
    /// # Panics
    /// Without such a piece.
    pub fn place(&self, index: usize) -> Range<usize> {
        let range = &self.pieces[index].range;
        self.places[index]..self.places[index] + to_usize(range.end - range.start)
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The piece of `file` that has the byte `at`, or comes after it: for errors.
    pub(super) fn piece_at(&self, file: usize, at: u64) -> &str {
        let behind = self.pieces.iter().filter(|piece| piece.file == file && piece.range.end > at);
        behind.min_by_key(|piece| piece.range.start).map_or(&self.name, |piece| &piece.name)
    }
}

/// A size of something that is in memory.
fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a range that fits memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(file: usize, range: Range<u64>) -> Piece {
        Piece { name: format!("{file}:{}", range.start), file, range }
    }

    #[test]
    fn neighbours_share_a_span_and_keep_their_place_in_the_page() {
        let far = 10 << 20;
        let pieces = vec![piece(0, 5000..9000), piece(0, far..far + 8), piece(0, 100..4000), piece(1, 4096..4096)];
        let unit = Unit::new("unit", pieces);
        assert_eq!(
            unit.spans(),
            [
                Span { file: 0, start: 0, end: 9000, place: 0 },
                Span { file: 0, start: far, end: far + 8, place: 12288 },
                Span { file: 1, start: 4096, end: 4096, place: 16384 },
            ]
        );
        assert_eq!(unit.place(0), 5000..9000);
        assert_eq!(unit.place(1), 12288..12296);
        assert_eq!(unit.place(2), 100..4000);
        assert_eq!(unit.place(3), 16384..16384);
        assert_eq!(unit.len(), 16384);
        for (index, piece) in unit.pieces().iter().enumerate() {
            assert_eq!(unit.place(index).start % PAGE, piece.range.start as usize % PAGE);
        }
        assert_eq!(unit.piece_at(0, 4500), "0:5000");
        assert_eq!(unit.piece_at(2, 0), "unit");
    }
}
