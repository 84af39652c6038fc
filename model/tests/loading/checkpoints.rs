//! Checkpoints give the bytes that are in their files, without copying them where that can be.

use crate::files;

use burn::tensor::{DType, TensorData};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use files::{Raw, bytes_of, file_of, fixture, folder_with};
use qwen3_vl_burn::checkpoint::{
    Checkpoint, LoadStep, Loader, NoProgress, RandomOptions, expected_tensors, progress_bar, write_random,
    write_random_with,
};
use qwen3_vl_burn::{LoadOptions, Qwen3Vl, Qwen3VlConfig, Result};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

#[test]
fn tiny_dense_is_what_its_configuration_says() {
    let config = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    let checkpoint = Checkpoint::open(fixture("tiny-dense")).unwrap();
    checkpoint.check(&expected_tensors(&config)).unwrap();
    assert_eq!(checkpoint.total_bytes(), config.weight_bytes(DType::F32).unwrap());
    assert_eq!(checkpoint.dir(), fixture("tiny-dense"));

    let file = fs::read(fixture("tiny-dense").join("model.safetensors")).unwrap();
    let oracle = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(checkpoint.names().count(), oracle.len());
    for (name, view) in oracle.iter() {
        assert_eq!(checkpoint.shape(name).unwrap(), view.shape());
        assert_eq!(checkpoint.dtype(name).unwrap(), DType::F32);
        assert_eq!(&checkpoint.bytes(name).unwrap()[..], view.data());
        let data = checkpoint.tensor_data(name, view.shape(), None).unwrap();
        assert_eq!(data.as_bytes(), view.data());
    }
}

/// The table is compared with the headers of the checkpoints that HF saved.
#[test]
fn expected_tensors_of_models_with_experts() {
    for name in ["tiny-moe", "tiny-mixed"] {
        let config = Qwen3VlConfig::from_dir(fixture(name)).unwrap();
        let listed = fs::read_to_string(fixture(name).join("tensors.json")).unwrap();
        let listed: BTreeMap<String, Vec<usize>> = serde_json::from_str(&listed).unwrap();
        let expected = expected_tensors(&config);
        assert_eq!(expected.len(), listed.len(), "{name}");
        let expected: BTreeMap<_, _> = expected.into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        assert_eq!(expected, listed, "{name}");
    }
}

#[test]
fn attention_biases_are_expected_where_the_configuration_has_them() {
    let mut config = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    let without = config.num_parameters().unwrap();
    config.text.attention_bias = true;
    let expected = expected_tensors(&config);
    let bias = |name: &str| {
        let name = format!("model.language_model.layers.2.self_attn.{name}.bias");
        expected.iter().find(|tensor| tensor.name == name).unwrap().shape.clone()
    };
    assert_eq!([bias("q_proj"), bias("k_proj"), bias("v_proj"), bias("o_proj")], [[128], [64], [64], [64]]);
    assert_eq!(config.num_parameters().unwrap() - without, 4 * (128 + 64 + 64 + 64));
}

/// Whether `part` lies inside `whole`.
fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let whole = whole.as_ptr_range();
    whole.contains(&part.as_ptr()) && part.as_ptr_range().end <= whole.end
}

#[test]
fn flex_reads_the_mapping_itself() {
    let checkpoint = Checkpoint::open(fixture("tiny-dense")).unwrap();
    let name = "model.language_model.layers.1.mlp.gate_proj.weight";
    let tensor = checkpoint.tensor::<Flex, 2>(name, [160, 64], None, &Default::default()).unwrap();
    let primitive = tensor.clone().into_primitive().tensor();
    let mapping = checkpoint.bytes(name).unwrap();
    assert!(lies_in(primitive.bytes(), &mapping), "the tensor was copied");
    // The tensor keeps the mapping alive, also when it is computed with.
    drop((checkpoint, primitive));
    let sum: f32 = mapping.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).sum();
    drop(mapping);
    let found = tensor.clone().sum().into_scalar();
    assert!((found - sum).abs() < 1e-3 * sum.abs().max(1.0), "{found} {sum}");
    // Changing it copies it: the mapping is read-only.
    let changed = tensor.clone() + 1.0;
    assert!((changed.sum().into_scalar() - sum - 160.0 * 64.0).abs() < 1.0);
}

