//! Reads of several parts at a time.

use super::files::Files;
use super::unit::Unit;
use super::{PAGE, PrefetchError};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Bytes of one request.
pub(super) const REQUEST: usize = 2 << 20;

/// Requests under way at one time: disks take several at once.
const IN_FLIGHT: usize = 4;

/// One read.
pub(super) struct Request<'a> {
    pub(super) file: usize,
    /// First and last byte wanted.
    pub(super) range: (u64, u64),
    pub(super) buffer: &'a mut [u8],
    /// For errors.
    pub(super) what: &'a str,
}

/// Reads all of `unit` into `buffer`, which has [`Unit::len`] bytes at least and begins at a page.
pub(super) fn read_unit(files: &Files, unit: &Unit, buffer: &mut [u8]) -> Result<(), PrefetchError> {
    let mut requests = Vec::new();
    let mut rest = buffer;
    for span in unit.spans() {
        files.check(span.file, span.end, unit.piece_at(span.file, span.start))?;
        // Spans follow each other in the buffer.
        let (mut part, behind) = rest.split_at_mut(span.len());
        rest = behind;
        let mut start = span.start;
        while start < span.end {
            let (request, behind) = part.split_at_mut(part.len().min(REQUEST));
            part = behind;
            let next = start + request.len() as u64;
            let what = unit.piece_at(span.file, start);
            requests.push(Request { file: span.file, range: (start, next.min(span.end)), buffer: request, what });
            start = next;
        }
    }
    read_all(files, requests)
}

impl Files {
    /// Reads `ranges` of a file, one behind the other, into `buffer`, which is as long as all of them. `what` names
    /// them in errors.
    ///
    /// # Errors
    /// [`PrefetchError`] of the file or the read.
    ///
    /// # Panics
    /// For a buffer of another length.
    pub fn gather(
        &self,
        file: usize,
        ranges: &[Range<u64>],
        buffer: &mut [u8],
        what: &str,
    ) -> Result<(), PrefetchError> {
        let len: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        assert_eq!(len, buffer.len() as u64, "a buffer for {what}");
        let mut rest = buffer;
        let mut requests = Vec::with_capacity(ranges.len());
        for range in ranges {
            self.check(file, range.end, what)?;
            let (buffer, behind) = rest.split_at_mut((range.end - range.start) as usize);
            rest = behind;
            requests.push(Request { file, range: (range.start, range.end), buffer, what });
        }
        read_all(self, requests)
    }
}

/// Answers all requests, up to [`IN_FLIGHT`] at a time.
///
/// # Errors
/// The first that occurs; what the buffers hold then has no meaning.
pub(super) fn read_all(files: &Files, requests: Vec<Request<'_>>) -> Result<(), PrefetchError> {
    let threads = requests.len().min(IN_FLIGHT);
    let queue = Mutex::new(requests.into_iter());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(Request { file, range, buffer, what }) = take() {
            files.read(file, range, buffer, what)?;
        }
        Ok(())
    };
    if threads <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        // Where the system has no thread left, those that started do the work.
        let helpers: Vec<_> = (1..threads)
            .filter_map(|_| std::thread::Builder::new().name("kiln-read".into()).spawn_scoped(scope, work).ok())
            .collect();
        let mut outcome = work();
        for helper in helpers {
            let helped = helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome = outcome.and(helped);
        }
        outcome
    })
}

const _: () = assert!(REQUEST.is_multiple_of(PAGE), "requests begin at pages");
