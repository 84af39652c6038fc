//! Every damaged or foreign checkpoint is a typed error that names the file and the tensor.

use crate::files;

use burn::tensor::DType;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use files::{Raw, bytes_of, entry, file_of, fixture, folder_with, folder_with_header, frame};
use qwen3_vl_burn::checkpoint::{
    Checkpoint, CheckpointError, ExpectedTensor, RandomOptions, expected_tensors, write_random, write_random_with,
};
use qwen3_vl_burn::config::Fp8Config;
use qwen3_vl_burn::{Error, LoadOptions, Qwen3Vl, Qwen3VlConfig, Result};
use std::fs;
use std::path::Path;

/// The checkpoint error of `result`; its message must contain `culprit`.
#[track_caller]
fn error_of<T>(result: Result<T>, culprit: &str) -> CheckpointError {
    match result {
        Err(Error::Checkpoint(error)) => {
            assert!(error.to_string().contains(culprit), "`{culprit}` is not in: {error}");
            error
        }
        Err(other) => panic!("not a checkpoint error: {other:?}"),
        Ok(_) => panic!("no error"),
    }
}

#[track_caller]
fn open_error(dir: &Path, culprit: &str) -> CheckpointError {
    error_of(Checkpoint::open(dir), culprit)
}

macro_rules! assert_matches {
    ($error:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $error;
        assert!(matches!(&error, $pattern $(if $guard)?), "{error:?}");
    }};
}

#[test]
fn nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert_matches!(open_error(dir.path(), &name), CheckpointError::NotFound { .. });
    assert_matches!(open_error(&dir.path().join("absent"), "absent"), CheckpointError::NotFound { .. });
    // A file in place of the folder.
    fs::write(dir.path().join("file"), b"").unwrap();
    assert_matches!(open_error(&dir.path().join("file"), "file"), CheckpointError::NotFound { .. });
}

#[test]
fn not_a_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("model.safetensors")).unwrap();
    assert_matches!(open_error(dir.path(), "model.safetensors"), CheckpointError::NotAFile { .. });
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("blobs/absent", dir.path().join("model.safetensors")).unwrap();
    assert_matches!(open_error(dir.path(), "model.safetensors"), CheckpointError::Open { .. });
}

#[test]
fn too_short_for_a_length() {
    for content in [&b""[..], b"\x10\0\0"] {
        let dir = folder_with(content);
        let found = content.len() as u64;
        assert_matches!(open_error(dir.path(), "model.safetensors"),
            CheckpointError::Truncated { needed: 8, found: f, .. } if *f == found);
    }
}

#[test]
fn header_longer_than_the_file() {
    let dir = folder_with(&[&1000u64.to_le_bytes()[..], b"{}"].concat());
    assert_matches!(open_error(dir.path(), "1008"), CheckpointError::Truncated { needed: 1008, found: 10, .. });
}

#[test]
fn header_of_absurd_length() {
    for length in [u64::MAX, i64::MAX as u64, 99_999_999, (16 << 20) + 1] {
        let dir = folder_with(&[&length.to_le_bytes()[..], b"{}"].concat());
        assert_matches!(open_error(dir.path(), &length.to_string()),
            CheckpointError::TooLarge { found, limit: 16_777_216, .. } if *found == length);
    }
}

#[test]
fn header_that_is_not_the_format() {
    let deep = format!("{{\"a\":{}", "[".repeat(200_000));
    for header in [
        &b""[..],
        b"[]",
        b" {}",
        b"{",
        b"{\"a\":1}",
        b"{\"a\xff\":1}",
        b"{} {}",
        br#"{"__metadata__":{"format":1}}"#,
        br#"{"__metadata__":[]}"#,
        deep.as_bytes(),
    ] {
        let dir = folder_with(&frame(header, b""));
        assert_matches!(open_error(dir.path(), "model.safetensors"), CheckpointError::Header { .. });
    }
}

#[test]
fn header_with_a_malformed_tensor() {
    for tensor in [
        r#""culprit":{"dtype":"F7","shape":[1],"data_offsets":[0,4]}"#.to_owned(),
        r#""culprit":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#.to_owned(),
        r#""culprit":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}"#.to_owned(),
        r#""culprit":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}"#.to_owned(),
        r#""culprit":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}"#.to_owned(),
        r#""culprit":{"dtype":"F32","shape":[1],"data_offsets":[0]}"#.to_owned(),
        r#""culprit":{"dtype":"F32","shape":[1]}"#.to_owned(),
        r#""culprit":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"surprise":[]}"#.to_owned(),
        r#""culprit":null"#.to_owned(),
        // Nine dimensions.
        entry("culprit", "F32", &[1; 9], 0, 4),
        // The same name twice, at the same place: a map would keep one and lose the other without a word.
        [entry("culprit", "F32", &[1], 0, 4), entry("culprit", "F32", &[1], 0, 4)].join(","),
    ] {
        let dir = folder_with_header(&format!("{{{tensor}}}"), 4);
        assert_matches!(open_error(dir.path(), "culprit"), CheckpointError::Header { .. });
    }
}

