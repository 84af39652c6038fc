//! Models that are larger than their card, where host memory stands for the card's.

use super::load::load_within;
use super::{CardError, CardReport, Limits};
use crate::checkpoint::Checkpoint;
use crate::fill::WeightSource;
use crate::processor::{Grid, ProcessedImages};
use crate::{Error, LoadOptions, Logits, ModelInputs, Qwen3Vl, Qwen3VlConfig};
use burn_flex::Flex;
use burn_kiln_fusion::DeviceLayout;
use kiln_kernels::prefetch::{Keep, PrefetchError};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::path::PathBuf;

const LAYOUT: DeviceLayout = DeviceLayout { alignment: 64, pitched: true };

/// A fixture's folder, or any of that absolute path.
fn folder(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

fn load(name: &str, memory: Option<u64>, card: u64) -> Result<Option<Qwen3Vl<Flex>>, Error> {
    load_as(name, Limits { memory, card: Some(card), read_ahead: true, keep: Keep::Ring })
}

fn load_as(name: &str, limits: Limits) -> Result<Option<Qwen3Vl<Flex>>, Error> {
    let mut config = Qwen3VlConfig::from_dir(folder(name))?;
    let checkpoint = Checkpoint::open(folder(name))?.with_quantization(config.quantization.take());
    let checkpoint = checkpoint.arranged_for(&config)?;
    let source = WeightSource { checkpoint: &checkpoint, bytes: &checkpoint, dtype: None, config: &config };
    load_within(&source, (limits, Some(LAYOUT)), &Default::default(), &mut |_| Ok(()))
}

/// The least limit of the card.
fn least(name: &str) -> u64 {
    match load(name, None, 1).map(drop) {
        Err(Error::Card(CardError::LimitTooSmall { limit: 1, least })) => least,
        other => panic!("{other:?}"),
    }
}

fn report(model: &Qwen3Vl<Flex>) -> CardReport {
    model.streaming().and_then(|report| report.card).unwrap()
}

/// Text around a picture of four by four patches.
fn picture(config: &Qwen3VlConfig) -> ModelInputs {
    let vision = &config.vision;
    let merged = 16 / vision.spatial_merge_size.pow(2);
    let mut input_ids = vec![20, 21, config.vision_start_token_id];
    input_ids.extend(std::iter::repeat_n(config.image_token_id, merged));
    input_ids.extend([config.vision_end_token_id, 22, 23]);
    let pixel_values = (0..16 * vision.patch_dim()).map(|i| (i as f32 * 0.37).sin()).collect();
    let images = ProcessedImages { pixel_values, grids: vec![Grid { t: 1, h: 4, w: 4 }] };
    ModelInputs { input_ids, images, videos: ProcessedImages::default() }
}

/// Logits of a prompt with a picture and of six tokens after it, and what was sent after each.
fn run(model: &Qwen3Vl<Flex>) -> (Vec<Vec<f32>>, Vec<CardReport>) {
    let prompt = model.prepare(&picture(model.config())).unwrap();
    let positions = prompt.next_position()..;
    let mut cache = model.new_cache(prompt.len() + 8);
    let mut logits = vec![model.prefill(vec![prompt], &mut [&mut cache], Logits::Last).unwrap()];
    let mut reports = Vec::from_iter(model.streaming().and_then(|report| report.card));
    for (position, token) in positions.zip(40..46) {
        logits.push(model.decode(&[(token, position)], &mut [&mut cache]).unwrap());
        reports.extend(model.streaming().and_then(|report| report.card));
    }
    (logits.into_iter().map(|logits| logits.into_data().to_vec().unwrap()).collect(), reports)
}

fn check(name: &str) {
    let whole = Qwen3Vl::<Flex>::load(folder(name), &Default::default(), LoadOptions::default()).unwrap();
    let (expected, none) = run(&whole);
    assert!(none.is_empty());
    let least = least(name);
    let (mut pinned, mut limit, step) = (0, least, least / 8);
    while let Some(model) = load(name, None, limit).unwrap() {
        let (found, reports) = run(&model);
        assert!(found == expected, "{name} under {limit}");
        let report = report(&model);
        println!("{name} under {limit}: {report:?}");
        assert!(report.high_water <= limit && report.held <= report.high_water, "{report:?}");
        assert!(report.pinned >= pinned, "a larger limit pins no less");
        pinned = report.pinned;
        let steady = reports[6].stats.since(&reports[2].stats);
        assert_eq!(
            (steady.misses, steady.wasted, steady.stall.as_nanos()),
            (0, 0, 0),
            "{name} under {limit}: {steady:?}"
        );
        limit += step;
    }
    assert!(limit > least, "{name} is never streamed");
    let error = load(name, None, least - 1).map(drop).unwrap_err();
    assert!(matches!(error, Error::Card(CardError::LimitTooSmall { least: told, .. }) if told == least), "{error}");
}

#[test]
fn dense_layers_are_sent_ahead() {
    check("tiny-dense");
}

#[test]
fn experts_are_sent_with_their_layer() {
    check("tiny-moe");
    check("tiny-mixed");
}

/// Experts that are put together, here as HF 5 saves them: `[expert, out, in]`.
#[test]
fn experts_of_another_layout_are_sent_with_their_layer() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::read(folder("tiny-moe").join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let turned = file.iter().map(|(name, view)| {
        let (mut shape, mut bytes) = (view.shape().to_vec(), view.data().to_vec());
        if let [experts, rows, columns] = shape[..] {
            let places = (0..experts).flat_map(|e| (0..columns).flat_map(move |j| (0..rows).map(move |i| (e, i, j))));
            let at = places.map(|(e, i, j)| 4 * ((e * rows + i) * columns + j));
            bytes = at.flat_map(|at| view.data()[at..at + 4].to_vec()).collect();
            shape = vec![experts, columns, rows];
        }
        (name.to_owned(), shape, bytes)
    });
    let turned: Vec<_> = turned.collect();
    let views =
        turned.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &dir.path().join("model.safetensors")).unwrap();
    std::fs::copy(folder("tiny-moe").join("config.json"), dir.path().join("config.json")).unwrap();
    let name = dir.path().to_str().unwrap();
    check(name);
    let expected = Qwen3Vl::<Flex>::load(folder("tiny-moe"), &Default::default(), LoadOptions::default()).unwrap();
    assert!(run(&load(name, None, least(name)).unwrap().unwrap()).0 == run(&expected).0);
}

