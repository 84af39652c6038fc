//! Models that are larger than the memory they may take of a Vulkan device: the same numbers, and the bytes that its
//! allocator counts.
//!
//! `cargo test --profile gpu -p qwen3-vl-burn --features wgpu --test card`. Without a device it is skipped, or fails
//! where `KILN_REQUIRE_GPU=1`.

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_kiln::gpu::KilnWgpu;
use burn_kiln_fusion::{DeviceMemory, FusedOps};
use qwen3_vl_burn::checkpoint::write_random;
use qwen3_vl_burn::config::{TextConfig, VisionConfig};
use qwen3_vl_burn::error::CardError;
use qwen3_vl_burn::generate::{GenerateOptions, generate};
use qwen3_vl_burn::{Error, LoadOptions, Logits, ModelInputs, Qwen3Vl, Qwen3VlConfig};
use std::io::Write;
use std::panic::catch_unwind;
use std::path::Path;

#[path = "fixture/mod.rs"]
mod fixture;

use fixture::Case;

type Model = Qwen3Vl<KilnWgpu>;

fn has_device() -> bool {
    if catch_unwind(|| drop(KilnWgpu::name(&Default::default()))).is_ok() {
        return true;
    }
    let missing = "no Vulkan adapter: install a driver, such as mesa-vulkan-drivers with libvulkan1";
    assert_ne!(std::env::var("KILN_REQUIRE_GPU").as_deref(), Ok("1"), "{missing}");
    // Not `eprintln`, which the test harness would swallow.
    std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
    false
}

fn load(dir: &Path, options: LoadOptions<'_>) -> Result<Model, Error> {
    Qwen3Vl::load(dir, &Default::default(), options)
}

fn least(dir: &Path) -> u64 {
    match load(dir, LoadOptions::default().with_gpu_memory(1)).map(drop) {
        Err(Error::Card(CardError::LimitTooSmall { limit: 1, least })) => least,
        other => panic!("{other:?}"),
    }
}

/// The device's memory when all that was asked of it is done.
fn settle() -> DeviceMemory {
    KilnWgpu::sync(&Default::default()).unwrap();
    KilnWgpu::device_memory(&Default::default()).unwrap()
}

/// Logits of a prompt and of tokens after it, and the most memory that the device had taken in between.
fn run(model: &Model, inputs: &ModelInputs) -> (Vec<Vec<f32>>, DeviceMemory) {
    let prompt = model.prepare(inputs).unwrap();
    let positions = prompt.next_position()..;
    let mut cache = model.new_cache(prompt.len() + 8);
    let list = |logits: burn::tensor::Tensor<KilnWgpu, 3>| logits.into_data().to_vec::<f32>().unwrap();
    let mut logits = vec![list(model.prefill(vec![prompt], &mut [&mut cache], Logits::Last).unwrap())];
    let mut most = settle();
    for (position, token) in positions.zip(40..46) {
        logits.push(list(model.decode(&[(token, position)], &mut [&mut cache]).unwrap()));
        let now = settle();
        most.in_use = most.in_use.max(now.in_use);
        most.reserved = most.reserved.max(now.reserved);
    }
    (logits, most)
}

/// Runs the model whole and under each of `limits`: bit for bit the same, and memory by as much less as its weights
/// take less.
fn check(dir: &Path, inputs: &ModelInputs, limits: impl Fn(u64, u64) -> Vec<u64>) {
    let clean = || {
        KilnWgpu::memory_cleanup(&Default::default());
        settle()
    };
    let empty = clean();
    let whole = load(dir, LoadOptions::default()).unwrap();
    let weights = settle().in_use - empty.in_use;
    let (expected, most) = run(&whole, inputs);
    // Activations, and the cache.
    let besides = most.reserved - empty.reserved - weights;
    drop(whole);
    for limit in limits(least(dir), weights) {
        let empty = clean();
        let model = load(dir, LoadOptions::default().with_gpu_memory(limit)).unwrap();
        let loaded = settle();
        let (found, most) = run(&model, inputs);
        let report = model.streaming().unwrap().card.unwrap();
        println!(
            "{}: {weights} bytes of weights, limit {limit}: reserved {} loaded, {} at most, of these {besides} besides weights; {report:?}",
            dir.display(),
            loaded.reserved - empty.reserved,
            most.reserved - empty.reserved
        );
        assert!(found == expected, "{} under {limit}", dir.display());
        assert!(loaded.in_use - empty.in_use <= report.pinned);
        assert!(most.reserved - empty.reserved <= limit + besides, "{most:?}");
        assert!(report.high_water <= limit && report.streamed > 0);
        // The first part of the prompt, and the first one of a token.
        assert!(report.stats.misses <= 2 && report.stats.wasted == 0, "{report:?}");
    }
}

/// Eight times what may be on the device, text.
#[test]
fn a_checkpoint_larger_than_the_device_may_hold() {
    if !has_device() {
        return;
    }
    // 24 layers of 0.6 M weights and a table of 0.5 M, f32: 60 MB.
    let text = TextConfig::new(2_000, 256, 512, 24, 4, 2, 64, [12, 10, 10], true);
    let vision = VisionConfig::new(2, 128, 256, 2, 256, vec![0]);
    let config = Qwen3VlConfig::new(text, vision, 1_990, 1_991, 1_992, 1_993);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write_random(&config, dir.path(), DType::F32, 7).unwrap();
    let inputs = ModelInputs::from_text((20..52).collect());
    check(dir.path(), &inputs, |least, weights| vec![weights / 8, weights / 2, least]);
}

/// A vision prompt and HF's numbers, the tower streamed too.
#[test]
fn pictures_and_answers() {
    if !has_device() {
        return;
    }
    for checkpoint in ["tiny-dense", "tiny-mixed"] {
        let dir = fixture::folder(checkpoint);
        check(&dir, &Case::open(checkpoint, "image").inputs(), |least, weights| vec![least, (least + weights) / 2]);
    }
    let dir = fixture::folder("tiny-dense");
    let model = load(&dir, LoadOptions::default().with_gpu_memory(least(&dir))).unwrap();
    let answer = generate(&model, &Case::open("tiny-dense", "image").inputs(), &GenerateOptions::new(16)).unwrap();
    assert_eq!(answer.tokens, fixture::read_greedy("tiny-dense", "image")[..16]);
}
