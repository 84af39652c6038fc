//! The switches of a configuration that a model reads, each turned by itself, and counted: the rows that the table of
//! all switches (`backend/tests/switches`) leaves to this file. A process of its own: routes are counted for it.

use burn_flex::Flex;
use burn_kiln::routes::{Route, count};
use burn_kiln::{Kiln, OptimizationConfig};
use bytesize::ByteSize;
use kiln_kernels::prefetch::{PrefetchError, StreamStats};
use qwen3_vl_burn::streaming::{CardError, StreamReport};
use qwen3_vl_burn::{Error, LoadOptions, Logits, ModelInputs, Qwen3Vl, apply_low_level_optimizations};

#[path = "fixture/mod.rs"]
mod fixture;

use fixture::Case;

fn inputs() -> ModelInputs {
    Case::open("tiny-dense", "text").inputs()
}

fn load(config: &OptimizationConfig) -> Result<Qwen3Vl<Flex>, Error> {
    let options = LoadOptions::default().with_config(config);
    Qwen3Vl::load(fixture::folder("tiny-dense"), &Default::default(), options)
}

/// The least limit of memory.
fn least() -> ByteSize {
    let mut config = OptimizationConfig::default();
    config.streaming.memory_limit = Some(ByteSize(1));
    match load(&config).map(drop) {
        Err(Error::Streaming(PrefetchError::LimitTooSmall { limit: 1, least })) => ByteSize(least),
        other => panic!("{other:?}"),
    }
}

/// The last logits of two passes, and what was streamed for them.
fn run(model: &Qwen3Vl<Flex>) -> (Vec<f32>, Option<StreamReport>) {
    model.forward(&inputs(), Logits::Last).unwrap();
    let logits = model.forward(&inputs(), Logits::Last).unwrap();
    (logits.into_data().to_vec().unwrap(), model.streaming())
}

/// `weights.pack`: products with packed weights, or with the checkpoint's rows.
#[test]
fn weights_are_packed_where_the_configuration_says_so() {
    for pack in [true, false] {
        let mut config = OptimizationConfig::default();
        config.weights.pack = pack;
        let model: Qwen3Vl<Kiln<Flex>> = apply_low_level_optimizations(load(&config).unwrap(), &config).unwrap();
        let before = [count(Route::Linear), count(Route::LinearPacked)];
        model.forward(&inputs(), Logits::Last).unwrap();
        let [all, packed] = [count(Route::Linear) - before[0], count(Route::LinearPacked) - before[1]];
        assert!(all > 0);
        assert_eq!(packed, if pack { all } else { 0 });
    }
}

/// `streaming.memory_limit`: nothing is read from files after loading, or what is beyond the limit.
#[test]
fn a_limit_of_memory_makes_a_model_stream() {
    let mut config = OptimizationConfig::default();
    let (expected, none) = run(&load(&config).unwrap());
    assert_eq!(none, None);
    config.streaming.memory_limit = Some(least());
    let (found, report) = run(&load(&config).unwrap());
    let report = report.unwrap();
    assert!(found == expected && report.stats.bytes_read > 0, "{report:?}");
    assert!(report.high_water <= least().as_u64(), "{report:?}");
}

/// `streaming.read_ahead`: off, every part is read when it is asked for.
#[test]
fn reading_ahead_is_switched() {
    let mut config = OptimizationConfig::default();
    config.streaming.memory_limit = Some(least());
    let mut run_as = |read_ahead: bool| -> (Vec<f32>, StreamStats) {
        config.streaming.read_ahead = read_ahead;
        let (logits, report) = run(&load(&config).unwrap());
        (logits, report.unwrap().stats)
    };
    let ((expected, ahead), (found, on_demand)) = (run_as(true), run_as(false));
    assert!(found == expected);
    assert!(ahead.hits + ahead.late > 0, "{ahead:?}");
    assert_eq!((on_demand.hits, on_demand.late, on_demand.wasted), (0, 0, 0), "{on_demand:?}");
    assert_eq!(on_demand.misses, ahead.asked());
}

/// `gpu.memory_limit` is told to the loader: host memory is no card. (What it does to a card's memory is tested in
/// `src/streaming/card_tests.rs`, where host memory stands for one.)
#[test]
fn a_limit_of_a_card_is_told_to_the_loader() {
    let mut config = OptimizationConfig::default();
    assert!(load(&config).is_ok());
    config.gpu.memory_limit = Some(ByteSize::gib(1));
    let error = load(&config).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Card(CardError::NoCard { .. })), "{error}");
}
