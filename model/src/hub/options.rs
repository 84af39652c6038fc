//! How and where to download.

use super::{DownloadProgress, HubError};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The public Hub.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Which of a model's files are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HubFiles {
    /// All that running it needs.
    #[default]
    All,
    /// Everything but the weights: configuration, tokenizer, templates, preprocessors.
    WithoutWeights,
}

/// How [`download`](super::download) works. [`HubOptions::from_env`] reads the variables that Python's
/// `huggingface_hub` reads.
#[derive(Clone)]
pub struct HubOptions {
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The cache, which holds a folder for each model; `None` where there is no home folder.
    pub cache_dir: Option<PathBuf>,
    /// Sent with every request; `None` for public models.
    pub token: Option<String>,
    /// The server, without a slash at the end.
    pub endpoint: String,
    /// Whether to make no request at all.
    pub offline: bool,
    /// Whether to ask which commit a branch is now though the cache has it.
    pub refresh: bool,
    /// Which files.
    pub files: HubFiles,
    /// How often a request that failed on the way is made again.
    pub retries: u32,
    /// The wait before the first time; doubled each time, up to 10 s.
    pub retry_wait: Duration,
    /// Is told of every piece that arrives.
    pub progress: Option<Arc<dyn DownloadProgress>>,
}

impl Default for HubOptions {
    /// [`HubOptions::from_env`].
    fn default() -> Self {
        Self::from_env()
    }
}

impl HubOptions {
    /// Branch `main`, and what the environment says; see [`HubOptions::from_vars`].
    pub fn from_env() -> Self {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// Branch `main`, and what the variables say that `var` gives:
    ///
    /// | variable | meaning |
    /// | --- | --- |
    /// | `HF_HUB_CACHE` | the cache; else `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub` |
    /// | `HF_TOKEN` | the token; else the content of the file `HF_TOKEN_PATH`, or of `token` beside the cache's default place |
    /// | `HF_ENDPOINT` | the server, else `https://huggingface.co` |
    /// | `HF_HUB_OFFLINE` | no requests, if it is `1`, `on`, `yes` or `true` |
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let path = |name: &str| var(name).map(PathBuf::from);
        let user_cache =
            path("XDG_CACHE_HOME").or_else(|| Some(path("HOME").or_else(|| path("USERPROFILE"))?.join(".cache")));
        let home = path("HF_HOME").or_else(|| Some(user_cache?.join("huggingface")));
        let token_file = path("HF_TOKEN_PATH").or_else(|| Some(home.as_ref()?.join("token")));
        let token = var("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file?).ok());
        let offline = var("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_lowercase();
        Self {
            revision: "main".to_owned(),
            cache_dir: path("HF_HUB_CACHE").or_else(|| Some(home?.join("hub"))),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()),
            offline: ["1", "on", "yes", "true"].contains(&offline.trim()),
            refresh: false,
            files: HubFiles::All,
            retries: 5,
            retry_wait: Duration::from_millis(500),
            progress: None,
        }
    }

    /// Another branch, tag or commit.
    pub fn with_revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = revision.into();
        self
    }

    /// Another cache.
    pub fn with_cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(dir.into());
        self
    }

    /// Another server.
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// Tells `progress` of every piece that arrives.
    pub fn with_progress(mut self, progress: impl DownloadProgress + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Checks what becomes part of paths, addresses and headers.
    pub(super) fn validate(&self) -> Result<(), HubError> {
        let revision = &self.revision;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        let parts_hold = revision.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
        if revision.len() > 255 || !revision.bytes().all(plain) || !parts_hold || revision.contains("..") {
            return Err(HubError::BadRevision { given: revision.chars().take(255).collect() });
        }
        let host = self.endpoint.strip_prefix("https://").or_else(|| self.endpoint.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.bytes().any(|byte| !byte.is_ascii_graphic())) {
            return Err(HubError::BadEndpoint { given: self.endpoint.clone() });
        }
        if self.token.as_ref().is_some_and(|token| token.bytes().any(|byte| !byte.is_ascii_graphic())) {
            return Err(HubError::BadToken);
        }
        Ok(())
    }

    /// The server without a slash at the end.
    pub(super) fn server(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }

    /// The wait before attempt `attempt` is followed by another.
    pub(super) fn wait_after(&self, attempt: u32) -> Duration {
        const LONGEST: Duration = Duration::from_secs(10);
        self.retry_wait.saturating_mul(1 << attempt.min(10)).min(LONGEST)
    }
}

/// Without the token.
impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("revision", &self.revision)
            .field("cache_dir", &self.cache_dir)
            .field("has_token", &self.token.is_some())
            .field("endpoint", &self.endpoint)
            .field("offline", &self.offline)
            .field("refresh", &self.refresh)
            .field("files", &self.files)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}
