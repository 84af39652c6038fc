//! Downloads, against a server on this machine: what is asked for, what is kept, and what each failure is called.

use crate::fixture;
use crate::hub_server;

use burn_flex::Flex;
use hub_server::{COMMIT, HubServer, ID};
use qwen3_vl_burn::config::ConfigError;
use qwen3_vl_burn::error::CheckpointError;
use qwen3_vl_burn::hub::{DownloadStep, HubError, HubFiles, HubOptions, download, resolve};
use qwen3_vl_burn::{Error, LoadOptions, Logits, Qwen3Vl, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SHARD_1: &str = "model-00001-of-00002.safetensors";
const SHARD_2: &str = "model-00002-of-00002.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Bytes that differ everywhere.
fn content(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

/// A model in two shards, with files beside it that nobody needs.
pub struct Setup {
    pub server: HubServer,
    pub cache: tempfile::TempDir,
    shards: [Vec<u8>; 2],
}

impl Setup {
    pub fn new() -> Self {
        let shards = [content(1, 100_000), content(2, 70_000)];
        let config = fs::read(fixture::folder("tiny-dense").join("config.json")).unwrap();
        let index = format!(r#"{{"weight_map":{{"a":"{SHARD_1}","b":"{SHARD_2}","c":"{SHARD_1}"}}}}"#);
        let server = HubServer::start(&[
            ("config.json", &config),
            (INDEX, index.as_bytes()),
            (SHARD_1, &shards[0]),
            (SHARD_2, &shards[1]),
            ("model-00003-of-00002.safetensors", b"not in the index"),
            ("tokenizer.json", b"{}"),
            ("chat_template.json", b"{\"chat_template\":\"\"}"),
            ("preprocessor_config.json", b"{\"size\":{}}"),
            ("pytorch_model.bin", b"pickle"),
            ("weights.pth", b"pickle"),
            ("README.md", b"read me"),
        ]);
        Self { server, cache: tempfile::tempdir().unwrap(), shards }
    }

    pub fn options(&self) -> HubOptions {
        let mut options =
            HubOptions::from_vars(|_| None).with_endpoint(self.server.endpoint()).with_cache_dir(self.cache.path());
        options.retries = 0;
        options.retry_wait = Duration::from_millis(1);
        options
    }

    fn retrying(&self, retries: u32) -> HubOptions {
        HubOptions { retries, ..self.options() }
    }

    fn repo(&self) -> PathBuf {
        self.cache.path().join("models--owner--tiny-model")
    }

    fn snapshot(&self) -> PathBuf {
        self.repo().join("snapshots").join(COMMIT)
    }

    /// Ranges that were asked of the content of `file` (not of its size) since the last call.
    fn content_requests(&self, file: &str) -> Vec<String> {
        let requests = self.server.take_requests().into_iter().filter(|request| request.path.ends_with(file));
        requests.filter_map(|request| request.range).filter(|range| range != "bytes=0-0").collect()
    }

    #[track_caller]
    fn assert_whole(&self, dir: &Path) {
        assert_eq!(dir, self.snapshot());
        assert!(fs::read(dir.join(SHARD_1)).unwrap() == self.shards[0], "first shard");
        assert!(fs::read(dir.join(SHARD_2)).unwrap() == self.shards[1], "second shard");
        let blobs = fs::read_dir(self.repo().join("blobs")).unwrap();
        let names: Vec<_> = blobs.map(|blob| blob.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().all(|name| !name.ends_with(".part")), "{names:?}");
    }
}

#[track_caller]
pub fn hub_error<T>(result: Result<T>) -> HubError {
    match result {
        Err(Error::Hub(error)) => error,
        Err(other) => panic!("not a hub error: {other:?}"),
        Ok(_) => panic!("no error"),
    }
}

macro_rules! assert_matches {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $error;
        assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}");
        error
    }};
}

