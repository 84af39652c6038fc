//! Files that are read and not mapped.

use super::PrefetchError;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Opened files. What is read from them is not left in the page cache, as far as the system allows that.
#[derive(Debug)]
pub struct Files(Vec<SourceFile>);

#[derive(Debug)]
struct SourceFile {
    path: PathBuf,
    /// Through the page cache.
    cached: File,
    /// Around it; `None` where the file system has no such thing.
    direct: Option<File>,
    len: u64,
    modified: Option<SystemTime>,
}

impl Files {
    /// Opens `paths`.
    ///
    /// # Errors
    /// [`PrefetchError::Open`].
    pub fn open<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PrefetchError> {
        paths.into_iter().map(|path| SourceFile::open(path.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether all reads go around the page cache.
    pub fn are_direct(&self) -> bool {
        self.0.iter().all(|file| file.direct.is_some())
    }

    /// Checks that a file is the one that was opened. `end` is the last byte that will be read; `what` names it in
    /// errors.
    pub(super) fn check(&self, file: usize, end: u64, what: &str) -> Result<(), PrefetchError> {
        let file = &self.0[file];
        let metadata = file.cached.metadata().map_err(|source| file.failed(what, source))?;
        if metadata.len() < end {
            return Err(file.truncated(what, end, metadata.len()));
        }
        if metadata.len() != file.len || modified(&metadata) != file.modified {
            return Err(PrefetchError::Changed { file: file.path.clone(), what: what.to_owned() });
        }
        Ok(())
    }

    /// Fills `buffer` from byte `start` on, up to `end`; what is behind that is left or filled. Around the page cache
    /// where `start`, the buffer and its length are multiples of a [`PAGE`](super::PAGE).
    pub(super) fn read(
        &self,
        file: usize,
        (start, end): (u64, u64),
        buffer: &mut [u8],
        what: &str,
    ) -> Result<(), PrefetchError> {
        let file = &self.0[file];
        let page = super::PAGE;
        let aligned = start.is_multiple_of(page as u64)
            && buffer.len().is_multiple_of(page)
            && buffer.as_ptr().addr().is_multiple_of(page);
        let mut done = 0usize;
        if let Some(direct) = file.direct.as_ref().filter(|_| aligned) {
            // A short read ends at the file's end or inside a page; what is left then comes the other way.
            while done.is_multiple_of(page) && start + (done as u64) < end {
                match read_at(direct, &mut buffer[done..], start + done as u64) {
                    Ok(0) => break,
                    Ok(read) => done += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Some file systems open such files and then refuse to read them.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
                    Err(error) => return Err(file.failed(what, error)),
                }
            }
        }
        if start + done as u64 >= end {
            return Ok(());
        }
        let cached_from = start + done as u64;
        let wanted = usize::try_from(end - start).map_or(buffer.len(), |wanted| wanted.min(buffer.len()));
        while done < wanted {
            match read_at(&file.cached, &mut buffer[done..wanted], start + done as u64) {
                Ok(0) => {
                    let found = file.cached.metadata().map_or(start + done as u64, |metadata| metadata.len());
                    return Err(file.truncated(what, end, found));
                }
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(file.failed(what, error)),
            }
        }
        advise(&file.cached, cached_from, end - cached_from, Advice::DontNeed);
        Ok(())
    }
}

impl SourceFile {
    fn open(path: &Path) -> Result<Self, PrefetchError> {
        let failed = |source| PrefetchError::Open { file: path.to_owned(), source };
        let cached = File::open(path).map_err(failed)?;
        let metadata = cached.metadata().map_err(failed)?;
        // Requests say what is wanted; reading ahead would fill the page cache.
        advise(&cached, 0, 0, Advice::Random);
        let (len, modified) = (metadata.len(), modified(&metadata));
        Ok(Self { path: path.to_owned(), cached, direct: open_direct(path), len, modified })
    }

    fn failed(&self, what: &str, source: io::Error) -> PrefetchError {
        PrefetchError::Read { file: self.path.clone(), what: what.to_owned(), source }
    }

    fn truncated(&self, what: &str, needed: u64, found: u64) -> PrefetchError {
        PrefetchError::Truncated { file: self.path.clone(), what: what.to_owned(), needed, found }
    }
}

/// Drops what the page cache holds of a file, as far as nobody has it mapped. Does nothing where there is no such call.
///
/// # Errors
/// What opening the file says.
pub fn drop_cached(path: impl AsRef<Path>) -> io::Result<()> {
    advise(&File::open(path)?, 0, 0, Advice::DontNeed);
    Ok(())
}

fn modified(metadata: &Metadata) -> Option<SystemTime> {
    metadata.modified().ok()
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_DIRECT).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_: &Path) -> Option<File> {
    None
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// What will be done with a part of a file.
#[derive(Debug, Clone, Copy)]
enum Advice {
    /// It is read here and there.
    Random,
    /// It is not read again soon.
    DontNeed,
}

/// Tells the system; `len` 0 is all from `offset` on.
#[cfg(target_os = "linux")]
fn advise(file: &File, offset: u64, len: u64, advice: Advice) {
    use std::os::fd::AsRawFd;
    let advice = match advice {
        Advice::Random => libc::POSIX_FADV_RANDOM,
        Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
    };
    // SAFETY: the descriptor is open; the call reads and writes no memory of this process.
    let status = unsafe { libc::posix_fadvise(file.as_raw_fd(), offset as libc::off_t, len as libc::off_t, advice) };
    if status != 0 {
        tracing::debug!(status, "the system took no advice on a file");
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: &File, _: u64, _: u64, _: Advice) {}
