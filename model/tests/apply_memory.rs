//! What applying the optimizations takes in memory: at no moment a second copy of the weights, beyond one tensor; of
//! converted weights not even that.
#![cfg(target_os = "linux")]

use burn::tensor::DType;
use burn_flex::Flex;
use burn_kiln::OptimizationConfig;
use qwen3_vl_burn::checkpoint::write_random;
use qwen3_vl_burn::config::{TextConfig, VisionConfig};
use qwen3_vl_burn::{
    LoadOptions, Logits, ModelInputs, Qwen3Vl, Qwen3VlConfig, apply_low_level_optimizations,
    undo_low_level_optimizations,
};
use std::fs;

/// A line of `/proc/self/status`, bytes.
fn status(name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// The most resident bytes, mapped pages included, while `run` runs, beyond those before it. `None` where the system
/// does not reset its peak.
fn measure_resident<T>(run: impl FnOnce() -> T) -> (T, Option<usize>) {
    let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = status("VmRSS:");
    let out = run();
    (out, reset.then(|| status("VmHWM:").saturating_sub(before)))
}

/// Stored and held types: as they lie, and converted.
const CASES: [(DType, DType); 3] = [(DType::F32, DType::F32), (DType::BF16, DType::BF16), (DType::BF16, DType::F32)];

/// Which of them this process measures.
const CASE: &str = "KILN_TEST_CASE";

// One test, so that no other test's memory is counted, and a process for each case, as memory that one frees may stay
// resident: the test starts this program again for each.
#[test]
fn weights_are_in_memory_once() {
    if let Ok(case) = std::env::var(CASE) {
        let (stored, dtype) = CASES[case.parse::<usize>().unwrap()];
        measure_case(stored, dtype);
        return;
    }
    for (number, case) in CASES.iter().enumerate() {
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        let outcome = program.arg("--nocapture").env(CASE, number.to_string()).status().unwrap();
        assert!(outcome.success(), "{case:?}");
    }
}

/// Applies and undoes the optimizations on a model of weights that are stored in one type and held in another.
fn measure_case(stored: DType, dtype: DType) {
    // 24 layers of 2.6 M weights and a table of 8 M: 71 M weights.
    let text = TextConfig::new(16_000, 512, 1280, 24, 8, 4, 64, [12, 10, 10], true);
    let vision = VisionConfig::new(2, 128, 256, 2, 512, vec![0]);
    let config = Qwen3VlConfig::new(text, vision, 15_000, 15_001, 15_002, 15_003);
    let dir = tempfile::tempdir().unwrap();
    write_random(&config, dir.path(), stored, 7).unwrap();
    let file = fs::metadata(dir.path().join("model.safetensors")).unwrap().len() as usize;
    let weights = file / stored.size() * dtype.size();
    let table = 16_000 * 512 * dtype.size();
    // Rows of a mapped file lie beside their panels for a moment; converted ones become panels where they lie.
    let twice = if stored == dtype { table } else { 0 };
    let limit = weights + twice + weights / 20 + (8 << 20);
    let load = || {
        let options = LoadOptions::default().with_dtype(dtype);
        Qwen3Vl::<Flex>::load(dir.path(), &Default::default(), options).unwrap()
    };

    let (model, peak) =
        measure_resident(|| apply_low_level_optimizations(load(), &OptimizationConfig::detect()).unwrap());
    println!("{stored:?} as {dtype:?}: {weights} bytes of weights, applied with {peak:?}");
    assert!(peak.is_none_or(|peak| peak < limit), "{peak:?}, at most {limit}");
    let inputs = ModelInputs::from_text(vec![1, 2, 3]);
    let expected = load().forward(&inputs, Logits::Last).unwrap().into_data();
    model.forward(&inputs, Logits::Last).unwrap().into_data().assert_approx_eq::<f32>(&expected, Default::default());

    // On the way back the packed weights are there already.
    let (model, peak) = measure_resident(|| undo_low_level_optimizations(model).unwrap());
    println!("{stored:?} as {dtype:?}: undone with {peak:?} more");
    let limit = 2 * table + weights / 10 + (16 << 20);
    assert!(peak.is_none_or(|peak| peak < limit), "{peak:?}, at most {limit}");
    assert_eq!(model.forward(&inputs, Logits::Last).unwrap().into_data(), expected);
}
