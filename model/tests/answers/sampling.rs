//! Choosing tokens: against HF transformers' logits processors (`fixtures/generate/make.py`), a full sort, and
//! statistics.

use crate::fixture;

use qwen3_vl_burn::generate::{Candidate, GenerateError, GenerateOptions, Sampler, Sampling};
use serde_json::Value;
use std::collections::BTreeMap;

/// Largest difference of a probability, relative to it: both sides compute in f64, `exp` and sums of 40 terms aside
/// alike.
const TOLERANCE: f64 = 1e-12;

fn read_reference() -> Value {
    let path = fixture::folder("generate").join("sampling.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn read_tokens(list: &Value) -> Vec<u32> {
    serde_json::from_value(list.clone()).unwrap()
}

/// Null stands for -inf.
fn read_logits(list: &Value) -> Vec<f32> {
    let read = |value: &Value| value.as_f64().map_or(f32::NEG_INFINITY, |value| value as f32);
    list.as_array().unwrap().iter().map(read).collect()
}

fn read_sampling(options: &Value) -> Sampling {
    let real = |key: &str, absent: f64| options[key].as_f64().unwrap_or(absent);
    Sampling {
        repetition_penalty: real("repetition_penalty", 1.0),
        presence_penalty: real("presence_penalty", 0.0),
        frequency_penalty: real("frequency_penalty", 0.0),
        temperature: real("temperature", 1.0),
        top_k: options["top_k"].as_u64().unwrap_or(0) as usize,
        top_p: real("top_p", 1.0),
        min_p: real("min_p", 0.0),
        seed: None,
    }
}

/// Makes `sampler` choose `token`.
fn force(sampler: &mut Sampler, token: u32, vocab_size: usize) {
    let mut logits = vec![f32::NEG_INFINITY; vocab_size];
    logits[token as usize] = 0.0;
    assert_eq!(sampler.choose(&logits).unwrap(), token);
}

fn normalize(candidates: &[Candidate]) -> BTreeMap<u32, f64> {
    let sum: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    candidates.iter().map(|candidate| (candidate.token, candidate.weight / sum)).collect()
}

fn compare(name: &str, found: &BTreeMap<u32, f64>, expected: &BTreeMap<u32, f64>) {
    assert!(found.keys().eq(expected.keys()), "{name}: {found:?}, expected {expected:?}");
    for ((token, found), expected) in found.iter().zip(expected.values()) {
        assert!(
            (found - expected).abs() <= TOLERANCE * expected,
            "{name}, token {token}: {found}, expected {expected}"
        );
    }
}

#[test]
fn probabilities_equal_hf() {
    let reference = read_reference();
    let prompt = read_tokens(&reference["prompt"]);
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 37);
    for case in cases {
        let logits = read_logits(&reference["logits"][case["logits"].as_str().unwrap()]);
        let mut sampler = Sampler::new(&read_sampling(&case["options"]), &prompt).unwrap();
        for token in read_tokens(&reference["answer"]) {
            force(&mut sampler, token, logits.len());
        }
        let expected: BTreeMap<String, f64> = serde_json::from_value(case["probabilities"].clone()).unwrap();
        let expected = expected.into_iter().map(|(token, p)| (token.parse().unwrap(), p)).collect();
        let name = format!("{}, {}", case["name"], case["logits"]);
        compare(&name, &normalize(sampler.distribute(&logits).unwrap()), &expected);
    }
}

#[test]
fn seeds_draw_as_documented() {
    let reference = read_reference();
    let mut compared = 0;
    for case in reference["cases"].as_array().unwrap().iter().filter(|case| !case["drawn"].is_null()) {
        let logits = read_logits(&reference["logits"][case["logits"].as_str().unwrap()]);
        let sampling = read_sampling(&case["options"]).with_seed(case["seed"].as_u64().unwrap());
        let mut sampler = Sampler::new(&sampling, &[]).unwrap();
        assert_eq!(sampler.seed(), sampling.seed);
        let expected = read_tokens(&case["drawn"]);
        let drawn: Vec<u32> = expected.iter().map(|_| sampler.choose(&logits).unwrap()).collect();
        assert_eq!(drawn, expected, "{}, {}", case["name"], case["logits"]);
        compared += drawn.len();
    }
    assert_eq!(compared, 23 * 24);
}

/// The definitions, with a sort of the whole vocabulary.
fn distribute_by_sorting(logits: &[f32], sampling: &Sampling) -> BTreeMap<u32, f64> {
    let mut ranked: Vec<(u32, f64)> = (0..).zip(logits).map(|(token, &logit)| (token, f64::from(logit))).collect();
    ranked.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    let normalize = |tokens: &mut Vec<(u32, f64)>| {
        let sum: f64 = tokens.iter().map(|token| token.1).sum();
        tokens.iter_mut().for_each(|token| token.1 /= sum);
    };
    let last = ranked[if sampling.top_k == 0 { ranked.len() } else { sampling.top_k } - 1].1;
    ranked.retain(|token| token.1 >= last);
    let largest = ranked[0].1;
    ranked.iter_mut().for_each(|token| token.1 = ((token.1 - largest) / sampling.temperature).exp());
    normalize(&mut ranked);
    let mut before = 0.0;
    ranked.retain(|token| {
        let kept = before < sampling.top_p;
        before += token.1;
        kept
    });
    let likeliest = ranked[0].1;
    ranked.retain(|token| token.1 >= sampling.min_p * likeliest);
    normalize(&mut ranked);
    ranked.into_iter().collect()
}

