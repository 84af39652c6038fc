//! One file in memory: mapped once, read-only, shared by everything that reads from it.

use super::CheckpointError;
use bytes::Bytes;
use memmap2::Mmap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mapped file. Slices of it keep the mapping alive after this value is gone.
///
/// The file must not change while it is mapped: a file that is truncated makes the process die of SIGBUS at the next
/// touch of a lost page, and no Rust code can turn that into an error.
#[derive(Debug, Clone)]
pub(super) struct MappedFile {
    path: PathBuf,
    map: Arc<Mmap>,
    bytes: Bytes,
}

/// Lets `Bytes` share the mapping with [`MappedFile`], which needs it for its advice.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A part of the file that somebody reads.
struct Part {
    file: MappedFile,
    range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.file.map[self.range.clone()]
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.file.release(self.range.clone());
    }
}

impl MappedFile {
    /// Maps the whole of `path`.
    pub(super) fn open(path: PathBuf) -> Result<Self, CheckpointError> {
        let open = |source: io::Error| CheckpointError::Open { file: path.clone(), source };
        // Asked of the path, not of the opened file: opening a pipe would wait for its writer.
        let metadata = fs::metadata(&path).map_err(open)?;
        if !metadata.is_file() {
            return Err(CheckpointError::NotAFile { file: path });
        }
        if metadata.len() == 0 {
            // An empty mapping is an error on some systems.
            return Err(CheckpointError::Truncated { file: path, needed: 8, found: 0 });
        }
        let file = File::open(&path).map_err(open)?;
        // SAFETY: the mapping is read-only and shared. That nobody changes the file meanwhile cannot be checked; it is
        // what `Checkpoint` asks of its callers.
        let map = Arc::new(unsafe { Mmap::map(&file) }.map_err(open)?);
        let bytes = Bytes::from_owner(Owner(map.clone()));
        Ok(Self { path, map, bytes })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in the folder.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// All of it.
    pub(super) fn content(&self) -> &[u8] {
        &self.bytes
    }

    /// A part of it, without a copy. `range` must be inside. When the last owner lets go of the part, its pages leave
    /// memory: a weight that was packed is not held a second time.
    pub(super) fn slice(&self, range: Range<usize>) -> Bytes {
        Bytes::from_owner(Part { file: self.clone(), range })
    }

    /// Tells the system that the pages wholly inside `range` won't be read for a while, so that it takes their memory
    /// back. Reading them again brings them from the file. Does nothing where there is no such call.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Some((offset, len)) = whole_pages(range) {
            // SAFETY: the mapping is of a file, shared and never written, so dropping its pages loses nothing: the next
            // read faults the same bytes in from the file. Slices into it stay valid.
            let advised = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, len) };
            if let Err(error) = advised {
                tracing::debug!(file = %self.path.display(), %error, "pages not released");
            }
        }
        #[cfg(not(unix))]
        let _ = (range, &self.map);
    }

    /// Tells the system that `range` will be read soon, so that it fetches it meanwhile. Does nothing where there is no
    /// such call.
    pub(super) fn prefetch(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Err(error) = self.map.advise_range(memmap2::Advice::WillNeed, range.start, range.len()) {
            tracing::debug!(file = %self.path.display(), %error, "pages not prefetched");
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// Offset and length of the pages wholly inside `range`: a page at an edge holds a neighbour's bytes too.
///
/// Rounded to 64 KiB, a multiple of every page size in use (4 KiB on x86, 16 KiB on Apple, up to 64 KiB on other ARM),
/// because asking for the page size needs another dependency. A mapping begins at a page, so offsets in it count from
/// one.
#[cfg(unix)]
fn whole_pages(range: Range<usize>) -> Option<(usize, usize)> {
    const PAGE: usize = 64 << 10;
    let start = range.start.next_multiple_of(PAGE);
    let end = range.end / PAGE * PAGE;
    (start < end).then(|| (start, end - start))
}
