//! Which files a revision has, and which commit it is: `GET {endpoint}/api/models/{id}/revision/{revision}`.

use super::cache::is_commit;
use super::fetch::build_api;
use super::model_id::ModelId;
use super::{HubError, HubOptions};
use hf_hub::api::RepoInfo;
use hf_hub::{Cache, Repo, RepoType};
use std::collections::BTreeSet;
use std::thread;

/// The most that a listing may be, bytes. That of a released checkpoint is about 10 KB.
const MAX_LISTING_BYTES: u64 = 16 << 20;

/// The files of one commit.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) commit: String,
    id: String,
    files: BTreeSet<String>,
}

impl Listing {
    pub(super) fn has(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    /// `file`, if the commit has it.
    pub(super) fn require<'a>(&self, file: &'a str) -> Result<&'a str, HubError> {
        if self.has(file) {
            return Ok(file);
        }
        let (id, revision) = (self.id.clone(), self.commit.clone());
        Err(HubError::FileNotFound { id, revision, file: file.to_owned() })
    }
}

/// Asks for the files of `revision`, again where that fails on the way.
pub(super) fn list_files(id: &ModelId, revision: &str, options: &HubOptions) -> Result<Listing, HubError> {
    let mut attempt = 0;
    loop {
        match ask(id, revision, options) {
            Err(error) if error.is_unreachable() && attempt < options.retries => {
                thread::sleep(options.wait_after(attempt));
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn ask(id: &ModelId, revision: &str, options: &HubOptions) -> Result<Listing, HubError> {
    let what = format!("the files of {id}");
    let network = |error: ureq::Error| HubError::Network {
        endpoint: options.server().to_owned(),
        what: what.clone(),
        reason: error.to_string(),
    };
    let protocol = |reason: String| HubError::Protocol { what: what.clone(), reason };
    // Nothing is written by this request, so any folder does.
    let api = build_api(Cache::new(options.cache_dir.clone().unwrap_or_default()), options)?;
    let repo = api.repo(Repo::with_revision(id.to_string(), RepoType::Model, revision.to_owned()));
    let request = repo.info_request().config().http_status_as_error(false).build();
    let mut response = request.call().map_err(network)?;
    let status = response.status().as_u16();
    let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok()).unwrap_or_default();
    match status {
        200 => {}
        401 | 403 => {
            return Err(HubError::Denied { id: id.to_string(), status, with_token: options.token.is_some() });
        }
        404 if code == "RevisionNotFound" => {
            return Err(HubError::RevisionNotFound { id: id.to_string(), revision: revision.to_owned() });
        }
        404 => {
            return Err(HubError::RepoNotFound { id: id.to_string(), endpoint: options.server().to_owned() });
        }
        _ => return Err(HubError::Server { what, status }),
    }
    let body = response.body_mut().with_config().limit(MAX_LISTING_BYTES).read_to_string().map_err(network)?;
    let info: RepoInfo = serde_json::from_str(&body).map_err(|error| protocol(error.to_string()))?;
    if !is_commit(&info.sha) {
        return Err(protocol("its `sha` is not the hash of a commit".to_owned()));
    }
    let files = info.siblings.into_iter().map(|file| file.rfilename).collect();
    Ok(Listing { commit: info.sha, id: id.to_string(), files })
}