/// `streaming.read_ahead` off: a part is sent when it is asked for.
#[test]
fn nothing_is_sent_ahead_where_that_is_off() {
    let name = "tiny-dense";
    let limits = |read_ahead| Limits { memory: None, card: Some(least(name)), read_ahead, keep: Keep::Ring };
    let (ahead, on_demand) =
        (load_as(name, limits(true)).unwrap().unwrap(), load_as(name, limits(false)).unwrap().unwrap());
    assert!(run(&on_demand).0 == run(&ahead).0);
    let [ahead, on_demand] = [ahead, on_demand].map(|model| report(&model).stats);
    assert!(ahead.hits > 0, "{ahead:?}");
    assert!(
        on_demand.hits == 0 && on_demand.wasted == 0 && on_demand.misses == ahead.hits + ahead.misses,
        "{on_demand:?}"
    );
}

/// Both limits: parts come from their files through a ring.
#[test]
fn host_memory_is_limited_besides() {
    let name = "tiny-dense";
    let card = least(name);
    let need = match load(name, Some(1), card).map(drop) {
        Err(Error::Streaming(PrefetchError::LimitTooSmall { limit: 1, least })) => least,
        other => panic!("{other:?}"),
    };
    let model = load(name, Some(need), card).unwrap().unwrap();
    let whole = Qwen3Vl::<Flex>::load(folder(name), &Default::default(), LoadOptions::default()).unwrap();
    assert!(run(&model).0 == run(&whole).0);
    let report = model.streaming().unwrap();
    assert!(report.high_water <= need && report.stats.bytes_read > 0 && report.buffers == 2, "{report:?}");
    // The first part of the prompt, and the first one of a token.
    assert_eq!(report.stats.misses, 2, "{report:?}");
    assert!(report.card.unwrap().high_water <= card);
    // All of it on the card: no host memory to limit.
    assert!(load(name, Some(1), 1 << 30).unwrap().is_none());
}

#[test]
fn passes_of_several_threads_take_turns() {
    let name = "tiny-dense";
    let model = load(name, None, least(name)).unwrap().unwrap();
    let expected = run(&model).0;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert!(run(&model).0 == expected));
        }
    });
    assert!(report(&model).high_water <= least(name));
}

#[test]
fn host_memory_is_no_card() {
    let options = LoadOptions::default().with_gpu_memory(1 << 30);
    let error = Qwen3Vl::<Flex>::load(folder("tiny-dense"), &Default::default(), options).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Card(CardError::NoCard { backend }) if backend == "flex"), "{error}");
    assert!(error.to_string().contains("host memory"), "{error}");
}
