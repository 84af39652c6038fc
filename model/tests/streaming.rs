//! Models with less memory than weights: the same numbers, the limit held, the order learned, and errors for files that
//! change.

use burn::tensor::DType;
use burn_flex::Flex;
use burn_kiln::{Kiln, OptimizationConfig};
use burn_kiln_fusion::FusedOps;
use bytesize::ByteSize;
use kiln_kernels::prefetch::{Keep, PrefetchError};
use qwen3_vl_burn::checkpoint::write_random;
use qwen3_vl_burn::config::{TextConfig, VisionConfig};
use qwen3_vl_burn::streaming::StreamReport;
use qwen3_vl_burn::{
    Error, LoadOptions, Logits, ModelInputs, Qwen3Vl, Qwen3VlConfig, apply_low_level_optimizations,
    undo_low_level_optimizations,
};
use std::fs;
use std::path::Path;

#[path = "fixture/mod.rs"]
mod fixture;

use fixture::Case;

fn load<B: FusedOps>(dir: &Path, options: LoadOptions<'_>) -> Result<Qwen3Vl<B>, Error> {
    Qwen3Vl::load(dir, &Default::default(), options)
}

/// The least limit that `options` can be loaded with.
fn least<B: FusedOps>(dir: &Path, options: LoadOptions<'_>) -> u64 {
    match load::<B>(dir, options.with_memory_limit(1)).map(drop) {
        Err(Error::Streaming(PrefetchError::LimitTooSmall { limit: 1, least })) => least,
        other => panic!("{other:?}"),
    }
}

/// Logits of a prompt, and of tokens after it; what was streamed for each of these.
fn run<B: FusedOps>(model: &Qwen3Vl<B>, inputs: &ModelInputs) -> Result<(Vec<Vec<f32>>, Vec<StreamReport>), Error> {
    let prompt = model.prepare(inputs)?;
    let positions = prompt.next_position()..;
    let mut cache = model.new_cache(prompt.len() + 8);
    let mut reports = Vec::from_iter(model.streaming());
    let mut logits = vec![model.prefill(vec![prompt], &mut [&mut cache], Logits::Last)?];
    for (position, token) in positions.zip(40..46) {
        logits.push(model.decode(&[(token, position)], &mut [&mut cache])?);
        reports.extend(model.streaming());
    }
    Ok((logits.into_iter().map(|logits| logits.into_data().to_vec().unwrap()).collect(), reports))
}

fn check_limits<B: FusedOps>(checkpoint: &str, case: &str, dtype: Option<DType>) {
    let dir = fixture::folder(checkpoint);
    let inputs = Case::open(checkpoint, case).inputs();
    let options = || LoadOptions { dtype, ..LoadOptions::default() };
    let (expected, none) = run(&load::<B>(&dir, options()).unwrap(), &inputs).unwrap();
    assert!(none.is_empty());
    let least = least::<B>(&dir, options());
    let file = fs::metadata(dir.join("model.safetensors")).unwrap().len();
    let all = if dtype == Some(DType::BF16) { file / 2 } else { file };
    let mut streamed = u64::MAX;
    for limit in [least, (least + all) / 2] {
        let model = load::<B>(&dir, options().with_memory_limit(limit)).unwrap();
        let (found, reports) = run(&model, &inputs).unwrap();
        assert!(found == expected, "{checkpoint} under {limit}");
        let report = model.streaming().unwrap();
        println!("{checkpoint} {dtype:?}, limit {limit} of {all}: {report:?}");
        assert!(report.high_water <= limit && report.held <= limit, "{report:?}");
        assert!(report.streamed <= streamed, "a larger limit pins no less");
        streamed = report.streamed;
        // After the first token the order is known.
        let steady = reports[reports.len() - 1].stats.since(&reports[1].stats);
        assert_eq!((steady.misses, steady.hit_rate()), (0, 1.0), "{steady:?}");
        assert_eq!(steady.wasted, 0);
    }
    // Whole layers, experts and all.
    let lru = || LoadOptions { keep: Keep::Lru, ..options() };
    let options = lru().with_memory_limit(self::least::<B>(&dir, lru()));
    assert!(run(&load::<B>(&dir, options).unwrap(), &inputs).unwrap().0 == expected, "{checkpoint} as LRU");
}

#[test]
fn dense_layers_give_the_same_numbers() {
    check_limits::<Flex>("tiny-dense", "image", None);
    check_limits::<Kiln<Flex>>("tiny-dense", "image", None);
}

#[test]
fn experts_give_the_same_numbers() {
    check_limits::<Flex>("tiny-moe", "image", None);
    check_limits::<Kiln<Flex>>("tiny-moe", "image", None);
}

/// f32 rows, converted at each use.
#[test]
fn another_dtype_is_converted() {
    check_limits::<Kiln<Flex>>("tiny-dense", "text", Some(DType::BF16));
}

#[test]
fn what_fits_is_not_streamed() {
    let dir = fixture::folder("tiny-dense");
    let config = OptimizationConfig::default();
    let options = || LoadOptions::default().with_config(&config);
    assert!(load::<Flex>(&dir, options()).unwrap().streaming().is_none());
    assert!(load::<Flex>(&dir, options().with_memory_limit(1 << 30)).unwrap().streaming().is_none());
    let mut config = config.clone();
    config.streaming.memory_limit = Some(ByteSize(least::<Flex>(&dir, LoadOptions::default())));
    assert!(load::<Flex>(&dir, LoadOptions::default().with_config(&config)).unwrap().streaming().is_some());
}