#[test]
fn tensors_that_cannot_be() {
    let big = usize::MAX;
    let half = 1 << 40;
    let first = entry("first", "F32", &[2], 0, 8);
    for (tensors, data) in [
        // The shape overflows.
        (entry("culprit", "F32", &[half, half], 0, 16), 16),
        // Its bytes overflow.
        (entry("culprit", "F32", &[big / 2], 0, 16), 16),
        // Offsets the wrong way round.
        (entry("culprit", "F32", &[4], 16, 0), 16),
        // Offsets that aren't the shape's bytes.
        (entry("culprit", "F32", &[4], 0, 12), 12),
        (entry("culprit", "BF16", &[4], 0, 16), 16),
        // Past the end of the file.
        (entry("culprit", "F32", &[5], 0, 20), 16),
        (entry("culprit", "U8", &[8], big - 8, big), 16),
        // Half a byte.
        (entry("culprit", "F4", &[3], 0, 1), 1),
        // Overlap.
        ([first.clone(), entry("culprit", "F32", &[2], 4, 12)].join(","), 12),
        ([first.clone(), entry("culprit", "F32", &[2], 0, 8)].join(","), 8),
        // A gap, between and in front.
        ([first, entry("culprit", "F32", &[2], 12, 20)].join(","), 20),
        (entry("culprit", "F32", &[2], 8, 16), 16),
    ] {
        let dir = folder_with_header(&format!("{{{tensors}}}"), data);
        let error = open_error(dir.path(), "model.safetensors");
        let CheckpointError::Tensor { tensor, .. } = &error else { panic!("{tensors}: {error:?}") };
        // Of two tensors at one place either is to blame.
        assert!(tensor == "culprit" || tensor == "first", "{error}");
        assert!(error.to_string().contains(tensor), "{error}");
    }
}

#[test]
fn bytes_after_the_last_tensor() {
    let dir = folder_with_header(&format!("{{{}}}", entry("tensor", "F32", &[4], 0, 16)), 17);
    assert_matches!(open_error(dir.path(), "model.safetensors"),
        CheckpointError::Trailing { expected, found, .. } if found - expected == 1);
}

#[test]
fn truncated_data() {
    let mut content = fs::read(fixture("tiny-dense").join("model.safetensors")).unwrap();
    content.truncate(content.len() - 1);
    let dir = folder_with(&content);
    // The last bytes belong to the learned positions.
    assert_matches!(open_error(dir.path(), "model.visual.pos_embed.weight"), CheckpointError::Tensor { .. });
}

#[test]
fn too_many_or_too_long() {
    let many: Vec<String> = (0..131_073).map(|i| entry(&i.to_string(), "F32", &[0], 0, 0)).collect();
    let dir = folder_with_header(&format!("{{{}}}", many.join(",")), 0);
    assert_matches!(open_error(dir.path(), "131072 tensors"), CheckpointError::Header { .. });

    let dir = folder_with_header(&format!("{{{}}}", entry(&"n".repeat(513), "F32", &[0], 0, 0)), 0);
    assert_matches!(open_error(dir.path(), "512 bytes"), CheckpointError::Header { .. });

    let metadata: Vec<String> = (0..1025).map(|i| format!("\"{i}\":\"\"")).collect();
    let dir = folder_with_header(&format!("{{\"__metadata__\":{{{}}}}}", metadata.join(",")), 0);
    assert_matches!(open_error(dir.path(), "1024 entries"), CheckpointError::Header { .. });
}