#[test]
fn misaligned_tensors_are_copied() {
    let floats = [1.0f32, -2.5, 3.25e-20, f32::MAX];
    let raw: [Raw; 1] = [("tensor", "F32", &[4], &bytes_of(&floats))];
    let header = file_of(&raw, 0).len();
    // All four places of the first byte; a mapping begins at a page.
    for padding in 0..4 {
        let dir = folder_with(&file_of(&raw, padding));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let tensor = checkpoint.tensor::<Flex, 1>("tensor", [4], None, &Default::default()).unwrap();
        let primitive = tensor.clone().into_primitive().tensor();
        let aligned = (header + padding).is_multiple_of(4);
        assert_eq!(lies_in(primitive.bytes(), &checkpoint.bytes("tensor").unwrap()), aligned, "padding {padding}");
        assert_eq!(tensor.into_data().to_vec::<f32>().unwrap(), floats);
    }
    // Sixteen-bit ones need two.
    let raw: [Raw; 1] = [("tensor", "BF16", &[2], &[0x80, 0x3f, 0x00, 0xc0])];
    for padding in 0..2 {
        let dir = folder_with(&file_of(&raw, padding));
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        for target in [DType::F32, DType::BF16, DType::F16] {
            let data = checkpoint.tensor_data("tensor", &[2], Some(target)).unwrap();
            assert_eq!(data.dtype, target);
            assert_eq!(data.convert::<f32>().to_vec::<f32>().unwrap(), [1.0, -2.0]);
        }
    }
}

/// Rounds to bf16, to nearest and ties to even, in integers: the carry of half a unit, less one where the kept part is
/// even.
fn round_to_bf16(float: f32) -> u16 {
    let bits = float.to_bits();
    ((u64::from(bits) + 0x7fff + u64::from((bits >> 16) & 1)) >> 16) as u16
}

#[test]
fn converts_to_bf16() {
    // More than one chunk, with every exponent: bits stepped by a prime.
    let floats: Vec<f32> =
        (0..20_000u32).map(|i| f32::from_bits(i.wrapping_mul(214_663))).filter(|f| f.abs() < 3e38).collect();
    let length = floats.len();
    let dir = folder_with(&file_of(&[("tensor", "F32", &[length], &bytes_of(&floats))], 0));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let data = checkpoint.tensor_data("tensor", &[length], Some(DType::BF16)).unwrap();
    let found: Vec<u16> = data.as_bytes().chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let expected: Vec<u16> = floats.iter().map(|&float| round_to_bf16(float)).collect();
    assert_eq!(found, expected);
}

#[test]
fn converts_to_f16() {
    // IEEE 754 binary16, by hand: largest, tie to even at 2049, 0.1, smallest normal, subnormals, below half of the
    // smallest.
    let table: [(f32, u16); 11] = [
        (1.0, 0x3c00),
        (-2.0, 0xc000),
        (65504.0, 0x7bff),
        (2049.0, 0x6800),
        (2051.0, 0x6802),
        (0.1, 0x2e66),
        (6.103_515_6e-5, 0x0400),
        (1e-7, 0x0002),
        (2e-8, 0x0000),
        (-0.0, 0x8000),
        (f32::NEG_INFINITY, 0xfc00),
    ];
    let floats: Vec<f32> = table.iter().map(|pair| pair.0).collect();
    let dir = folder_with(&file_of(&[("tensor", "F32", &[11], &bytes_of(&floats))], 0));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let data = checkpoint.tensor_data("tensor", &[11], Some(DType::F16)).unwrap();
    let found: Vec<u16> = data.as_bytes().chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    assert_eq!(found, table.map(|pair| pair.1));
}