#[test]
fn a_streamed_model_moves_to_kiln_and_back() {
    let dir = fixture::folder("tiny-dense");
    let limit = least::<Flex>(&dir, LoadOptions::default()) * 3 / 2;
    let inputs = Case::open("tiny-dense", "text").inputs();
    let plain = load::<Flex>(&dir, LoadOptions::default().with_memory_limit(limit)).unwrap();
    let expected = run(&plain, &inputs).unwrap().0;
    let fast = apply_low_level_optimizations(plain, &OptimizationConfig::detect()).unwrap();
    assert!(fast.streaming().is_some());
    let unlimited = load::<Kiln<Flex>>(&dir, LoadOptions::default()).unwrap();
    assert!(run(&fast, &inputs).unwrap().0 == run(&unlimited, &inputs).unwrap().0);
    let back = undo_low_level_optimizations(fast).unwrap();
    assert!(run(&back, &inputs).unwrap().0 == expected);
}

#[test]
fn two_conversations_share_the_ring() {
    let dir = fixture::folder("tiny-dense");
    let inputs = Case::open("tiny-dense", "text").inputs();
    let limit = least::<Flex>(&dir, LoadOptions::default());
    let model = load::<Flex>(&dir, LoadOptions::default().with_memory_limit(limit)).unwrap();
    let expected = run(&model, &inputs).unwrap().0;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert!(run(&model, &inputs).unwrap().0 == expected));
        }
    });
    assert!(model.streaming().unwrap().high_water <= limit);
}

#[test]
fn a_file_that_changes_is_an_error() {
    let inputs = Case::open("tiny-dense", "text").inputs();
    let original = fs::read(fixture::folder("tiny-dense").join("model.safetensors")).unwrap();
    for damage in ["cut", "written"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        fs::write(&path, &original).unwrap();
        fs::copy(fixture::folder("tiny-dense").join("config.json"), dir.path().join("config.json")).unwrap();
        let limit = least::<Flex>(dir.path(), LoadOptions::default());
        let model = load::<Flex>(dir.path(), LoadOptions::default().with_memory_limit(limit)).unwrap();
        run(&model, &inputs).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(if damage == "cut" { 4096 } else { original.len() as u64 + 1 }).unwrap();
        match run(&model, &inputs).map(drop) {
            Err(Error::Streaming(PrefetchError::Truncated { file, what, found, .. })) if damage == "cut" => {
                assert!(file == path && found == 4096 && what.starts_with("model."), "{what}");
            }
            Err(Error::Streaming(PrefetchError::Changed { file, .. })) if damage == "written" => assert_eq!(file, path),
            other => panic!("{other:?}"),
        }
    }
}

/// A line of `/proc/self/status`, bytes.
#[cfg(target_os = "linux")]
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Resident bytes of the process's mappings of files in `dir`.
#[cfg(target_os = "linux")]
fn mapped(dir: &Path) -> u64 {
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    let mut sum = 0;
    for line in text.lines() {
        if let Some(kib) = line.strip_prefix("Rss:") {
            let kib: u64 = kib.trim().trim_end_matches("kB").trim().parse().unwrap();
            sum += if inside { kib << 10 } else { 0 };
        } else if line.contains('/') || line.split(' ').next().is_some_and(|range| range.contains('-')) {
            inside = line.contains(dir.to_str().unwrap());
        }
    }
    sum
}

/// What the process really holds: anonymous memory, and pages of the checkpoint. Alone in its process, as memory is the
/// process's: the test starts this program again for itself.
#[cfg(target_os = "linux")]
#[test]
fn the_process_stays_within_the_limit() {
    const ALONE: &str = "KILN_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let program = std::env::current_exe().unwrap();
        let outcome = std::process::Command::new(program)
            .args(["--exact", "the_process_stays_within_the_limit", "--nocapture"])
            .env(ALONE, "1")
            .status()
            .unwrap();
        assert!(outcome.success());
        return;
    }
    // 48 layers of 1.7 M weights and a table of 4 M: 86 M weights, 172 MB.
    let text = TextConfig::new(8_000, 512, 768, 48, 8, 4, 64, [12, 10, 10], true);
    let vision = VisionConfig::new(2, 128, 256, 2, 512, vec![0]);
    let config = Qwen3VlConfig::new(text, vision, 7_000, 7_001, 7_002, 7_003);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write_random(&config, dir.path(), DType::BF16, 7).unwrap();
    let weights = fs::metadata(dir.path().join("model.safetensors")).unwrap().len();
    let limit = weights / 2;
    // Threads, code and the first activations.
    load::<Kiln<Flex>>(&fixture::folder("tiny-dense"), LoadOptions::default())
        .unwrap()
        .forward(&ModelInputs::from_text((20..84).collect()), Logits::Last)
        .unwrap();
    let before = status("RssAnon:");
    let model = load::<Kiln<Flex>>(dir.path(), LoadOptions::default().with_memory_limit(limit)).unwrap();
    let prompt = ModelInputs::from_text((0..64).collect());
    let (mut most, mut most_mapped) = (0, 0);
    for _ in 0..4 {
        model.forward(&prompt, Logits::Last).unwrap();
        most = most.max(status("RssAnon:") - before);
        most_mapped = most_mapped.max(mapped(dir.path()));
    }
    let report = model.streaming().unwrap();
    println!("{weights} bytes of weights: {most} anonymous, {most_mapped} mapped; {report:?}");
    assert!(report.high_water <= limit && report.streamed > weights / 3);
    // The header was read through the mapping.
    assert!(most_mapped < 1 << 20, "{most_mapped}");
    // Activations of 64 tokens: 16 MiB.
    assert!(most < limit + (16 << 20), "{most}");
}