/// A vocabulary as large as Qwen's: nuclei within the first block that is ranked, of several blocks, and of all tokens.
#[test]
fn selection_equals_a_sort() {
    // Sums of 12 numbers of a linear congruential generator: about normal, deviation 3; on a grid of 2⁻⁸, so that many
    // are equal.
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let logits: Vec<f32> = (0..151_936)
        .map(|_| (((0..12).map(|_| next()).sum::<f64>() - 6.0) * 3.0 * 256.0).round() as f32 / 256.0)
        .collect();
    let base = Sampling::greedy().with_temperature(1.0);
    let mut sizes = Vec::new();
    for sampling in [
        base.clone().with_temperature(0.3).with_top_p(0.9),
        base.clone().with_top_p(0.5),
        base.clone().with_top_p(0.999).with_min_p(0.0001),
        base.clone().with_temperature(8.0).with_top_p(0.97),
        base.clone().with_top_k(50).with_top_p(0.9),
        base.clone().with_top_k(5000).with_top_p(0.95).with_min_p(0.05),
        base.clone().with_min_p(0.02),
        base,
    ] {
        let expected = distribute_by_sorting(&logits, &sampling);
        let mut sampler = Sampler::new(&sampling, &[]).unwrap();
        let found = normalize(sampler.distribute(&logits).unwrap());
        assert!(found.keys().eq(expected.keys()), "{sampling:?}: {} tokens, expected {}", found.len(), expected.len());
        // Sums of 151,936 terms in another order: at most that many roundings of 2⁻⁵³.
        assert!(found.iter().all(|(token, p)| (p - expected[token]).abs() <= 2e-11 * p), "{sampling:?}");
        sizes.push(found.len());
    }
    // Blocks of 256, 1024 and 4096 tokens end at 5376.
    assert!(sizes.iter().any(|&size| size < 256) && sizes.iter().any(|&size| size > 5376), "{sizes:?}");
}

/// Pearson's test with 7 degrees of freedom: χ² exceeds 29.88 once in ten thousand seeds.
#[test]
fn draws_follow_the_probabilities() {
    const DRAWS: usize = 100_000;
    const LIMIT: f64 = 29.88;
    let logits = [0.3f32, -1.0, 2.0, 0.0, 1.1, -2.5, 0.7, 1.6];
    let temperature = 1.25;
    let weights = logits.map(|logit| (f64::from(logit) / temperature).exp());
    let sum: f64 = weights.iter().sum();
    for seed in [1, 2, u64::MAX] {
        let sampling = Sampling::greedy().with_temperature(temperature).with_seed(seed);
        let mut sampler = Sampler::new(&sampling, &[]).unwrap();
        let mut counts = [0usize; 8];
        (0..DRAWS).for_each(|_| counts[sampler.choose(&logits).unwrap() as usize] += 1);
        let expected = weights.map(|weight| weight / sum * DRAWS as f64);
        let chi: f64 = counts.iter().zip(expected).map(|(&found, e)| (found as f64 - e).powi(2) / e).sum();
        assert!(chi < LIMIT, "seed {seed}: {chi}, {counts:?}");
    }
}

#[test]
fn greedy_takes_the_first_of_the_likeliest_after_penalties() {
    let choose = |sampling: Sampling, prompt: &[u32], logits: &[f32]| {
        let mut sampler = Sampler::new(&sampling, prompt).unwrap();
        assert_eq!(sampler.seed(), None);
        [0, 1, 2].map(|_| sampler.choose(logits).unwrap())
    };
    let logits = [1.0, 3.0, 2.0, 3.0];
    assert_eq!(choose(Sampling::greedy(), &[1], &logits), [1, 1, 1]);
    // 3 / 2 = 1.5 < 2; then token 3 falls to 1.5, and token 2, alone left whole, to 1.
    assert_eq!(choose(Sampling::greedy().with_repetition_penalty(2.0), &[1], &logits), [3, 2, 1]);
    // Once for every appearance: 3 - 0.75, and 3 - 1.5 below 2.
    assert_eq!(choose(Sampling::greedy().with_frequency_penalty(0.75), &[1], &logits), [1, 3, 1]);
    assert_eq!(choose(Sampling::greedy().with_presence_penalty(2.0), &[1], &logits), [1, 3, 2]);
    // Ids of the prompt that have no logit are passed over.
    assert_eq!(choose(Sampling::greedy().with_repetition_penalty(2.0), &[9, u32::MAX], &logits), [1, 3, 2]);
}