#[test]
fn converts_from_sixteen_bits() {
    // Every bf16 is the upper half of an f32.
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let dir = folder_with(&file_of(&[("bf16", "BF16", &[65536], &all), ("f16", "F16", &[65536], &all)], 0));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let read = |data: TensorData| data.to_vec::<f32>().unwrap();
    let found = read(checkpoint.tensor_data("bf16", &[65536], Some(DType::F32)).unwrap());
    for (bits, found) in found.into_iter().enumerate() {
        let expected = f32::from_bits((bits as u32) << 16);
        assert!(found == expected || (found.is_nan() && expected.is_nan()), "{bits:#x}: {found} {expected}");
    }
    // binary16: (-1)^s · 2^(e - 15) · (1 + m / 1024), or 2^-14 · m / 1024.
    let found = read(checkpoint.tensor_data("f16", &[65536], Some(DType::F32)).unwrap());
    for (bits, found) in found.into_iter().enumerate() {
        let (exponent, fraction) = ((bits >> 10) & 31, (bits & 1023) as f64 / 1024.0);
        let magnitude = match exponent {
            0 => 2f64.powi(-14) * fraction,
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => 2f64.powi(exponent as i32 - 15) * (1.0 + fraction),
        };
        let expected = if bits >> 15 == 1 { -magnitude } else { magnitude };
        assert!(f64::from(found) == expected || (found.is_nan() && expected.is_nan()), "{bits:#x}: {found} {expected}");
    }
}

#[test]
fn released_pages_come_back() {
    let floats: Vec<f32> = (0..1 << 18).map(|i| i as f32).collect();
    let dir = folder_with(&file_of(&[("tensor", "F32", &[1 << 18], &bytes_of(&floats))], 0));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let data = checkpoint.tensor_data("tensor", &[1 << 18], None).unwrap();
    for _ in 0..2 {
        assert_eq!(data.as_slice::<f32>().unwrap(), floats);
        checkpoint.release("tensor").unwrap();
        checkpoint.prefetch("tensor").unwrap();
    }
    assert_eq!(data.as_slice::<f32>().unwrap(), floats);
}

/// Bytes of this process's mapped files that are in memory.
#[cfg(target_os = "linux")]
fn resident_file_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn release_gives_memory_back() {
    const BYTES: usize = 64 << 20;
    let dir = folder_with(&file_of(&[("tensor", "F32", &[BYTES / 4], &vec![1; BYTES])], 0));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let before = resident_file_bytes();
    // Held: the last owner's end would release the pages too.
    let bytes = checkpoint.bytes("tensor").unwrap();
    assert_eq!(bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>(), BYTES as u64);
    let read = resident_file_bytes();
    assert!(read > before + BYTES as u64 / 2, "{before} {read}");
    checkpoint.release("tensor").unwrap();
    let released = resident_file_bytes();
    assert!(released + BYTES as u64 / 2 < read, "{read} {released}");
}

/// Splits tiny-dense into `count` shards with an index, as HF would.
fn split_tiny_dense(count: usize) -> tempfile::TempDir {
    let file = fs::read(fixture("tiny-dense").join("model.safetensors")).unwrap();
    let oracle = SafeTensors::deserialize(&file).unwrap();
    let tensors: BTreeMap<_, _> = oracle.iter().collect();
    let dir = tempfile::tempdir().unwrap();
    let mut weight_map = BTreeMap::new();
    let names: Vec<_> = tensors.keys().copied().collect();
    for (number, part) in names.chunks(names.len().div_ceil(count)).enumerate() {
        let shard = format!("model-{:05}-of-{count:05}.safetensors", number + 1);
        safetensors::serialize_to_file(part.iter().map(|name| (*name, &tensors[name])), None, &dir.path().join(&shard))
            .unwrap();
        weight_map.extend(part.iter().map(|name| (name.to_string(), shard.clone())));
    }
    let index = json!({ "metadata": { "total_size": 0 }, "weight_map": weight_map });
    fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    dir
}