/// A folder with an index and shards that each hold the named tensors, of one f32.
fn folder_with_shards(index: &str, shards: &[(&str, &[&str])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    for (shard, tensors) in shards {
        let bytes = bytes_of(&[1.0]);
        let raw: Vec<Raw> = tensors.iter().map(|&name| (name, "F32", &[1][..], &bytes[..])).collect();
        fs::write(dir.path().join(shard), file_of(&raw, 0)).unwrap();
    }
    dir
}

#[test]
fn index_that_is_not_the_format() {
    for index in [
        "",
        "[]",
        "{}",
        r#"{"weight_map":[]}"#,
        r#"{"weight_map":{}}"#,
        r#"{"weight_map":{"a":1}}"#,
        r#"{"weight_map":{"a":"s.safetensors","a":"s.safetensors"}}"#,
    ] {
        let dir = folder_with_shards(if index.is_empty() { " " } else { index }, &[("s.safetensors", &["a"])]);
        assert_matches!(open_error(dir.path(), "index.json"), CheckpointError::Index { .. });
    }
    let dir = folder_with_shards(&" ".repeat((16 << 20) + 1), &[]);
    assert_matches!(open_error(dir.path(), "16777217"), CheckpointError::TooLarge { .. });
}

#[test]
fn index_that_leaves_its_folder() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.safetensors");
    fs::write(&secret, file_of(&[("a", "F32", &[1], &bytes_of(&[1.0]))], 0)).unwrap();
    let secret = secret.to_str().unwrap();
    for name in ["../x.safetensors", "/etc/passwd", "sub/x.safetensors", "..", ".", "", "..\\x", "C:x", "./s", secret] {
        let index = serde_json::json!({ "weight_map": { "culprit": name } }).to_string();
        let dir = folder_with_shards(&index, &[("s", &["culprit"])]);
        assert_matches!(open_error(dir.path(), "culprit"),
            CheckpointError::ShardName { name: found, .. } if found == name);
    }
}

#[test]
fn index_that_is_wrong_about_its_shards() {
    let index = r#"{"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"#;
    let dir = folder_with_shards(index, &[("1.safetensors", &["a"])]);
    assert_matches!(open_error(dir.path(), "2.safetensors"),
        CheckpointError::MissingShard { shard, .. } if shard == "2.safetensors");

    let dir = folder_with_shards(index, &[("1.safetensors", &["a", "b"]), ("2.safetensors", &["c"])]);
    assert_matches!(open_error(dir.path(), "`b` is not in 2.safetensors"),
        CheckpointError::WrongShard { found: Some(found), .. } if found == "1.safetensors");

    let dir = folder_with_shards(index, &[("1.safetensors", &["a"]), ("2.safetensors", &["c"])]);
    assert_matches!(
        open_error(dir.path(), "`b` is not in 2.safetensors"),
        CheckpointError::WrongShard { found: None, .. }
    );

    let dir = folder_with_shards(index, &[("1.safetensors", &["a", "b"]), ("2.safetensors", &["b"])]);
    assert_matches!(
        open_error(dir.path(), "`b` is in both 1.safetensors and 2.safetensors"),
        CheckpointError::Duplicate { .. }
    );
}