#[test]
fn fetches_what_is_needed_and_nothing_else() {
    let setup = Setup::new();
    let dir = download(ID, &setup.options()).unwrap();
    setup.assert_whole(&dir);
    let requests = setup.server.take_requests();
    let files: Vec<&str> = requests.iter().map(|request| request.path.rsplit('/').next().unwrap()).collect();
    for file in ["pytorch_model.bin", "weights.pth", "README.md", "model-00003-of-00002.safetensors"] {
        assert!(!files.contains(&file), "{file}");
        assert!(!dir.join(file).exists());
    }
    // The list first, the configuration before anything else, the index before the shards.
    assert_eq!(requests[0].path, format!("/api/models/{ID}/revision/main"));
    let place = |file: &str| files.iter().position(|found| *found == file).unwrap();
    assert_eq!(place("config.json"), 1);
    assert!(place(INDEX) < place(SHARD_1).min(place(SHARD_2)));
    assert!(place("tokenizer.json") < place(INDEX));
    // All of one commit.
    assert!(requests[1..].iter().all(|request| request.path.starts_with(&format!("/{ID}/resolve/{COMMIT}/"))));
    assert!(requests.iter().all(|request| request.authorization.is_none()));

    // The layout of Python's cache.
    assert_eq!(fs::read_to_string(setup.repo().join("refs/main")).unwrap(), COMMIT);
    assert!(setup.repo().join(".no_exist").join(COMMIT).join("generation_config.json").exists());
    #[cfg(unix)]
    {
        let link = fs::read_link(dir.join(SHARD_1)).unwrap();
        assert_eq!(link.parent().unwrap(), Path::new("../../blobs"));
    }
}

#[test]
fn a_second_run_asks_nothing() {
    let setup = Setup::new();
    let dir = download(ID, &setup.options()).unwrap();
    setup.server.take_requests();
    assert_eq!(download(ID, &setup.options()).unwrap(), dir);
    assert_eq!(resolve(ID, &setup.options()).unwrap(), dir);
    // By its commit too.
    assert_eq!(download(ID, &setup.options().with_revision(COMMIT)).unwrap(), dir);
    assert_eq!(setup.server.take_requests(), []);
}

#[test]
fn what_is_downloaded_can_be_loaded() {
    let folder = fixture::folder("tiny-moe");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let (config, weights, settings) =
        (read("config.json"), read("model.safetensors"), read("preprocessor_config.json"));
    let server = HubServer::start(&[
        ("config.json", &config),
        ("model.safetensors", &weights),
        ("preprocessor_config.json", &settings),
    ]);
    server.state().redirects = true;
    let cache = tempfile::tempdir().unwrap();
    let options = HubOptions::from_vars(|_| None).with_endpoint(server.endpoint()).with_cache_dir(cache.path());
    let dir = resolve(ID, &options).unwrap();
    let model = Qwen3Vl::<Flex>::load(&dir, &Default::default(), LoadOptions::default()).unwrap();
    let here = Qwen3Vl::<Flex>::load(&folder, &Default::default(), LoadOptions::default()).unwrap();
    let inputs = fixture::Case::open("tiny-moe", "image").inputs();
    let logits = [model, here].map(|model| model.forward(&inputs, Logits::All).unwrap().into_data());
    assert_eq!(logits[0], logits[1]);
    // The server sent each request on.
    assert!(server.take_requests().iter().any(|request| request.path == "/cdn/model.safetensors"));
}

#[test]
fn a_cut_connection_is_gone_on_from() {
    let setup = Setup::new();
    setup.server.state().cuts.insert(SHARD_1.into(), vec![30_000, 20_000]);
    setup.assert_whole(&download(ID, &setup.retrying(2)).unwrap());
    assert_eq!(setup.content_requests(SHARD_1), ["bytes=0-", "bytes=30000-", "bytes=50000-"]);
}

#[test]
fn the_next_run_goes_on() {
    let setup = Setup::new();
    setup.server.state().cuts.insert(SHARD_2.into(), vec![12_345]);
    let error = hub_error(download(ID, &setup.options()));
    assert_matches!(&error, HubError::Interrupted { file, done: 12_345, total: 70_000, .. } if file == SHARD_2);
    assert!(error.to_string().contains("12345 of 70000"), "{error}");
    setup.server.take_requests();
    setup.assert_whole(&download(ID, &setup.options()).unwrap());
    let requests = setup.server.take_requests();
    let ranges: Vec<_> =
        requests.iter().filter(|r| r.path.ends_with(SHARD_2)).map(|r| r.range.clone().unwrap()).collect();
    // Its size, its size again by hf-hub, and the rest.
    assert_eq!(ranges, ["bytes=0-0", "bytes=0-0", "bytes=12345-"]);
    assert!(!requests.iter().any(|request| request.path.ends_with(SHARD_1)));
}