#[test]
fn shards_are_one_checkpoint() {
    let whole = Checkpoint::open(fixture("tiny-dense")).unwrap();
    let config = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    for count in [1, 2, 7] {
        let dir = split_tiny_dense(count);
        let shards = Checkpoint::open(dir.path()).unwrap();
        shards.check(&expected_tensors(&config)).unwrap();
        assert!(shards.names().eq(whole.names()));
        assert_eq!(shards.total_bytes(), whole.total_bytes());
        for name in whole.names() {
            assert_eq!(shards.shape(name).unwrap(), whole.shape(name).unwrap());
            assert_eq!(shards.bytes(name).unwrap(), whole.bytes(name).unwrap(), "{name}");
        }
    }
}

/// tiny-dense with a head, whose first byte is `first` more than the embedding's.
fn with_head(first: u8) -> tempfile::TempDir {
    let file = fs::read(fixture("tiny-dense").join("model.safetensors")).unwrap();
    let oracle = SafeTensors::deserialize(&file).unwrap();
    let embedding = oracle.tensor("model.language_model.embed_tokens.weight").unwrap();
    let mut head = embedding.data().to_vec();
    head[0] = head[0].wrapping_add(first);
    let head = safetensors::tensor::TensorView::new(embedding.dtype(), embedding.shape().to_vec(), &head).unwrap();
    let mut tensors: BTreeMap<_, _> = oracle.iter().collect();
    tensors.insert("lm_head.weight", head);
    let dir = tempfile::tempdir().unwrap();
    safetensors::serialize_to_file(tensors, None, &dir.path().join("model.safetensors")).unwrap();
    dir
}

#[test]
fn a_stored_head_of_a_tied_model_is_tolerated() {
    let config = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    for (first, untied) in [(0, false), (1, true)] {
        let dir = with_head(first);
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        checkpoint.check(&expected_tensors(&config)).unwrap();
        let mut config = config.clone();
        assert_eq!(checkpoint.untie_distinct_head(&mut config).unwrap(), untied);
        assert_eq!(config.text.tie_word_embeddings, !untied);
        checkpoint.check(&expected_tensors(&config)).unwrap();
    }
    // `load` does the same: the head that differs is the model's head, as in HF; one that is equal isn't kept.
    for (first, untied) in [(0, false), (1, true)] {
        let dir = with_head(first);
        fs::copy(fixture("tiny-dense").join("config.json"), dir.path().join("config.json")).unwrap();
        let model = Qwen3Vl::<Flex>::load(dir.path(), &Default::default(), LoadOptions::default()).unwrap();
        assert_eq!(model.lm_head.is_some(), untied);
        assert_eq!(model.config().text.tie_word_embeddings, !untied);
        let Some(head) = model.lm_head else { continue };
        let head = head.weight.val().into_data();
        let stored = Checkpoint::open(dir.path()).unwrap().bytes("lm_head.weight").unwrap();
        assert_eq!(head.as_bytes(), &stored[..]);
    }
    let mut unchanged = config.clone();
    let checkpoint = Checkpoint::open(fixture("tiny-dense")).unwrap();
    assert!(!checkpoint.untie_distinct_head(&mut unchanged).unwrap());
    assert_eq!(unchanged, config);
}

