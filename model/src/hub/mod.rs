//! Checkpoints from the Hugging Face Hub, kept in its own cache.
//!
//! ```no_run
//! use qwen3_vl_burn::hub::{HubOptions, download_bar, resolve};
//!
//! let options = HubOptions::from_env().with_progress(download_bar());
//! let dir = resolve("Qwen/Qwen3-VL-2B-Instruct", &options)?;
//! # Ok::<(), qwen3_vl_burn::Error>(())
//! ```
//!
//! What happens, in this order; each step only if the one before it went well:
//!
//! 1. the cache is looked at: where it has everything, no request is made;
//! 2. the Hub lists the revision's files and says which commit it is; everything else is asked of that commit;
//! 3. `config.json` comes first and must be a Qwen3-VL that this crate runs;
//! 4. the small files: tokenizer, templates, preprocessors, `generation_config.json`, and the index of shards;
//! 5. `model.safetensors`, or the shards that the index names. Nothing else: no `*.bin`, no `*.pth`.
//!
//! The cache's layout is the one that Python's `huggingface_hub` uses (`models--OWNER--NAME/{blobs,refs,snapshots}`),
//! so each finds what the other has fetched. A file that was cut off stays as `blobs/*.part`, and the next attempt, or
//! the next run, goes on from there. What a repository is known not to have is kept in `.no_exist`, as Python does.
//!
//! What cannot be had with `hf-hub`: a server that stays silent without closing the connection is waited for; sizes are
//! compared, but no checksums; and the token goes also to the server that the Hub sends the question for a file's size
//! on to.

mod cache;
mod error;
mod fetch;
mod listing;
mod model_id;
mod options;
mod progress;

pub use error::HubError;
pub use options::{HubFiles, HubOptions};
pub use progress::{DownloadBar, DownloadProgress, DownloadStep, download_bar};

use crate::Result;
use crate::checkpoint::adapter::ADAPTER_CONFIG;
use crate::checkpoint::index::{INDEX_NAME, Index, SINGLE_NAME};
use crate::checkpoint::{CheckpointError, ForeignFormat};
use crate::config::Qwen3VlConfig;
use cache::{CONFIG_NAME, Cached, RepoCache};
use fetch::Fetcher;
use listing::list_files;
use model_id::ModelId;
use std::path::{Path, PathBuf};

/// The folder of `model`: itself, where it is a folder, and otherwise the download of the model `owner/name`.
///
/// # Errors
/// [`HubError::NoSuchFolder`] for what looks like a path and isn't there, [`HubError::NotAFolder`], and what
/// [`download`] returns.
pub fn resolve(model: impl AsRef<Path>, options: &HubOptions) -> Result<PathBuf> {
    let path = model.as_ref();
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if path.exists() {
        return Err(HubError::NotAFolder { path: path.to_owned() }.into());
    }
    match path.to_str().filter(|model| !model_id::looks_local(model)) {
        Some(model) => download(model, options),
        None => Err(HubError::NoSuchFolder { path: path.to_owned() }.into()),
    }
}

/// Downloads what the cache lacks of the model `id` (`owner/name`), and gives the folder of its snapshot.
///
/// A branch that is in the cache isn't asked for again, unless [`HubOptions::refresh`] says so. Where the Hub cannot be
/// reached and the cache has all that is needed to load the model, that is used, with a warning.
///
/// # Errors
/// [`HubError`]; [`ConfigError`](crate::config::ConfigError) where `config.json` is not of a model that this crate
/// runs, before its weights are downloaded.
pub fn download(id: &str, options: &HubOptions) -> Result<PathBuf> {
    let id = ModelId::parse(id)?;
    options.validate()?;
    let cache = RepoCache::new(options.cache_dir.clone().ok_or(HubError::NoCacheDir)?, &id, &options.revision);
    let cached = cache.inspect(options.files)?;
    if let Cached::Complete(dir) = &cached
        && (!options.refresh || options.offline)
    {
        return Ok(dir.clone());
    }
    if options.offline {
        return match cached {
            Cached::Complete(dir) | Cached::Usable(dir) => Ok(dir),
            Cached::Missing(missing) => Err(HubError::Offline {
                id: id.to_string(),
                revision: options.revision.clone(),
                missing,
                cache: cache.dir().to_owned(),
            }
            .into()),
        };
    }
    match fetch_all(&id, &cache, options) {
        Err(crate::Error::Hub(error)) if error.is_unreachable() => match cached {
            Cached::Complete(dir) | Cached::Usable(dir) => {
                tracing::warn!(%id, %error, "the Hub cannot be reached; what the cache has is used");
                Ok(dir)
            }
            Cached::Missing(_) => Err(error.into()),
        },
        outcome => outcome,
    }
}

/// Asks the Hub for all that is missing.
fn fetch_all(id: &ModelId, cache: &RepoCache, options: &HubOptions) -> Result<PathBuf> {
    // What is there in part is completed at its own commit, so that a snapshot is never a mixture of two.
    let pinned = cache.commit().filter(|_| !options.refresh);
    let listing = list_files(id, pinned.as_deref().unwrap_or(&options.revision), options)?;
    cache.set_ref(&listing.commit)?;
    let dir = cache.snapshot_dir(&listing.commit);
    let fetcher = Fetcher::new(id, cache, &listing.commit, options)?;

    if listing.has(ADAPTER_CONFIG) && !listing.has(SINGLE_NAME) && !listing.has(INDEX_NAME) {
        let dir = PathBuf::from(id.to_string());
        return Err(CheckpointError::Foreign { dir, format: ForeignFormat::Adapter }.into());
    }
    fetcher.fetch_files(&[listing.require(CONFIG_NAME)?])?;
    Qwen3VlConfig::from_file(dir.join(CONFIG_NAME))?;
    let small: Vec<&str> = cache::EXTRAS.into_iter().filter(|file| listing.has(file)).collect();
    fetcher.fetch_files(&small)?;
    if options.files == HubFiles::All {
        if listing.has(SINGLE_NAME) {
            fetcher.fetch_files(&[SINGLE_NAME])?;
        } else if listing.has(INDEX_NAME) {
            fetcher.fetch_files(&[INDEX_NAME])?;
            let index = Index::read(dir.join(INDEX_NAME))?;
            let shards = index.files().into_iter().map(|shard| listing.require(shard));
            fetcher.fetch_files(&shards.collect::<Result<Vec<_>, _>>()?)?;
        } else {
            return Err(HubError::NoWeights { id: id.to_string(), revision: options.revision.clone() }.into());
        }
    }
    for file in cache::EXTRAS.into_iter().filter(|file| !listing.has(file)) {
        cache.mark_absent(&listing.commit, file)?;
    }
    Ok(dir)
}