/// Leaves `len` bytes of the second shard as a part, and its content nowhere.
fn leave_part(setup: &Setup, len: usize) {
    setup.server.state().cuts.insert(SHARD_2.into(), vec![0]);
    hub_error(download(ID, &setup.options()));
    let blobs = fs::read_dir(setup.repo().join("blobs")).unwrap().map(|blob| blob.unwrap().path());
    let part = blobs.into_iter().find(|blob| blob.extension().is_some_and(|extension| extension == "part")).unwrap();
    let mut bytes = setup.shards[1].clone();
    bytes.resize(len, 0);
    fs::write(part, bytes).unwrap();
    setup.server.take_requests();
}

#[test]
fn remains_of_an_earlier_run_are_made_fit() {
    // All of it, before it was renamed.
    let setup = Setup::new();
    leave_part(&setup, 70_000);
    setup.assert_whole(&download(ID, &setup.options()).unwrap());
    assert_eq!(setup.content_requests(SHARD_2), [""; 0]);
    // More than there is.
    let setup = Setup::new();
    leave_part(&setup, 70_001);
    setup.assert_whole(&download(ID, &setup.options()).unwrap());
    assert_eq!(setup.content_requests(SHARD_2), ["bytes=0-"]);
    // A link to content that is gone, and content that was cut.
    let setup = Setup::new();
    let dir = download(ID, &setup.options()).unwrap();
    let blob = fs::canonicalize(dir.join(SHARD_1)).unwrap();
    fs::remove_file(blob).unwrap();
    setup.server.take_requests();
    setup.assert_whole(&download(ID, &setup.options()).unwrap());
    assert_eq!(setup.content_requests(SHARD_1), ["bytes=0-"]);
}

#[test]
fn a_length_that_is_not_the_announced_one() {
    let setup = Setup::new();
    setup.server.state().lies.insert(SHARD_1.into(), vec![40_000]);
    assert_matches!(hub_error(download(ID, &setup.options())),
        HubError::WrongSize { file, expected: 100_000, found: 40_000 } if file == SHARD_1);
    assert!(!setup.snapshot().join(SHARD_1).exists());
    // What came is kept, and gone on from.
    setup.assert_whole(&download(ID, &setup.options()).unwrap());
    assert_eq!(setup.content_requests(SHARD_1), ["bytes=0-", "bytes=40000-"]);
}

#[test]
fn a_server_that_ignores_ranges() {
    let setup = Setup::new();
    setup.server.state().cuts.insert(SHARD_1.into(), vec![30_000]);
    hub_error(download(ID, &setup.options()));
    setup.server.state().ignores_range = true;
    // The whole after the part is too much; the part is dropped, and the whole fetched.
    setup.assert_whole(&download(ID, &setup.retrying(1)).unwrap());
}

#[test]
fn offline_uses_the_cache_alone() {
    let setup = Setup::new();
    let offline = HubOptions { offline: true, ..setup.options() };
    let error = assert_matches!(hub_error(download(ID, &offline)),
        HubError::Offline { id, missing, .. } if id == ID && missing == "config.json");
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    setup.server.state().cuts.insert(SHARD_2.into(), vec![5]);
    hub_error(download(ID, &setup.options()));
    setup.server.take_requests();
    assert_matches!(hub_error(download(ID, &offline)), HubError::Offline { missing, .. } if missing == SHARD_2);
    assert_eq!(setup.server.take_requests(), []);
    download(ID, &setup.options()).unwrap();
    setup.server.take_requests();
    setup.assert_whole(&download(ID, &offline).unwrap());
    setup.assert_whole(&download(ID, &HubOptions { refresh: true, ..offline.clone() }).unwrap());
    assert_eq!(setup.server.take_requests(), []);
    assert_matches!(
        hub_error(download(ID, &offline.with_revision("other"))),
        HubError::Offline { revision, .. } if revision == "other"
    );
}