#[test]
fn progress_is_told() {
    let checkpoint = Checkpoint::open(fixture("tiny-dense")).unwrap();
    let mut steps: Vec<(u64, u64, String)> = Vec::new();
    let mut record = |step: LoadStep<'_>| steps.push((step.done, step.total, step.tensor.to_owned()));
    let mut loader = Loader::<NdArray>::new(&checkpoint, &Default::default(), &mut record);
    let names: Vec<&str> = checkpoint.names().collect();
    let load_all = |loader: &mut Loader<NdArray>| -> Result<()> {
        for name in &names {
            match *checkpoint.shape(name)? {
                [a] => drop(loader.load(name, [a], None)?),
                [a, b] => drop(loader.load(name, [a, b], None)?),
                [a, b, c, d, e] => drop(loader.load(name, [a, b, c, d, e], None)?),
                ref other => panic!("{other:?}"),
            }
        }
        Ok(())
    };
    load_all(&mut loader).unwrap();
    assert_eq!(steps.len(), names.len());
    assert!(steps.is_sorted_by(|a, b| a.0 < b.0));
    assert!(steps.iter().map(|step| &step.2).eq(&names));
    assert_eq!(steps.last().map(|step| (step.0, step.1)), Some((2_527_936, 2_527_936)));

    load_all(&mut Loader::new(&checkpoint, &Default::default(), &mut NoProgress)).unwrap();
    load_all(&mut Loader::new(&checkpoint, &Default::default(), &mut progress_bar())).unwrap();
}

#[test]
fn index_is_read_only_where_there_is_no_single_file() {
    let dir = split_tiny_dense(2);
    fs::write(dir.path().join("model.safetensors"), file_of(&[("only", "F32", &[1], &bytes_of(&[1.0]))], 0)).unwrap();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert!(checkpoint.names().eq(["only"]));
    // A tensor in a shard that the index leaves out is found all the same, as by HF.
    let dir = split_tiny_dense(2);
    let path = dir.path().join("model.safetensors.index.json");
    let mut index: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    index["weight_map"].as_object_mut().unwrap().remove("model.language_model.norm.weight").unwrap();
    fs::write(&path, index.to_string()).unwrap();
    assert!(Checkpoint::open(dir.path()).unwrap().contains("model.language_model.norm.weight"));
}

#[test]
fn random_checkpoints_are_the_same_however_they_are_sharded() {
    for name in ["tiny-dense", "tiny-mixed"] {
        let config = Qwen3VlConfig::from_dir(fixture(name)).unwrap();
        let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_random(&config, one.path(), DType::BF16, 7).unwrap();
        let mut told = Vec::new();
        let options = RandomOptions {
            shard_bytes: Some(200_000),
            progress: Box::new(|step: LoadStep<'_>| told.push((step.done, step.total))),
            ..RandomOptions::new(DType::BF16, 7)
        };
        write_random_with(&config, many.path(), options).unwrap();
        let bytes = config.weight_bytes(DType::BF16).unwrap();
        assert_eq!(told.last(), Some(&(bytes, bytes)));
        assert!(told.is_sorted_by(|a, b| a.0 < b.0));

        let (whole, shards) = (Checkpoint::open(one.path()).unwrap(), Checkpoint::open(many.path()).unwrap());
        assert!(!many.path().join("model.safetensors").exists());
        assert!(whole.names().eq(shards.names()));
        for tensor in whole.names() {
            assert_eq!(whole.bytes(tensor).unwrap(), shards.bytes(tensor).unwrap(), "{tensor}");
        }
        let index = fs::read_to_string(many.path().join("model.safetensors.index.json")).unwrap();
        let index: Value = serde_json::from_str(&index).unwrap();
        assert_eq!(index["metadata"]["total_size"], json!(bytes));
        let files: BTreeSet<&str> = index["weight_map"].as_object().unwrap().values().flat_map(Value::as_str).collect();
        assert!(files.len() > 3 && files.iter().next().unwrap().starts_with("model-00001-of-"), "{files:?}");
        for file in &files {
            let content = fs::read(many.path().join(file)).unwrap();
            let tensors = SafeTensors::deserialize(&content).unwrap();
            let sizes: usize = tensors.iter().map(|(_, view)| view.data().len()).sum();
            assert!(sizes <= 200_000 || tensors.len() == 1, "{file}: {sizes}");
        }
        let model = Qwen3Vl::<Flex>::load(many.path(), &Default::default(), LoadOptions::default()).unwrap();
        assert_eq!(*model.config(), config);
    }
}
