//! What can go wrong on the way from the Hub.

use std::io;
use std::path::PathBuf;

/// A checkpoint that cannot be had from the Hub or its cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The name of a model is not one.
    #[error("`{given}` is not a model on the Hub: {reason}")]
    Id {
        /// What was given.
        given: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A path that isn't there.
    #[error("there is no folder {}", path.display())]
    NoSuchFolder {
        /// The path.
        path: PathBuf,
    },
    /// A path to something else than a folder.
    #[error("{} is not a folder: give the folder that holds config.json", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// The name of a revision cannot be one.
    #[error(
        "`{given}` is not a revision: a branch, a tag or a commit has letters, digits, `.`, `_`, `-` and single `/`"
    )]
    BadRevision {
        /// What was given.
        given: String,
    },
    /// The endpoint is not the address of a server.
    #[error("the endpoint `{given}` does not begin with https:// or http:// (HF_ENDPOINT)")]
    BadEndpoint {
        /// What was given.
        given: String,
    },
    /// The token cannot be sent. It isn't shown.
    #[error("the access token has characters that no token has (HF_TOKEN, or the file that `hf auth login` writes)")]
    BadToken,
    /// It isn't known where the cache is.
    #[error("there is no home folder to keep the cache in: set HF_HOME or HF_HUB_CACHE")]
    NoCacheDir,
    /// Requests are forbidden, and the cache lacks a file.
    #[error(
        "{id} (revision {revision}) is not whole in the cache {}: {missing} is missing, and no request is made in offline mode. \
         Run once without HF_HUB_OFFLINE, or copy the model's folder here and give its path", cache.display()
    )]
    Offline {
        /// The model.
        id: String,
        /// The revision.
        revision: String,
        /// The first file that is missing.
        missing: String,
        /// The model's folder in the cache.
        cache: PathBuf,
    },
    /// The Hub refuses: 401 or 403.
    #[error(
        "the Hub refuses access to {id} ({status}): {}",
        if *with_token {
            "the token that was sent may not read it. If the model is gated, accept its terms on its page; if it is private, use a token \
             of its owner"
        } else {
            "it is private, gated, or does not exist, and no token was sent. Set HF_TOKEN or run `hf auth login`, and, if it is gated, \
             accept its terms on its page"
        }
    )]
    Denied {
        /// The model.
        id: String,
        /// The HTTP status.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// There is no such model: 404.
    #[error("there is no model {id} at {endpoint}")]
    RepoNotFound {
        /// The model.
        id: String,
        /// The server.
        endpoint: String,
    },
    /// The model has no such revision.
    #[error("{id} has no revision {revision}")]
    RevisionNotFound {
        /// The model.
        id: String,
        /// The revision.
        revision: String,
    },
    /// The revision has no such file.
    #[error("{id} has no file {file} at revision {revision}")]
    FileNotFound {
        /// The model.
        id: String,
        /// The revision or commit.
        revision: String,
        /// The file.
        file: String,
    },
    /// The revision has no weights that are read.
    #[error(
        "{id} has neither model.safetensors nor model.safetensors.index.json at revision {revision}; other formats are not read"
    )]
    NoWeights {
        /// The model.
        id: String,
        /// The revision.
        revision: String,
    },
    /// The server cannot be reached, or the connection fails before a file begins.
    #[error("cannot reach {endpoint} for {what}: {reason}. Without a network, HF_HUB_OFFLINE=1 uses the cache alone")]
    Network {
        /// The server.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// What failed.
        reason: String,
    },
    /// The server answers with an error, also when asked again.
    #[error("the Hub answers {status} for {what}")]
    Server {
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server's answer is not what the Hub gives.
    #[error("the answer for {what} is not the Hub's: {reason}")]
    Protocol {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file was cut off, also when asked again. The next run goes on where this one ended.
    #[error(
        "the download of {file} was cut off after {done} of {total} bytes: {reason}. Run again to go on from there"
    )]
    Interrupted {
        /// The file.
        file: String,
        /// Bytes that are there.
        done: u64,
        /// Bytes that it has.
        total: u64,
        /// What failed.
        reason: String,
    },
    /// A file has another size than the server said.
    #[error("{file} has {found} bytes where {expected} were announced")]
    WrongSize {
        /// The file.
        file: String,
        /// Bytes that were announced.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// Another process is downloading the same file.
    #[error("another process holds {}: wait for it, or remove the file if there is none", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The disk does not take it: full, read-only, or not allowed.
    #[error("cannot write {}: {source}", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl HubError {
    /// Whether the server couldn't be asked, or couldn't answer: what the cache has may then serve.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Network { .. } | Self::Server { status: 408 | 429 | 500.., .. })
    }

    pub(super) fn disk(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { path, source }
    }
}
