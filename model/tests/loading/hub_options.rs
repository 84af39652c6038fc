//! What is asked of the Hub: names, folders, options and the environment.

use super::hub::{Setup, hub_error};
use crate::hub_server::ID;
use qwen3_vl_burn::hub::{HubError, HubOptions, download, resolve};
use std::fs;
use std::path::Path;

#[test]
fn names_that_are_none() {
    let setup = Setup::new();
    let long = format!("owner/{}", "n".repeat(97));
    for id in [
        "",
        "name",
        "/name",
        "owner/",
        "owner/na me",
        "owner/näme",
        "-owner/name",
        "owner/name.",
        "ow--ner/name",
        "owner/na..me",
        "owner/name.git",
        "owner/name?x=1",
        "owner/name#1",
        "owner/%2e%2e",
        "a/b/c",
        &long,
    ] {
        let error = hub_error(download(id, &setup.options()));
        assert!(matches!(&error, HubError::Id { .. }), "{id}: {error:?}");
    }
    for path in ["./models/absent", "/absent/model", "../absent", "~/models/x", "C:\\models", "a/b/c", "absent/"] {
        let error = hub_error(resolve(path, &setup.options()));
        assert!(matches!(&error, HubError::NoSuchFolder { .. }), "{path}: {error:?}");
        assert!(error.to_string().contains(path), "{error}");
    }
    let error = hub_error(resolve("no-slash", &setup.options()));
    assert!(error.to_string().contains("owner/name"), "{error}");
    assert_eq!(setup.server.take_requests(), []);
    let file = setup.cache.path().join("model.safetensors");
    fs::write(&file, b"").unwrap();
    let error = hub_error(resolve(file.to_str().unwrap(), &setup.options()));
    assert!(matches!(&error, HubError::NotAFolder { .. }), "{error:?}");
    let folder = setup.cache.path().to_str().unwrap();
    assert_eq!(resolve(folder, &setup.options()).unwrap(), setup.cache.path());
}

#[test]
fn options_that_cannot_be() {
    let setup = Setup::new();
    for revision in ["", "a b", "..", "a/../b", "/a", "a//b", "a/", "é", ".hidden", "a\nb"] {
        let error = hub_error(download(ID, &setup.options().with_revision(revision)));
        assert!(matches!(&error, HubError::BadRevision { .. }), "{revision}: {error:?}");
    }
    for endpoint in ["", "huggingface.co", "ftp://x", "https://", "https://a b"] {
        let error = hub_error(download(ID, &setup.options().with_endpoint(endpoint)));
        assert!(matches!(&error, HubError::BadEndpoint { .. }), "{endpoint}: {error:?}");
    }
    let error = hub_error(download(ID, &HubOptions { token: Some("hf_sec\nret".into()), ..setup.options() }));
    assert!(matches!(&error, HubError::BadToken), "{error:?}");
    assert!(!error.to_string().contains("hf_sec"));
    let error = hub_error(download(ID, &HubOptions { cache_dir: None, ..setup.options() }));
    assert!(matches!(&error, HubError::NoCacheDir), "{error:?}");
    assert_eq!(setup.server.take_requests(), []);
}

#[test]
fn the_environment_is_read_as_python_reads_it() {
    let with = |vars: &[(&str, &str)]| {
        HubOptions::from_vars(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    };
    let none = with(&[]);
    assert_eq!((none.endpoint.as_str(), none.revision.as_str()), ("https://huggingface.co", "main"));
    assert!(!none.offline && none.token.is_none() && none.cache_dir.is_none());
    let dir = |vars: &[(&str, &str)]| with(vars).cache_dir.unwrap();
    assert_eq!(dir(&[("HOME", "/h")]), Path::new("/h/.cache/huggingface/hub"));
    assert_eq!(dir(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
    assert_eq!(dir(&[("HOME", "/h"), ("HF_HOME", "/f")]), Path::new("/f/hub"));
    assert_eq!(dir(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
    for (value, offline) in [("1", true), ("True", true), ("ON", true), ("yes", true), ("0", false), ("", false)] {
        assert_eq!(with(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
    }
    assert_eq!(with(&[("HF_ENDPOINT", "https://mirror")]).endpoint, "https://mirror");

    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("token"), "from-file\n").unwrap();
    let home_path = home.path().to_str().unwrap();
    assert_eq!(with(&[("HF_HOME", home_path)]).token.as_deref(), Some("from-file"));
    let both = with(&[("HF_HOME", home_path), ("HF_TOKEN", " from-variable ")]);
    assert_eq!(both.token.as_deref(), Some("from-variable"));
    assert!(!format!("{both:?}").contains("from-variable"));
}

#[test]
fn the_token_is_sent() {
    let setup = Setup::new();
    let options = HubOptions { token: Some("hf_secret".into()), ..setup.options() };
    download(ID, &options).unwrap();
    let requests = setup.server.take_requests();
    assert!(requests.iter().all(|request| request.authorization.as_deref() == Some("Bearer hf_secret")));
}
