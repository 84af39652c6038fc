//! What a step takes in memory stays within its plan.
#![cfg(target_os = "linux")]

use burn::tensor::DType;
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_optim::Optimizer;
use qwen3_vl_burn::checkpoint::write_random;
use qwen3_vl_burn::config::{TextConfig, VisionConfig};
use qwen3_vl_burn::processor::{Grid, ProcessedImages};
use qwen3_vl_burn::{LoadOptions, ModelInputs, Qwen3Vl, Qwen3VlConfig};
use qwen3_vl_train::data::{Batch, Sample, Source};
use qwen3_vl_train::lora::{AdapterTargets, LoraConfig, attach};
use qwen3_vl_train::optim::{AdamW, AdamWConfig, clip_gradients};
use qwen3_vl_train::parameters::Selection;
use qwen3_vl_train::step::{BatchSize, Gradients, Keep, MemoryPlan, PlanError, PlanRequest, differentiate};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

type Inner = Kiln<Flex>;
type Model = Qwen3Vl<Autodiff<Inner>>;

/// 8 decoder layers of 3.3 M weights, a table of 8 M, 6 blocks of 0.8 M.
fn config() -> Qwen3VlConfig {
    let text = TextConfig::new(16_000, 512, 1536, 8, 8, 4, 64, [12, 10, 10], true);
    let vision = VisionConfig::new(6, 256, 1024, 4, 512, vec![1, 3, 5]);
    Qwen3VlConfig::new(text, vision, 15_000, 15_001, 15_002, 15_003)
}

/// A picture of 32 x 32 patches, 256 tokens, and text of 400 tokens, half of them targets.
fn batch() -> Batch {
    let grid = Grid { t: 1, h: 32, w: 32 };
    let mut input_ids = vec![15_002];
    input_ids.extend(vec![15_000; grid.tokens(2)]);
    input_ids.push(15_003);
    input_ids.extend((0..400).map(|i| (i * 37) % 14_000));
    let mut labels: Vec<i64> = input_ids.iter().map(|&id| i64::from(id)).collect();
    let ignored = labels.len() - 200;
    labels[..ignored].fill(-100);
    let pixel_values = (0..grid.patches() * 1536).map(|i| (i % 255) as f32 / 127.0 - 1.0).collect();
    let images = ProcessedImages { pixel_values, grids: vec![grid] };
    let inputs = ModelInputs { input_ids, images, ..ModelInputs::default() };
    Batch {
        samples: vec![Sample {
            inputs,
            labels,
            source: Source { file: Arc::new(PathBuf::from("a")), record: 1, line: 1 },
        }],
    }
}

/// What is measured: what trains, in which type, how many batches a step, and a budget as a share of what lies between
/// the least and everything.
#[derive(Debug, Clone, Copy)]
struct Setting {
    targets: &'static [&'static str],
    dtype: DType,
    batches: usize,
    share: Option<f64>,
    /// Adapters with dropout in all layers in place of the weights.
    lora: bool,
}

const SETTINGS: [Setting; 5] = [
    Setting { targets: &["all"], dtype: DType::F32, batches: 1, share: Some(0.5), lora: false },
    Setting { targets: &["all"], dtype: DType::F32, batches: 2, share: Some(0.0), lora: false },
    Setting { targets: &["all"], dtype: DType::BF16, batches: 1, share: Some(0.3), lora: false },
    Setting { targets: &["merger", "*.layers.7.*"], dtype: DType::F32, batches: 1, share: Some(0.0), lora: false },
    Setting { targets: &["*.lora.*"], dtype: DType::F32, batches: 1, share: None, lora: true },
];

fn load(dir: &std::path::Path, setting: Setting) -> Model {
    let options = LoadOptions::default().with_dtype(setting.dtype);
    let model = Qwen3Vl::load(dir, &Default::default(), options).unwrap();
    if !setting.lora {
        return model;
    }
    let lora = LoraConfig { dropout: 0.1, ..LoraConfig::new(8, 16.0) };
    attach(model, &lora.with_targets(AdapterTargets::AllLinear)).unwrap().0
}

