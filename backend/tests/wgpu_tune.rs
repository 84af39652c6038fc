//! Autotune on a Vulkan device: kernels are measured once, kept, and right whatever is chosen.

mod vulkan;

use burn_backend::{Backend, DType};
use burn_flex::Flex;
use burn_kiln::{
    AttentionShape, OpShape,
    gpu::{
        KilnWgpu,
        tune::{TuneStats, choice_file, forget_choices, stats},
    },
};
use burn_kiln_fusion::{
    AttentionInputs, AttentionOptions, Epilogue, FusedOps, KernelConfig, Weight, config::PlanningConfig,
};
use burn_tensor::{Tensor, TensorData, Tolerance};
use burn_wgpu::{WgpuDevice, WgpuRuntime};
use std::{fs, path::Path};
use vulkan::with_device;

/// Numbers between -1 and 1 that differ with `seed`.
fn make<B: Backend, const D: usize>(seed: usize, dims: [usize; D], device: &B::Device) -> Tensor<B, D> {
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i + 7 * seed) as f32 * 0.737).sin()).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// A linear layer over a row, and attention of a query over 300 keys.
fn run<B: FusedOps>(config: &KernelConfig, device: &B::Device) -> [TensorData; 2] {
    let (x, weight) = (make::<B, 2>(1, [1, 64], device), Weight::Plain(make(2, [96, 64], device)));
    let rows = FusedOps::linear(x, &weight, Epilogue::default(), config);
    let head = |seed, length| make::<B, 4>(seed, [1, 2, length, 64], device);
    let inputs = AttentionInputs { q: head(3, 1), k: head(4, 300), v: head(5, 300) };
    let attended = <B as FusedOps>::attention(inputs, &AttentionOptions::default(), None, config);
    [rows.into_data(), attended.into_data()]
}

fn assert_right(config: &KernelConfig, device: &WgpuDevice) {
    let expected = run::<Flex>(&KernelConfig::none(), &Default::default());
    for (actual, expected) in run::<KilnWgpu>(config, device).iter().zip(&expected) {
        actual.assert_approx_eq(expected, Tolerance::<f32>::absolute(1e-4));
    }
}

fn tune_in(folder: &Path) -> KernelConfig {
    let planning = PlanningConfig { tune: true, folder: Some(folder.to_owned()), ..PlanningConfig::default() };
    KernelConfig { planning, ..KernelConfig::default() }
}

/// What `work` adds to the counters.
fn count(work: impl FnOnce()) -> TuneStats {
    let before = stats();
    work();
    let after = stats();
    TuneStats {
        hits: after.hits - before.hits,
        measured: after.measured - before.measured,
        loaded: after.loaded - before.loaded,
    }
}

/// One test for all: counters and choices are the process's.
#[test]
fn kernels_are_measured_once_for_a_device() {
    with_device(|device| {
        let folder = tempfile::tempdir().unwrap();
        let config = tune_in(folder.path());
        let run = || count(|| assert_right(&config, device));
        let expect = |hits, measured, loaded| TuneStats { hits, measured, loaded };

        assert_eq!(
            count(|| assert_right(&KernelConfig::default(), device)),
            expect(0, 0, 0),
            "tuned without being asked"
        );
        let deterministic = KernelConfig { deterministic: true, ..config.clone() };
        assert_eq!(count(|| assert_right(&deterministic, device)), expect(0, 0, 0), "choices vary with the clock");

        assert_eq!(run(), expect(0, 2, 0));
        assert_eq!(run(), expect(2, 0, 0));
        let file = choice_file::<WgpuRuntime>(device, Some(folder.path())).unwrap();
        let kept = fs::read_to_string(&file).unwrap();
        assert!(
            kept.contains("DefaultDevice") && kept.contains(" by ") && kept.contains(env!("CARGO_PKG_VERSION")),
            "{kept}"
        );

        // `gpu.tune` does it for cards alone.
        let mut cards = tune_in(&folder.path().join("cards"));
        (cards.planning.tune, cards.gpu.tune) = (false, true);
        forget_choices();
        assert_eq!(count(|| assert_right(&cards, device)), expect(0, 2, 0));

        // As another process would find it.
        forget_choices();
        assert_eq!(run(), expect(0, 0, 2), "{kept}");

        check_strange_files(&file, &kept, run);
        check_explanations(&config, device);
    });
}

/// Files that are damaged, another device's, or that name a strategy which does not exist: measured again, never
/// believed.
fn check_strange_files(file: &Path, kept: &str, run: impl Fn() -> TuneStats) {
    let expect = |hits, measured, loaded| TuneStats { hits, measured, loaded };
    let version = env!("CARGO_PKG_VERSION");
    for strange in [kept[..kept.len() / 2].to_owned(), kept.replacen(version, "0.0.0", 1)] {
        fs::write(file, &strange).unwrap();
        forget_choices();
        assert_eq!(run(), expect(0, 2, 0));
        assert_eq!(fs::read_to_string(file).unwrap(), strange, "a file that is not understood is left alone");
    }
    // The last word of an entry is its choice.
    let tile = r#"{"Tiled":{"rows":3,"columns":0,"depth":0,"unit_rows":0,"unit_columns":0}}"#;
    let choice = |text: &str| text.rfind(r#"{"Product":"#).unwrap();
    let (head, tail) = kept.split_at(choice(kept));
    let end = tail.find(']').unwrap();
    fs::write(file, format!(r#"{head}{{"Product":{tile}}}{}"#, &tail[end..])).unwrap();
    forget_choices();
    assert_eq!(run(), expect(0, 1, 1));
    let mended = fs::read_to_string(file).unwrap();
    assert!(!mended.contains(tile), "{mended}");
    forget_choices();
    assert_eq!(run(), expect(0, 0, 2));
}

/// What is chosen is what is told.
fn check_explanations(config: &KernelConfig, device: &WgpuDevice) {
    let weight = Weight::Plain(make::<KilnWgpu, 2>(2, [96, 64], device));
    let told = KilnWgpu::explain_linear(&weight, 1, config).unwrap();
    assert!(told.contains("gemv") || told.contains("tiles"), "{told}");
    let shape =
        AttentionShape { queries: 1, keys: 300, heads: 2, kv_heads: 2, head_dim: 64, cache: DType::F32, causal: false };
    let told = KilnWgpu::explain_op(&OpShape::Attention(shape), device, config).unwrap();
    assert!(told.contains("tiles of 8 rows"), "{told}");
}
