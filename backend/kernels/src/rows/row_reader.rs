//! Rows of any element type, read as f32.

use super::{AnySource, load, store};
use crate::Storage;
use crate::simd::Isa;

/// Reads rows as f32: those of f32 where they are; those of 16 bits are widened into scratch memory, so that a kernel
/// over several operands needs no loop for each of their types.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowReader {
    rows: AnySource,
    /// One row or more where rows are not f32.
    scratch: *mut f32,
    d: usize,
}

impl RowReader {
    /// Floats of scratch memory that [`RowReader::new`] wants for each row of `d` that is read at one time.
    pub(crate) fn scratch(rows: AnySource, d: usize) -> usize {
        if matches!(rows, AnySource::F32(_)) { 0 } else { d }
    }

    /// A reader of rows of `d` elements.
    ///
    /// # Safety
    /// `scratch` is writable for [`RowReader::scratch`] floats a row that is read at one time, while the reader is
    /// used, by it alone; slots are below the number of those rows.
    pub(crate) unsafe fn new(rows: AnySource, scratch: *mut f32, d: usize) -> Self {
        Self { rows, scratch, d }
    }

    /// The row that begins at element `at`, until the next one is read; checked. d elements.
    #[inline(always)]
    pub(crate) fn read<I: Isa>(&self, isa: I, at: usize) -> *const f32 {
        self.read_into(isa, at, 0)
    }

    /// The same into row `slot` of the scratch memory, where it stays until another one is read into that.
    #[inline(always)]
    pub(crate) fn read_into<I: Isa>(&self, isa: I, at: usize, slot: usize) -> *const f32 {
        let (part, d) = (at..at + self.d, self.d);
        let scratch = self.scratch.wrapping_add(slot * d);
        // SAFETY: `part` checks that the row is within the slice; the scratch memory holds as many rows as are read at
        // one time where rows are not f32 (`# Safety` of `RowReader::new`).
        unsafe {
            match self.rows {
                AnySource::F32(x) => return x.part(&part),
                AnySource::Bf16(x) => widen(isa, x.part(&part), scratch, d),
                AnySource::F16(x) => widen(isa, x.part(&part), scratch, d),
            }
        }
        scratch
    }
}

/// # Safety
/// Both hold `d` elements and do not overlap.
#[inline(always)]
unsafe fn widen<I: Isa, S: Storage>(isa: I, from: *const S, to: *mut f32, d: usize) {
    for at in (0..d).step_by(I::LANES) {
        let n = I::LANES.min(d - at);
        // SAFETY: both hold `d` elements (`# Safety` of `widen`), and at + n ≤ d.
        unsafe { store(isa, to.add(at), load(isa, from.add(at), n), n) };
    }
}