#[test]
fn damaged_shard() {
    let index = r#"{"weight_map":{"a":"1.safetensors"}}"#;
    let dir = folder_with_shards(index, &[]);
    fs::write(dir.path().join("1.safetensors"), frame(br#"{"a":{}}"#, b"")).unwrap();
    assert_matches!(open_error(dir.path(), "1.safetensors"), CheckpointError::Header { .. });
}

/// A checkpoint with one tensor of each interesting dtype.
fn assorted() -> (tempfile::TempDir, Checkpoint) {
    let floats = bytes_of(&[1.0, -2.0, 70_000.0]);
    let zeros = [0u8; 24];
    let dir = folder_with(&file_of(
        &[
            ("double", "F64", &[3], &zeros),
            ("integer", "I64", &[3], &zeros),
            ("single", "F32", &[3], &floats),
            ("bfloat", "BF16", &[3], &zeros[..6]),
            ("eight", "F8_E4M3", &[3], &zeros[..3]),
            ("byte", "U8", &[3], &zeros[..3]),
        ],
        0,
    ));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    (dir, checkpoint)
}

#[test]
fn tensors_that_cannot_be_loaded() {
    let (_dir, checkpoint) = assorted();
    let load = |name, shape: &[usize], target| checkpoint.tensor_data(name, shape, target);

    assert_matches!(error_of(load("absent", &[3], None), "absent"), CheckpointError::Unknown { .. });
    assert_matches!(error_of(checkpoint.bytes("absent"), "absent"), CheckpointError::Unknown { .. });
    assert_matches!(error_of(checkpoint.release("absent"), "absent"), CheckpointError::Unknown { .. });
    assert_matches!(error_of(load("single", &[4], None), "single"),
        CheckpointError::Shape { expected, found, .. } if *expected == [4] && *found == [3]);
    assert_matches!(error_of(load("single", &[1, 3], None), "[1, 3]"), CheckpointError::Shape { .. });
    for (name, dtype) in [("double", "F64"), ("integer", "I64"), ("eight", "F8_E4M3"), ("byte", "U8")] {
        assert_matches!(error_of(load(name, &[3], Some(DType::F32)), name),
            CheckpointError::StoredDtype { found, .. } if found == dtype);
        error_of(checkpoint.dtype(name), dtype);
    }
    for target in [DType::F64, DType::I32, DType::Flex32] {
        assert_matches!(error_of(load("single", &[3], Some(target)), "single"),
            CheckpointError::TargetDtype { target: found, .. } if *found == target);
    }
    assert_matches!(
        error_of(load("single", &[3], Some(DType::F16)), "70000"),
        CheckpointError::OutOfRange { index: 2, target: DType::F16, .. }
    );
}

#[test]
fn dtypes_that_the_backend_lacks() {
    let (_dir, checkpoint) = assorted();
    for dtype in [None, Some(DType::F16)] {
        let result = checkpoint.tensor::<NdArray, 1>("bfloat", [3], dtype, &Default::default());
        assert_matches!(error_of(result, "bfloat"), CheckpointError::BackendDtype { .. });
    }
    // As f32 it can be had there, and as it is on Flex.
    checkpoint.tensor::<NdArray, 1>("bfloat", [3], Some(DType::F32), &Default::default()).unwrap();
    checkpoint.tensor::<Flex, 1>("bfloat", [3], None, &Default::default()).unwrap();
}

#[test]
fn one_error_names_all_that_does_not_fit() {
    let config = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    let checkpoint = Checkpoint::open(fixture("tiny-dense")).unwrap();
    let mut expected = expected_tensors(&config);
    expected.retain(|tensor| tensor.name != "model.language_model.norm.weight");
    expected.push(ExpectedTensor { name: "model.extra.one".into(), shape: vec![1] });
    expected.push(ExpectedTensor { name: "model.extra.two".into(), shape: vec![2] });
    expected[0].shape = vec![48, 4, 2, 16, 16];
    let error = error_of(checkpoint.check(&expected), "2 missing: model.extra.one, model.extra.two");
    let message = error.to_string();
    assert!(message.contains("1 surplus: model.language_model.norm.weight"), "{message}");
    assert!(message.contains(
        "1 of another shape: model.visual.patch_embed.proj.weight is [48, 3, 2, 16, 16], expected [48, 4, 2, 16, 16]"
    ));
    let CheckpointError::Mismatch { report, .. } = error else { panic!("{message}") };
    assert_eq!(report.missing.len(), 2);
    assert_eq!(report.surplus, ["model.language_model.norm.weight"]);
    assert_eq!(report.misshaped[0].expected, [48, 4, 2, 16, 16]);
}

#[test]
fn long_reports_are_cut_and_counted() {
    let checkpoint = Checkpoint::open(fixture("tiny-dense")).unwrap();
    let config = Qwen3VlConfig::from_dir(fixture("tiny-moe")).unwrap();
    let error = error_of(checkpoint.check(&expected_tensors(&config)), "more");
    assert!(error.to_string().len() < 4000, "{error}");
    let CheckpointError::Mismatch { report, .. } = error else { panic!("{error}") };
    // 4 layers of router and two expert tensors, and the head.
    assert_eq!(report.missing.len(), 4 * 3 + 1);
    // 4 layers of gate, up and down, and one block more of 12 tensors.
    assert_eq!(report.surplus.len(), 4 * 3 + 12);
}

/// tiny-dense as raw tensors, changed, in a folder with its configuration; and the error of loading that.
#[track_caller]
fn load_error(
    culprit: &str,
    change: impl Fn(&str, &mut &'static str, &mut Vec<usize>, &mut Vec<u8>) -> bool,
) -> CheckpointError {
    let file = fs::read(fixture("tiny-dense").join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let mut kept = Vec::new();
    for (name, view) in tensors.iter() {
        let (mut dtype, mut shape, mut bytes) = ("F32", view.shape().to_vec(), view.data().to_vec());
        if change(name, &mut dtype, &mut shape, &mut bytes) {
            kept.push((name, dtype, shape, bytes));
        }
    }
    let raw: Vec<Raw> =
        kept.iter().map(|(name, dtype, shape, bytes)| (*name, *dtype, &shape[..], &bytes[..])).collect();
    let dir = folder_with(&file_of(&raw, 0));
    fs::copy(fixture("tiny-dense").join("config.json"), dir.path().join("config.json")).unwrap();
    error_of(Qwen3Vl::<Flex>::load(dir.path(), &Default::default(), LoadOptions::default()), culprit)
}

/// The whole way from a folder to a model refuses, too, and says which tensor it is.
#[test]
fn models_whose_tensors_are_not_theirs() {
    const DOWN: &str = "model.language_model.layers.3.mlp.down_proj.weight";
    // Missing.
    let error = load_error(DOWN, |name, _, _, _| name != DOWN);
    assert_matches!(error, CheckpointError::Mismatch { report, .. } if report.missing == [DOWN]);
    // Transposed: as many bytes, another shape.
    let error = load_error(DOWN, |name, _, shape, _| {
        if name == DOWN {
            shape.reverse();
        }
        true
    });
    assert_matches!(error, CheckpointError::Mismatch { report, .. } if report.misshaped.len() == 1);
    // Of a dtype that weights don't have.
    let error = load_error(DOWN, |name, dtype, _, bytes| {
        if name == DOWN {
            *dtype = "I8";
            bytes.truncate(bytes.len() / 4);
        }
        true
    });
    assert_matches!(error, CheckpointError::StoredDtype { found, .. } if found == "I8");
}

#[test]
fn shards_that_are_not_files() {
    let index = r#"{"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}"#;
    // Empty, a folder, cut in the header, cut in the data.
    let whole = file_of(&[("b", "F32", &[1], &bytes_of(&[1.0]))], 0);
    for (content, culprit) in
        [(&b""[..], "2.safetensors"), (&whole[..20], "2.safetensors"), (&whole[..whole.len() - 1], "`b`")]
    {
        let dir = folder_with_shards(index, &[("1.safetensors", &["a"])]);
        fs::write(dir.path().join("2.safetensors"), content).unwrap();
        assert_matches!(
            open_error(dir.path(), culprit),
            CheckpointError::Truncated { .. } | CheckpointError::Tensor { .. }
        );
    }
    let dir = folder_with_shards(index, &[("1.safetensors", &["a"])]);
    fs::create_dir(dir.path().join("2.safetensors")).unwrap();
    assert_matches!(open_error(dir.path(), "2.safetensors"), CheckpointError::NotAFile { .. });
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("model.safetensors.index.json")).unwrap();
    assert_matches!(open_error(dir.path(), "index.json"), CheckpointError::NotAFile { .. });
    // An index of names that are too long, or not text.
    for index in [
        format!(r#"{{"weight_map":{{"{}":"s"}}}}"#, "n".repeat(513)),
        format!(r#"{{"weight_map":{{"a":"{}"}}}}"#, "n".repeat(513)),
    ] {
        let dir = folder_with_shards(&index, &[]);
        assert_matches!(open_error(dir.path(), "512 bytes"), CheckpointError::Index { .. });
    }
    let dir = folder_with_shards("", &[]);
    fs::write(dir.path().join("model.safetensors.index.json"), b"{\"weight_map\":{\"\xff\":\"s\"}}").unwrap();
    assert_matches!(open_error(dir.path(), "index.json"), CheckpointError::Index { .. });
}

#[test]
fn random_checkpoints_that_cannot_be_written() {
    let mut config = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for dtype in [DType::F16, DType::F64, DType::I32] {
        let error = error_of(write_random(&config, dir.path(), dtype, 0), "F32 or BF16");
        assert_matches!(error, CheckpointError::RandomDtype { found } if *found == dtype);
    }
    // Nothing was written, and nothing is overwritten: not a file, an index, a shard or a configuration.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let sharded = || RandomOptions { shard_bytes: Some(1 << 20), ..RandomOptions::new(DType::F32, 0) };
    let shard = "model-00002-of-00003.safetensors";
    for name in ["model.safetensors", "model.safetensors.index.json", "config.json", shard] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), b"mine").unwrap();
        let error = error_of(write_random_with(&config, dir.path(), sharded()), name);
        assert_matches!(error, CheckpointError::Exists { path } if path.ends_with(name));
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
    // A file in place of the folder.
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert_matches!(error_of(write_random(&config, &file, DType::F32, 0), "file"), CheckpointError::Write { .. });
    // A configuration that says FP8: the weights aren't, and what is written doesn't say so.
    config.quantization = Some(Fp8Config { block: Some([128, 128]) });
    let target = dir.path().join("new");
    write_random(&config, &target, DType::BF16, 0).unwrap();
    assert_eq!(Qwen3VlConfig::from_dir(&target).unwrap().quantization, None);
}
