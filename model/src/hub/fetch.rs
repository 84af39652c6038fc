//! Files of one commit into the cache, by `hf-hub`, which names, resumes and links them.
//!
//! Around each of its downloads stands what it doesn't do: sizes are compared, a file that is there already under
//! another commit is linked and not fetched again, remains of an earlier run are made fit to go on from, and a failure
//! on the way is tried again (`hf-hub` can do that too, but begins at byte 0 of the server's file and at the end of its
//! own).

use super::cache::RepoCache;
use super::model_id::ModelId;
use super::progress::Meter;
use super::{HubError, HubOptions};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;

/// A client for the options' server.
pub(super) fn build_api(cache: Cache, options: &HubOptions) -> Result<Api, HubError> {
    ApiBuilder::from_cache(cache)
        .with_endpoint(options.server().to_owned())
        .with_token(options.token.clone())
        .with_progress(false)
        .build()
        .map_err(|error| HubError::Protocol { what: "a client".to_owned(), reason: error.to_string() })
}

/// Fetches files of one commit.
pub(super) struct Fetcher<'a> {
    api: Api,
    repo: ApiRepo,
    id: &'a ModelId,
    cache: &'a RepoCache,
    commit: &'a str,
    options: &'a HubOptions,
}

/// A file on the server.
struct Remote<'a> {
    file: &'a str,
    size: u64,
    /// Where its content goes.
    blob: PathBuf,
}

/// How a request failed.
enum Failure {
    /// On the way: another attempt may succeed.
    Passing(HubError),
    /// For a reason that will be the same again.
    Lasting(HubError),
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(
        id: &'a ModelId,
        cache: &'a RepoCache,
        commit: &'a str,
        options: &'a HubOptions,
    ) -> Result<Self, HubError> {
        let api = build_api(cache.cache().clone(), options)?;
        let repo = api.repo(Repo::with_revision(id.to_string(), RepoType::Model, commit.to_owned()));
        Ok(Self { api, repo, id, cache, commit, options })
    }

    /// Fetches those of `files` that aren't there. All sizes are asked first, so that progress has a total.
    pub(super) fn fetch_files(&self, files: &[&str]) -> Result<(), HubError> {
        let snapshot = self.cache.snapshot_dir(self.commit);
        let missing = files.iter().filter(|file| !snapshot.join(file).exists());
        let remotes = missing.map(|file| self.try_often(|| self.measure(file))).collect::<Result<Vec<_>, _>>()?;
        let total = remotes.iter().map(|remote| remote.size).sum();
        let mut before = 0;
        for remote in &remotes {
            self.try_often(|| self.fetch(remote, before, total))?;
            before += remote.size;
        }
        Ok(())
    }

    fn try_often<T>(&self, mut act: impl FnMut() -> Result<T, Failure>) -> Result<T, HubError> {
        let mut attempt = 0;
        loop {
            match act() {
                Ok(value) => return Ok(value),
                Err(Failure::Passing(error)) if attempt < self.options.retries => {
                    tracing::debug!(%error, attempt, "asked again");
                    thread::sleep(self.options.wait_after(attempt));
                    attempt += 1;
                }
                Err(Failure::Passing(error) | Failure::Lasting(error)) => return Err(error),
            }
        }
    }

