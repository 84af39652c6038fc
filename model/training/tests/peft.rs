//! Adapters of PEFT's own and of ours against the logits that HF and PEFT give with them
//! (`benches/peers/qwen_peft.py`).

mod reference;

use burn::tensor::{DType, Tensor, TensorData, bf16};
use burn_flex::Flex;
use burn_kiln::{Kiln, OptimizationConfig};
use burn_kiln_fusion::FusedOps;
use qwen3_vl_burn::checkpoint::{
    Adapter, AdapterTargets, Checkpoint, MergedCheckpoint, NoProgress, RandomOptions, write_random_with,
};
use qwen3_vl_burn::error::PrefetchError;
use qwen3_vl_burn::{Error, LoadOptions, Qwen3Vl, Qwen3VlConfig, apply_low_level_optimizations};
use qwen3_vl_train::lora::{LoraConfig, attach, load_adapter, merge, save_adapter};
use reference::{CASES, adapter, base, distance, expected, load, logits, parameters};
use std::fs;
use std::path::Path;

/// Relative to the largest logit.
const TOLERANCE: f64 = 1e-4;

/// `text`: all layers of the decoder. `text-only`: named without `language_model`. `both`: all linear layers, rsLoRA,
/// ranks and alphas by pattern. `patches`: a regular expression, and a convolution. `written`: ours.
const ADAPTERS: [&str; 5] = ["text", "text-only", "both", "patches", "written"];

fn load_merged<B: FusedOps>(name: &str, options: LoadOptions<'_>) -> Qwen3Vl<B> {
    Qwen3Vl::load(base(), &Default::default(), options.with_adapter(adapter(name))).unwrap()
}

#[track_caller]
fn check<B: FusedOps>(model: &Qwen3Vl<B>, name: &str, how: &str) {
    for case in CASES {
        let error = distance(&logits(model, case), &expected(name, case));
        println!("{name}, {case}, {how}: {error:.1e}");
        assert!(error <= TOLERANCE, "{name}, {case}, {how}: {error:e}");
    }
}

#[test]
fn merged_while_loading_they_give_pefts_logits() {
    for name in ADAPTERS {
        let model = load_merged::<Flex>(name, LoadOptions::default());
        check(&model, name, "merged");
        let fast = apply_low_level_optimizations(model, &OptimizationConfig::detect()).unwrap();
        check(&fast, name, "merged and packed");
    }
}

#[test]
fn beside_the_weights_they_give_pefts_logits() {
    for name in ADAPTERS {
        let model = load_adapter(load::<Flex>(), adapter(name)).unwrap();
        check(&model, name, "attached");
        let fast = apply_low_level_optimizations(model.clone(), &OptimizationConfig::detect()).unwrap();
        check(&fast, name, "attached, packed");
        check(&merge(model), name, "merged in memory");
    }
}

#[test]
fn under_a_memory_limit_they_are_merged_at_each_pass() {
    for name in ["both", "text-only"] {
        let options = || LoadOptions::default().with_adapter(adapter(name));
        let least = match Qwen3Vl::<Kiln<Flex>>::load(base(), &Default::default(), options().with_memory_limit(1)) {
            Err(Error::Streaming(PrefetchError::LimitTooSmall { least, .. })) => least,
            other => panic!("{:?}", other.map(drop)),
        };
        let model = load_merged::<Kiln<Flex>>(name, LoadOptions::default().with_memory_limit(least));
        check(&model, name, "streamed");
        let report = model.streaming().unwrap();
        assert!(report.streamed > 0 && report.high_water <= least, "{report:?}");
    }
}

/// bf16 weights are those of the merge in f32, rounded once.
#[test]
fn merged_weights_are_rounded_once() {
    let exact = parameters(&load_merged::<Flex>("both", LoadOptions::default()));
    let rounded = load_merged::<Flex>("both", LoadOptions::default().with_dtype(DType::BF16));
    let mut matrices = 0;
    for ((path, exact), (_, rounded)) in exact.iter().zip(parameters(&rounded)) {
        if path.contains("norm") || path.ends_with("bias") {
            continue;
        }
        matrices += 1;
        let once: Vec<f32> = exact.iter().map(|&value| bf16::from_f32(value).to_f32()).collect();
        assert!(once == rounded, "{path}");
    }
    assert_eq!(matrices, 63, "2 embeddings, 28 + 24 layers, the patches and 8 of mergers");
}