/// A line of `/proc/self/status`, bytes.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// The plan of a setting: `share` of the way from the least budget to that of all tapes.
fn plan(model: &Model, setting: Setting, batch: &Batch) -> MemoryPlan {
    let request = |budget| PlanRequest { batch: BatchSize::of(batch), accumulates: setting.batches > 1, budget };
    let all = MemoryPlan::new(model, request(None)).unwrap();
    let Some(share) = setting.share else { return all };
    let Err(PlanError::Budget { budget: 1, least }) = MemoryPlan::new(model, request(Some(1))) else {
        panic!("a byte is enough")
    };
    assert!(MemoryPlan::new(model, request(Some(least - 1))).is_err());
    let budget = least + ((all.total - least) as f64 * share) as u64;
    let plan = MemoryPlan::new(model, request(Some(budget))).unwrap();
    assert!(plan.total <= budget, "{plan}");
    plan
}

/// Which setting this process measures.
const CASE: &str = "KILN_TEST_CASE";

// A process for each setting, as memory that one frees may stay resident.
#[test]
fn steps_stay_within_their_plans() {
    if let Ok(case) = std::env::var(CASE) {
        measure(SETTINGS[case.parse::<usize>().unwrap()]);
        return;
    }
    for (number, setting) in SETTINGS.iter().enumerate() {
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        let outcome = program.arg("--nocapture").arg("steps_stay").env(CASE, number.to_string()).status().unwrap();
        assert!(outcome.success(), "{setting:?}");
    }
}

fn measure(setting: Setting) {
    let dir = tempfile::tempdir().unwrap();
    write_random(&config(), dir.path(), setting.dtype, 7).unwrap();
    let batch = batch();
    fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process forget its own peak");
    let before = status("VmRSS:");
    let selection = Selection::of(setting.targets.iter().map(|target| target.parse().unwrap()), 1e-4);
    let (mut model, trainables) = selection.apply(load(dir.path(), setting)).unwrap();
    let plan = plan(&model, setting, &batch);
    println!("{setting:?}\n{plan}");
    let mut optimizer = AdamW::<Inner>::new(AdamWConfig::default(), model.kernel_config()).with_parameters(&trainables);
    for step in 0..2 {
        let mut gradients = Gradients::new();
        let count = batch.targets() * setting.batches;
        for number in 0..setting.batches {
            let _dropout = model.dropout_pass().begin(number as u64);
            differentiate(&model, &batch, count, &plan.layers, &mut gradients).unwrap();
        }
        println!("step {step}: gradients at {} MiB", (status("VmHWM:").saturating_sub(before)) >> 20);
        clip_gradients(&model, &mut gradients, Some(1.0), model.kernel_config()).unwrap();
        model = optimizer.step(1e-4, model, gradients.params);
        println!("step {step}: done at {} MiB", (status("VmHWM:").saturating_sub(before)) >> 20);
    }
    let peak = status("VmHWM:").saturating_sub(before);
    println!("peak {} MiB, planned {} MiB: {:.2}", peak >> 20, plan.total >> 20, peak as f64 / plan.total as f64);
    assert!(peak <= plan.total, "{peak}, planned {}", plan.total);
    // A plan that is far too large would refuse what fits.
    assert!(peak * 2 >= plan.total, "{peak}, planned {}", plan.total);
}

#[test]
fn a_larger_budget_keeps_more_tapes() {
    let dir = tempfile::tempdir().unwrap();
    write_random(&config(), dir.path(), DType::F32, 7).unwrap();
    let (batch, base) = (batch(), SETTINGS[0]);
    let (model, _) = Selection::all(1e-4).apply(load(dir.path(), base)).unwrap();
    let kept = |share: f64| {
        let plan = plan(&model, Setting { share: Some(share), ..base }, &batch);
        assert!(plan.to_string().contains("computed twice"), "{plan}");
        let count = |keeps: &[Keep]| keeps.iter().filter(|keep| **keep == Keep::Tape).count();
        (count(&plan.layers.text), count(&plan.layers.vision))
    };
    let counts = [0.0, 0.3, 0.6, 1.0].map(kept);
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(counts[3], (8, 6));
    assert!(counts[1].0 > 0 && counts[1] < (8, 6), "{counts:?}");
    let (frozen, _) = Selection::of(["merger".parse().unwrap()], 1e-4).apply(model).unwrap();
    let text = Batch {
        samples: batch
            .samples
            .iter()
            .map(|sample| Sample {
                inputs: ModelInputs::from_text(vec![1, 2, 3]),
                labels: vec![1, 2, 3],
                source: sample.source.clone(),
            })
            .collect(),
    };
    let request = PlanRequest { batch: BatchSize::of(&text), accumulates: false, budget: None };
    // The merger trains, but not on text; its moments are there all the same.
    assert!(MemoryPlan::new(&frozen, request).is_ok());
}
