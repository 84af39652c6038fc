//! A model's folder in the cache, in the layout of Python's `huggingface_hub`:
//!
//! ```text
//! models--OWNER--NAME/
//!     refs/main                       the commit that the branch was when it was asked for
//!     snapshots/COMMIT/config.json    a link to ../../blobs/ETAG
//!     blobs/ETAG                      a file's content
//!     .no_exist/COMMIT/NAME           the commit has no file NAME
//! ```

use super::model_id::ModelId;
use super::{HubError, HubFiles};
use crate::Result;
use crate::checkpoint::index::{INDEX_NAME, Index, SINGLE_NAME};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use std::fs;
use std::path::{Path, PathBuf};

/// The configuration, which every model has.
pub(super) const CONFIG_NAME: &str = "config.json";

/// Files that a model may have, and that something in this crate (or a user's tokenizer) reads.
pub(super) const EXTRAS: [&str; 12] = [
    "generation_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// What the cache has of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cached {
    /// All that the repository has and this crate reads.
    Complete(PathBuf),
    /// Configuration and weights; it isn't known which of [`EXTRAS`] the repository has.
    Usable(PathBuf),
    /// Not this file.
    Missing(String),
}

/// One model and revision in the cache.
#[derive(Debug)]
pub(super) struct RepoCache {
    cache: Cache,
    id: String,
    revision: String,
    dir: PathBuf,
}

/// Whether `text` is the hash of a commit: 40 hexadecimal digits (64 with SHA-256). Only such become parts of paths.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl RepoCache {
    pub(super) fn new(cache_dir: PathBuf, id: &ModelId, revision: &str) -> Self {
        // Links are relative, and `hf-hub` asks for an absolute folder.
        let cache_dir = std::path::absolute(&cache_dir).unwrap_or(cache_dir);
        let dir = cache_dir.join(Repo::new(id.to_string(), RepoType::Model).folder_name());
        Self { cache: Cache::new(cache_dir), id: id.to_string(), revision: revision.to_owned(), dir }
    }

    /// The model's folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The whole cache.
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    fn repo(&self) -> CacheRepo {
        self.cache.repo(Repo::with_revision(self.id.clone(), RepoType::Model, self.revision.clone()))
    }

    /// The commit of the revision, as far as the cache knows.
    pub(super) fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let commit = fs::read_to_string(self.dir.join("refs").join(&self.revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes that the revision is `commit`.
    pub(super) fn set_ref(&self, commit: &str) -> Result<(), HubError> {
        if self.revision == commit || self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        self.repo().create_ref(commit).map_err(HubError::disk(self.dir.join("refs")))
    }

    pub(super) fn snapshot_dir(&self, commit: &str) -> PathBuf {
        self.dir.join("snapshots").join(commit)
    }

    /// Where the content with the tag `etag` is.
    pub(super) fn blob_path(&self, etag: &str) -> PathBuf {
        self.repo().blob_path(etag)
    }

    fn absent_path(&self, commit: &str, file: &str) -> PathBuf {
        self.dir.join(".no_exist").join(commit).join(file)
    }

    /// Notes that the commit has no file `file`.
    pub(super) fn mark_absent(&self, commit: &str, file: &str) -> Result<(), HubError> {
        let path = self.absent_path(commit, file);
        let write = |path: &Path| {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            fs::write(path, b"")
        };
        write(&path).map_err(HubError::disk(path))
    }

    /// Looks what is there, without a request.
    ///
    /// # Errors
    /// [`CheckpointError`](crate::checkpoint::CheckpointError) of a damaged index.
    pub(super) fn inspect(&self, files: HubFiles) -> Result<Cached> {
        let missing = |file: &str| Ok(Cached::Missing(file.to_owned()));
        let Some(commit) = self.commit() else { return missing(CONFIG_NAME) };
        let dir = self.snapshot_dir(&commit);
        let has = |file: &str| dir.join(file).exists();
        if !has(CONFIG_NAME) {
            return missing(CONFIG_NAME);
        }
        if files == HubFiles::All && !has(SINGLE_NAME) {
            if !has(INDEX_NAME) {
                return missing(SINGLE_NAME);
            }
            let index = Index::read(dir.join(INDEX_NAME))?;
            if let Some(shard) = index.files().into_iter().find(|shard| !has(shard)) {
                return missing(shard);
            }
        }
        let known = EXTRAS.into_iter().all(|file| has(file) || self.absent_path(&commit, file).exists());
        Ok(if known { Cached::Complete(dir) } else { Cached::Usable(dir) })
    }
}
