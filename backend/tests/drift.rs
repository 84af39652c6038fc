//! Every method of Burn's op traits is in exactly one of three lists: overridden, forwarded or inherited. The pinned
//! `burn-backend` is read from where cargo keeps it, so that a new release of it cannot add a method unnoticed.

use burn_kiln::decorator::INHERITED;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A trait of Burn's, the file that defines it and the file here that implements it.
const TRAITS: [(&str, &str, &str); 8] = [
    ("Backend", "base.rs", "backend.rs"),
    ("FloatTensorOps", "ops/tensor.rs", "float_tensor.rs"),
    ("IntTensorOps", "ops/int_tensor.rs", "int_tensor.rs"),
    ("BoolTensorOps", "ops/bool_tensor.rs", "bool_tensor.rs"),
    ("ModuleOps", "ops/modules/base.rs", "module.rs"),
    ("ActivationOps", "ops/activation.rs", "activation.rs"),
    ("QTensorOps", "ops/qtensor.rs", "qtensor.rs"),
    ("TransactionOps", "ops/transaction.rs", "transaction.rs"),
];

#[test]
fn every_backend_method_is_in_exactly_one_list() {
    let burn = find_burn_backend();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/decorator");
    let mut inherited: BTreeSet<&str> = INHERITED.iter().map(|(name, _)| *name).collect();
    let mut total = 0;
    for (name, theirs, ours) in TRAITS {
        let declared = methods(&block(&read(&burn.join(theirs)), &format!("pub trait {name}")));
        let implemented = methods(&block(&read(&own.join(ours)), &format!(" {name}")));
        total += declared.len();
        for (method, times) in &implemented {
            assert_eq!(*times, 1, "{name}::{method} is written {times} times in {ours}");
            assert!(declared.contains_key(method), "{ours} implements {method}, which {name} does not have");
            assert!(!inherited.contains(method.as_str()), "{name}::{method} is implemented and listed as inherited");
        }
        for method in declared.keys() {
            let known = implemented.contains_key(method) || inherited.remove(method.as_str());
            assert!(known, "{name}::{method} is neither overridden nor forwarded (in {ours}) nor in INHERITED");
        }
    }
    assert!(inherited.is_empty(), "INHERITED names methods that no trait has: {inherited:?}");
    // The whole of Burn 0.21: a parser that finds less is broken.
    assert!(total >= 420, "only {total} methods found");
}

/// The system that the compiler runs on, as cargo names it.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(output.stdout).expect("its version is UTF-8");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("it names its host").to_owned()
}

/// `burn-backend/src/backend` of the version in the lock file.
fn find_burn_backend() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        // Packages of other systems may not be there.
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &host(), "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("metadata is UTF-8");
    let path = (text.split("\"manifest_path\":\"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .find(|path| path.contains("burn-backend-0.21.0"))
        .expect("burn-backend 0.21.0 is among the dependencies");
    Path::new(&path.replace("\\\\", "/")).with_file_name("src").join("backend")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text between the braces that follow the first `head` which starts an item.
fn block(source: &str, head: &str) -> String {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let at = (code.match_indices(head))
        .map(|(at, _)| at)
        .find(|&at| {
            let line = code[..at].rfind('\n').map_or(0, |i| i + 1);
            let next = code[at + head.len()..].chars().next();
            let item = code[line..].starts_with("impl<") || code[line..].starts_with("pub trait");
            item && !next.is_some_and(char::is_alphanumeric)
        })
        .unwrap_or_else(|| panic!("no `{head}`"));
    let open = at + code[at..].find('{').expect("a body");
    let mut depth = 0;
    for (i, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return code[open + 1..open + i].to_owned();
        }
    }
    panic!("`{head}` has no end");
}

/// Names behind `fn` at the level of the trait or of a macro in it, with how often each occurs.
fn methods(body: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut depth = 0i32;
    let mut macro_depth = 0;
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("forward! {") {
            macro_depth = 1;
        }
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    macro_depth = 0;
                }
            }
            'f' if depth <= macro_depth && rest.starts_with("fn ") && !preceded_by_word(body, rest) => {
                let name: String = rest[3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                *found.entry(name).or_insert(0) += 1;
            }
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    found
}

/// True if `rest`, a tail of `body`, begins within a word.
fn preceded_by_word(body: &str, rest: &str) -> bool {
    body[..body.len() - rest.len()].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}