#[test]
fn refused_and_absent() {
    let setup = Setup::new();
    let with_token = HubOptions { token: Some("secret".into()), ..setup.options() };
    for status in [401, 403] {
        setup.server.state().listing_fails = Some((status, "GatedRepo"));
        let error = assert_matches!(hub_error(download(ID, &setup.options())),
            HubError::Denied { status: found, with_token: false, .. } if *found == status);
        assert!(error.to_string().contains("HF_TOKEN"), "{error}");
        let error = hub_error(download(ID, &with_token));
        assert_matches!(&error, HubError::Denied { with_token: true, .. });
        assert!(error.to_string().contains("terms") && !error.to_string().contains("secret"), "{error}");
    }
    setup.server.state().listing_fails = Some((404, "RepoNotFound"));
    let error =
        assert_matches!(hub_error(download(ID, &setup.options())), HubError::RepoNotFound { id, .. } if id == ID);
    assert!(error.to_string().contains(&setup.server.endpoint()), "{error}");
    setup.server.state().listing_fails = Some((404, "RevisionNotFound"));
    assert_matches!(hub_error(download(ID, &setup.options().with_revision("v9"))),
        HubError::RevisionNotFound { revision, .. } if revision == "v9");
    setup.server.state().listing_fails = None;
    // Listed, but gated: the list is public, the files are not.
    setup.server.state().file_fails.insert("config.json".into(), vec![403]);
    assert_matches!(hub_error(download(ID, &setup.options())), HubError::Denied { status: 403, .. });
    // Listed, and not there.
    setup.server.state().file_fails.insert(SHARD_1.into(), vec![404]);
    assert_matches!(hub_error(download(ID, &setup.options())), HubError::FileNotFound { file, .. } if file == SHARD_1);
    assert!(setup.server.take_requests().iter().all(|request| {
        request.authorization.is_none() || request.authorization.as_deref() == Some("Bearer secret")
    }));
}

#[test]
fn models_that_lack_files() {
    for (absent, expected) in [("config.json", "config.json"), (SHARD_2, SHARD_2)] {
        let setup = Setup::new();
        setup.server.state().files.remove(absent);
        assert_matches!(hub_error(download(ID, &setup.options())),
            HubError::FileNotFound { file, .. } if file == expected);
    }
    let setup = Setup::new();
    setup.server.state().files.remove(INDEX);
    let error = assert_matches!(hub_error(download(ID, &setup.options())), HubError::NoWeights { .. });
    assert!(error.to_string().contains("other formats"), "{error}");
    // An adapter, which has no weights of a model.
    setup.server.state().files.insert("adapter_config.json".into(), b"{}".to_vec());
    let error = download(ID, &setup.options()).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Foreign { .. })), "{error}");
    assert!(error.to_string().contains(ID) && error.to_string().contains("adapter"), "{error}");
}