    /// Asks for a file's size and tag.
    fn measure<'f>(&self, file: &'f str) -> Result<Remote<'f>, Failure> {
        let metadata = self.api.metadata(&self.repo.url(file)).map_err(|error| self.explain(error, file, None))?;
        let refuse =
            |reason: &str| Failure::Lasting(HubError::Protocol { what: file.to_owned(), reason: reason.to_owned() });
        // Both become parts of paths.
        let etag = metadata.etag();
        let tag = etag.strip_prefix("W/").unwrap_or(etag);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(is_plain) {
            return Err(refuse("its ETag is not a plain name"));
        }
        if metadata.commit_hash() != self.commit {
            return Err(refuse("it is of another commit than the one that was asked for"));
        }
        Ok(Remote { file, size: metadata.size() as u64, blob: self.cache.blob_path(etag) })
    }

    /// Makes one attempt at the content.
    fn fetch(&self, remote: &Remote<'_>, before: u64, total: u64) -> Result<(), Failure> {
        let pointer = self.cache.snapshot_dir(self.commit).join(remote.file);
        if self.settle(remote, &pointer).map_err(Failure::Lasting)? {
            return Ok(());
        }
        let sink = self.options.progress.as_deref();
        let meter = Meter { sink, file: remote.file, before, here: 0, total };
        if let Err(error) = self.repo.download_with_progress(remote.file, meter) {
            return Err(self.explain(error, remote.file, Some(remote)));
        }
        // Asked of the link: where links need a privilege, `hf-hub` puts the content itself there.
        let found = len_of(&pointer).unwrap_or(0);
        if found == remote.size {
            return Ok(());
        }
        self.undo(remote, &pointer, found).map_err(Failure::Lasting)?;
        let (file, expected) = (remote.file.to_owned(), remote.size);
        Err(Failure::Passing(HubError::WrongSize { file, expected, found }))
    }

    /// Takes back a download of `found` bytes that isn't what was announced: too little becomes a part, which can be
    /// gone on from; too much is something else, and removed.
    fn undo(&self, remote: &Remote<'_>, pointer: &Path, found: u64) -> Result<(), HubError> {
        if remote.blob.exists() {
            fs::remove_file(pointer).map_err(HubError::disk(pointer))?;
        } else {
            fs::rename(pointer, &remote.blob).map_err(HubError::disk(pointer))?;
        }
        let undone = if found < remote.size {
            fs::rename(&remote.blob, remote.blob.with_extension("part"))
        } else {
            fs::remove_file(&remote.blob)
        };
        undone.map_err(HubError::disk(&remote.blob))
    }

    /// Uses what earlier runs left: content that is there is linked, a complete part becomes content, and what cannot
    /// be gone on from is removed. Says whether the file is there now.
    fn settle(&self, remote: &Remote<'_>, pointer: &Path) -> Result<bool, HubError> {
        let (blob, part) = (&remote.blob, remote.blob.with_extension("part"));
        // A link whose content is gone would be in the way of a new one.
        if pointer.symlink_metadata().is_ok() && !pointer.exists() {
            fs::remove_file(pointer).map_err(HubError::disk(pointer))?;
        }
        fs::create_dir_all(blob.parent().unwrap_or(blob)).map_err(HubError::disk(blob))?;
        let lock_path = blob.with_extension("lock");
        let lock = File::create(&lock_path).map_err(HubError::disk(lock_path))?;
        if lock.try_lock().is_err() {
            // Somebody else is at it; the download waits for them.
            return Ok(false);
        }
        if len_of(blob).is_some_and(|len| len != remote.size) {
            fs::remove_file(blob).map_err(HubError::disk(blob))?;
        }
        match len_of(&part) {
            Some(len) if len > remote.size => fs::remove_file(&part).map_err(HubError::disk(&part))?,
            Some(len) if len == remote.size => fs::rename(&part, blob).map_err(HubError::disk(blob))?,
            _ => {}
        }
        if len_of(blob).is_none() {
            return Ok(false);
        }
        link(blob, pointer).map_err(HubError::disk(pointer))?;
        Ok(true)
    }

    /// What `error` means, where `file` was asked for; `remote` once its content was.
    fn explain(&self, error: ApiError, file: &str, remote: Option<&Remote<'_>>) -> Failure {
        let reason = error.to_string();
        let cut = |reason: String| match remote {
            Some(remote) => Failure::Passing(HubError::Interrupted {
                file: file.to_owned(),
                done: len_of(&remote.blob.with_extension("part")).unwrap_or(0),
                total: remote.size,
                reason,
            }),
            None => Failure::Passing(HubError::Network {
                endpoint: self.options.server().to_owned(),
                what: file.to_owned(),
                reason,
            }),
        };
        match error {
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status) => self.explain_status(status, file),
                _ => cut(reason),
            },
            ApiError::IoError(source) if is_of_disk(source.kind()) => {
                let path = remote.map_or_else(|| self.cache.dir().to_owned(), |remote| remote.blob.clone());
                Failure::Lasting(HubError::Disk { path, source })
            }
            ApiError::IoError(_) => cut(reason),
            ApiError::LockAcquisition(path) => Failure::Lasting(HubError::Busy { path }),
            _ => Failure::Lasting(HubError::Protocol { what: file.to_owned(), reason }),
        }
    }

    fn explain_status(&self, status: u16, file: &str) -> Failure {
        let (id, what) = (self.id.to_string(), file.to_owned());
        match status {
            // The listing was given, so the model exists: it is gated.
            401 | 403 => Failure::Lasting(HubError::Denied { id, status, with_token: self.options.token.is_some() }),
            404 => Failure::Lasting(HubError::FileNotFound { id, revision: self.commit.to_owned(), file: what }),
            408 | 429 | 500.. => Failure::Passing(HubError::Server { what, status }),
            _ => Failure::Lasting(HubError::Server { what, status }),
        }
    }
}

/// Length of the file at `path`, if it is there.
fn len_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.len())
}

/// Whether an error of this kind comes from the disk, and not from the connection.
fn is_of_disk(kind: ErrorKind) -> bool {
    use ErrorKind::{
        AlreadyExists, FileTooLarge, IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded,
        ReadOnlyFilesystem, StorageFull,
    };
    matches!(
        kind,
        AlreadyExists
            | FileTooLarge
            | IsADirectory
            | NotADirectory
            | NotFound
            | PermissionDenied
            | QuotaExceeded
            | ReadOnlyFilesystem
            | StorageFull
    )
}

/// Makes `pointer` show the content of `blob`, which lies in `../../blobs` from it.
fn link(blob: &Path, pointer: &Path) -> std::io::Result<()> {
    if pointer.exists() {
        return Ok(());
    }
    if let Some(parent) = pointer.parent() {
        fs::create_dir_all(parent)?;
    }
    #[cfg(unix)]
    {
        let inside = blob.ancestors().find(|folder| folder.ends_with("blobs")).and_then(Path::parent);
        let relative = inside.and_then(|repo| blob.strip_prefix(repo).ok()).unwrap_or(blob);
        std::os::unix::fs::symlink(Path::new("../..").join(relative), pointer)
    }
    // Links need a privilege on Windows; a second name of the same content doesn't.
    #[cfg(not(unix))]
    fs::hard_link(blob, pointer).or_else(|_| fs::copy(blob, pointer).map(drop))
}