#[test]
fn extremes_give_numbers() {
    let logits = [f32::MAX, f32::MIN, 0.0, f32::MIN_POSITIVE, f32::MAX];
    let tiny = f64::from_bits(1);
    let base = Sampling::greedy().with_temperature(1.0);
    for sampling in [
        base.clone().with_temperature(tiny),
        base.clone().with_temperature(f64::MAX),
        base.clone().with_top_p(tiny),
        base.clone().with_top_p(1.0 - f64::EPSILON),
        base.clone().with_min_p(1.0).with_top_k(usize::MAX),
        base.clone().with_repetition_penalty(tiny),
        base.clone().with_repetition_penalty(f64::MAX),
        base.clone().with_presence_penalty(-2.0).with_frequency_penalty(2.0),
    ] {
        let mut sampler = Sampler::new(&sampling, &[0, 1, 2, 3, 4]).unwrap();
        for _ in 0..4 {
            let candidates = sampler.distribute(&logits).unwrap();
            assert!(candidates.iter().all(|candidate| (0.0..=1.0).contains(&candidate.weight)), "{sampling:?}");
            assert!(candidates.iter().any(|candidate| candidate.weight == 1.0), "{sampling:?}");
            sampler.choose(&logits).unwrap();
        }
    }
}

#[test]
fn infinite_logits_share_and_bad_ones_are_errors() {
    for temperature in [0.0, 0.7] {
        let sampling = Sampling::greedy().with_temperature(temperature).with_top_k(3);
        let mut sampler = Sampler::new(&sampling, &[7, 8]).unwrap();
        let logits = [1.0, f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY];
        let expected: &[(u32, f64)] = if temperature == 0.0 { &[(1, 1.0)] } else { &[(1, 0.5), (3, 0.5)] };
        assert!(normalize(sampler.distribute(&logits).unwrap()).into_iter().eq(expected.iter().copied()));
        force(&mut sampler, 2, 4);

        let error = sampler.choose(&[0.0, f32::NAN, f32::NAN]).unwrap_err();
        assert_eq!(error, GenerateError::NotANumber { position: 3, token: 1 });
        let error = sampler.choose(&[f32::NEG_INFINITY; 5]).unwrap_err();
        assert_eq!(error, GenerateError::NoCandidate { position: 3, vocab_size: 5 });
        let error = sampler.choose(&[]).unwrap_err();
        assert_eq!(error, GenerateError::NoCandidate { position: 3, vocab_size: 0 });
    }
}

#[test]
fn options_out_of_range_are_errors() {
    let base = Sampling::greedy;
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let cases = [
        (base().with_temperature(-0.1), "temperature is -0.1, but must be a finite number of at least 0"),
        (base().with_temperature(nan), "temperature is NaN, but must be a finite number of at least 0"),
        (base().with_temperature(inf), "temperature is inf, but must be a finite number of at least 0"),
        (base().with_top_p(0.0), "top_p is 0, but must be above 0 and at most 1"),
        (base().with_top_p(1.01), "top_p is 1.01, but must be above 0 and at most 1"),
        (base().with_top_p(nan), "top_p is NaN, but must be above 0 and at most 1"),
        (base().with_min_p(-0.5), "min_p is -0.5, but must be within 0..=1"),
        (base().with_min_p(2.0), "min_p is 2, but must be within 0..=1"),
        (base().with_min_p(nan), "min_p is NaN, but must be within 0..=1"),
        (base().with_repetition_penalty(0.0), "repetition_penalty is 0, but must be a finite number above 0"),
        (base().with_repetition_penalty(-1.0), "repetition_penalty is -1, but must be a finite number above 0"),
        (base().with_repetition_penalty(inf), "repetition_penalty is inf, but must be a finite number above 0"),
        (base().with_repetition_penalty(nan), "repetition_penalty is NaN, but must be a finite number above 0"),
        (base().with_presence_penalty(2.5), "presence_penalty is 2.5, but must be within -2..=2"),
        (base().with_presence_penalty(nan), "presence_penalty is NaN, but must be within -2..=2"),
        (base().with_frequency_penalty(-2.5), "frequency_penalty is -2.5, but must be within -2..=2"),
        (base().with_frequency_penalty(inf), "frequency_penalty is inf, but must be within -2..=2"),
    ];
    for (sampling, message) in cases {
        assert_eq!(Sampler::new(&sampling, &[]).unwrap_err().to_string(), message);
        let options = GenerateOptions::new(1).with_sampling(sampling);
        assert_eq!(options.validate().unwrap_err().to_string(), message);
    }
    for sampling in [Sampling::instruct(), Sampling::greedy().with_min_p(1.0).with_presence_penalty(-2.0)] {
        sampling.validate().unwrap();
    }
}