#[test]
fn another_model_is_refused_before_its_weights() {
    let setup = Setup::new();
    setup.server.state().files.insert("config.json".into(), br#"{"model_type":"llama"}"#.to_vec());
    let error = download(ID, &setup.options()).unwrap_err();
    assert!(matches!(&error, Error::Config(ConfigError::ModelType { found }) if found == "llama"), "{error:?}");
    let requests = setup.server.take_requests();
    assert!(requests.iter().all(|r| r.path.ends_with("config.json") || r.path.starts_with("/api/")), "{requests:?}");
}

#[test]
fn a_hostile_server() {
    // An index that leaves the folder.
    let setup = Setup::new();
    setup.server.state().files.insert(INDEX.into(), br#"{"weight_map":{"a":"../../../escaped"}}"#.to_vec());
    let error = download(ID, &setup.options()).unwrap_err();
    assert!(matches!(&error, Error::Checkpoint(CheckpointError::ShardName { .. })), "{error:?}");
    // Tags and commits become parts of paths.
    for etag in ["../../../escaped", "a/b", "..", "", "\u{1f}"] {
        let setup = Setup::new();
        setup.server.state().etag = Some(etag.to_owned());
        let error = hub_error(download(ID, &setup.options()));
        assert!(matches!(&error, HubError::Protocol { .. } | HubError::Network { .. }), "{etag}: {error:?}");
    }
    for commit in ["../../escaped", "main", ""] {
        let setup = Setup::new();
        setup.server.state().commit = commit.to_owned();
        assert_matches!(hub_error(download(ID, &setup.options())), HubError::Protocol { .. });
    }
}

#[test]
fn a_server_that_fails_for_a_while() {
    let setup = Setup::new();
    setup.server.state().file_fails.insert("config.json".into(), vec![503, 429]);
    setup.server.state().file_fails.insert(SHARD_1.into(), vec![500]);
    setup.assert_whole(&download(ID, &setup.retrying(2)).unwrap());
    let setup = Setup::new();
    setup.server.state().listing_fails = Some((502, ""));
    assert_matches!(hub_error(download(ID, &setup.retrying(2))), HubError::Server { status: 502, .. });
    assert_eq!(setup.server.take_requests().len(), 3);
    // An error that stays is not asked about again.
    setup.server.state().listing_fails = Some((418, ""));
    assert_matches!(hub_error(download(ID, &setup.retrying(2))), HubError::Server { status: 418, .. });
    assert_eq!(setup.server.take_requests().len(), 1);
}

/// An address where nobody listens: of a listener that is gone.
fn dead_endpoint() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn without_a_network() {
    let setup = Setup::new();
    let cut_off = setup.options().with_endpoint(dead_endpoint());
    let error = assert_matches!(hub_error(download(ID, &cut_off)), HubError::Network { .. });
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
    let dir = download(ID, &setup.options()).unwrap();
    // What Python's tools fetched has no notes of absent files: the Hub would be asked, but what is there serves.
    fs::remove_dir_all(setup.repo().join(".no_exist")).unwrap();
    assert_eq!(download(ID, &cut_off).unwrap(), dir);
    assert_eq!(download(ID, &HubOptions { refresh: true, ..cut_off }).unwrap(), dir);
}

#[test]
fn a_branch_that_moved() {
    const NEXT: &str = "89abcdef0123456789abcdef0123456789abcdef";
    let setup = Setup::new();
    download(ID, &setup.options()).unwrap();
    {
        let mut state = setup.server.state();
        state.commit = NEXT.to_owned();
        state.files.insert("tokenizer.json".into(), b"{\"new\":1}".to_vec());
        state.requests.clear();
    }
    // Not asked without reason.
    assert_eq!(download(ID, &setup.options()).unwrap(), setup.snapshot());
    let dir = download(ID, &HubOptions { refresh: true, ..setup.options() }).unwrap();
    assert!(dir.ends_with(NEXT));
    assert_eq!(fs::read(dir.join("tokenizer.json")).unwrap(), b"{\"new\":1}");
    assert!(fs::read(dir.join(SHARD_1)).unwrap() == setup.shards[0]);
    // Content that is there under the other commit isn't sent again.
    assert_eq!(setup.content_requests(SHARD_1), [""; 0]);
    assert_eq!(fs::read_to_string(setup.repo().join("refs/main")).unwrap(), NEXT);
    assert_eq!(download(ID, &setup.options()).unwrap(), dir);
}

#[test]
fn a_revision_with_slashes() {
    let setup = Setup::new();
    let options = setup.options().with_revision("refs/pr/3");
    setup.assert_whole(&download(ID, &options).unwrap());
    assert_eq!(setup.server.take_requests()[0].path, format!("/api/models/{ID}/revision/refs%2Fpr%2F3"));
    assert_eq!(fs::read_to_string(setup.repo().join("refs/refs/pr/3")).unwrap(), COMMIT);
}

#[test]
fn without_weights() {
    let setup = Setup::new();
    let options = HubOptions { files: HubFiles::WithoutWeights, ..setup.options() };
    let dir = download(ID, &options).unwrap();
    assert!(dir.join("tokenizer.json").exists() && !dir.join(INDEX).exists());
    setup.server.take_requests();
    download(ID, &options).unwrap();
    assert_eq!(setup.server.take_requests(), []);
    // The weights can follow.
    setup.assert_whole(&download(ID, &setup.options()).unwrap());
}

#[test]
fn progress_is_told() {
    let setup = Setup::new();
    let steps: Arc<Mutex<Vec<(String, u64, u64)>>> = Arc::default();
    let record = steps.clone();
    let options = setup.options().with_progress(move |step: DownloadStep<'_>| {
        record.lock().unwrap().push((step.file.to_owned(), step.done, step.total));
    });
    download(ID, &options).unwrap();
    let steps = steps.lock().unwrap();
    let shards: Vec<_> = steps.iter().filter(|step| step.0 == SHARD_1 || step.0 == SHARD_2).collect();
    assert!(shards.is_sorted_by(|a, b| a.1 <= b.1), "{shards:?}");
    assert!(shards.iter().all(|step| step.2 == 170_000));
    assert_eq!(shards.last().unwrap().1, 170_000);
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written() {
    let setup = Setup::new();
    let file = setup.cache.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = hub_error(download(ID, &setup.options().with_cache_dir(file.join("cache"))));
    assert_matches!(error, HubError::Disk { path, .. } if path.starts_with(&file));
}

#[test]
fn another_process_at_the_same_file() {
    let setup = Setup::new();
    leave_part(&setup, 10);
    let blobs = fs::read_dir(setup.repo().join("blobs")).unwrap().map(|blob| blob.unwrap().path());
    let part = blobs.into_iter().find(|blob| blob.extension().is_some_and(|extension| extension == "part")).unwrap();
    let lock = fs::File::create(part.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    assert_matches!(hub_error(download(ID, &setup.options())), HubError::Busy { .. });
    drop(lock);
    setup.assert_whole(&download(ID, &setup.options()).unwrap());
}