/// What is saved today is what HF and PEFT were asked about.
#[test]
fn what_is_saved_is_what_peft_read() {
    let config = LoraConfig {
        base_model: Some("Qwen/Qwen3-VL-tiny-dense".to_owned()),
        rank_stabilized: true,
        dropout: 0.05,
        seed: 5,
        ..LoraConfig::new(3, 6.0)
    };
    let targets =
        [r"model\.language_model\.layers\.[02].*_proj", r"model\.visual\.(blocks.*attn|patch_embed|merger).*"];
    let config = config.with_targets(AdapterTargets::Pattern(targets.join("|")));
    let (mut model, report) = attach(load::<Flex>(), &config).unwrap();
    assert_eq!(report.modules.len(), 2 * 7 + 6 * 2 + 1 + 2);
    // B is 0 at the beginning: here it is something like A.
    model.visit_adaptable(&mut |_, layer| {
        if let Some(lora) = &mut layer.lora {
            let [outputs, rank] = lora.b.shape().dims();
            let values: Vec<f32> = (0..outputs * rank).map(|i| ((i * 37 % 64) as f32 - 31.5) / 256.0).collect();
            let b = Tensor::from_data(TensorData::new(values, [outputs, rank]), &Default::default());
            lora.b = lora.b.clone().map(|_| b);
        }
    });
    let dir = tempfile::tempdir().unwrap();
    save_adapter(&model, &config, dir.path()).unwrap();
    let written = adapter("written");
    if std::env::var_os("KILN_WRITE_ADAPTER").is_some() {
        fs::create_dir_all(&written).unwrap();
        for file in fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), written.join(file.file_name())).unwrap();
        }
    }
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        assert!(fs::read(dir.path().join(file)).unwrap() == fs::read(written.join(file)).unwrap(), "{file}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing half-written stays");
    let read = Adapter::open(dir.path()).unwrap();
    assert_eq!(read.config().targets, config.targets);
    assert_eq!((read.pairs().count(), read.config().dropout), (29, 0.05));
}

/// The base model merged with PEFT's adapter, as `merge` writes it: PEFT's logits, and the tensors of the base model.
#[test]
fn merged_checkpoints_give_pefts_logits() {
    let parent = tempfile::tempdir().unwrap();
    for name in ADAPTERS {
        let out = parent.path().join("deep").join(name);
        let report = MergedCheckpoint::prepare(base(), adapter(name), &out).unwrap().write(&mut NoProgress).unwrap();
        let model = Qwen3Vl::<Flex>::load(&out, &Default::default(), LoadOptions::default()).unwrap();
        check(&model, name, "written");
        let (written, source) = (Checkpoint::open(&out).unwrap(), Checkpoint::open(base()).unwrap());
        assert_eq!(list(&written), list(&source), "{name}");
        let changed = source.names().filter(|name| written.bytes(name).unwrap() != source.bytes(name).unwrap());
        assert_eq!(changed.count(), report.merged, "{name}");
        assert_eq!((report.tensors, report.files), (source.names().count(), 1), "{name}");
        let config = |dir: &Path| fs::read(dir.join("config.json")).unwrap();
        assert_eq!(config(&out), config(&base()));
        assert!(out.join("preprocessor_config.json").is_file() && !out.join("model.safetensors.index.json").exists());
    }
    assert_eq!(fs::read_dir(parent.path().join("deep")).unwrap().count(), ADAPTERS.len(), "nothing else stays");
}

/// Names, shapes and dtypes.
fn list(checkpoint: &Checkpoint) -> Vec<(String, Vec<usize>, DType)> {
    let of = |name: &str| (checkpoint.shape(name).unwrap().to_vec(), checkpoint.dtype(name).unwrap());
    checkpoint.names().map(|name| (name.to_owned(), of(name).0, of(name).1)).collect()
}

/// Shards and bf16 stay what they are; what is written is what would be loaded.
#[test]
fn shards_and_dtypes_are_kept() {
    let parent = tempfile::tempdir().unwrap();
    let (source, out) = (parent.path().join("source"), parent.path().join("out"));
    let config = Qwen3VlConfig::from_dir(base()).unwrap();
    let options = RandomOptions { shard_bytes: Some(300_000), ..RandomOptions::new(DType::BF16, 1) };
    write_random_with(&config, &source, options).unwrap();
    fs::write(source.join("chat_template.jinja"), "{{ messages }}").unwrap();
    fs::write(source.join("training_state.bin"), "not wanted").unwrap();
    let report = MergedCheckpoint::prepare(&source, adapter("both"), &out).unwrap().write(&mut NoProgress).unwrap();
    let files = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let mut expected = files(&source);
    expected.retain(|name| name != "training_state.bin");
    assert_eq!(files(&out), expected);
    assert!(report.files > 3 && report.merged == 60, "{report:?}");
    let index = |dir: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(dir.join("model.safetensors.index.json")).unwrap()).unwrap()
    };
    assert_eq!(index(&out), index(&source));
    assert_eq!(list(&Checkpoint::open(&out).unwrap()), list(&Checkpoint::open(&source).unwrap()));
    let load = |dir: &Path, options: LoadOptions<'_>| {
        parameters(&Qwen3Vl::<Flex>::load(dir, &Default::default(), options).unwrap())
    };
    let written = load(&out, LoadOptions::default());
    assert!(written == load(&source, LoadOptions::default().with_adapter(adapter("both"))));
    assert!(written != load(&source, LoadOptions::default()));
}

/// PEFT's adapters, trained on and saved again: the same matrices, by the names of the whole model.
#[test]
fn pefts_adapters_are_saved_again() {
    for name in ADAPTERS {
        let read = Adapter::open(adapter(name)).unwrap();
        let model = load_adapter(load::<Flex>(), adapter(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save_adapter(&model, &LoraConfig::from_adapter(read.config(), 0), dir.path()).unwrap();
        let again = Adapter::open(dir.path()).unwrap();
        assert!(again.pairs().eq(read.pairs()), "{name}");
        check(&load_adapter(load::<Flex>(), dir.path()).unwrap(), name, "saved again");
    }
}
