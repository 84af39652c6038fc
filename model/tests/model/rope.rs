//! Rotary frequencies for long contexts, against HF's own functions, and logits against HF's.

use crate::fixture::{self, Case};

use burn_flex::Flex;
use burn_kiln::Kiln;
use qwen3_vl_burn::config::{RopeScaling, TextConfig};
use qwen3_vl_burn::generate::{GenerateOptions, generate};
use qwen3_vl_burn::text::MultimodalRotary;
use qwen3_vl_burn::{LoadOptions, Logits, Qwen3Vl, Qwen3VlConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;

/// Frequencies are f32 powers of up to 5e6: the exponent's rounding, `2⁻²⁵ · ln 5e6`, and that of a few products; a
/// base that grew is rounded itself.
const TOLERANCE: f64 = 3e-6;

/// A case of `fixtures/rope/expected.json`.
#[derive(Deserialize)]
struct Expected {
    config: Value,
    rope: Value,
    length: Option<usize>,
    scale: f64,
    frequencies: Vec<f64>,
}

/// The text configuration with these keys.
fn read_config(expected: &Expected, spelling: &str) -> TextConfig {
    let mut json: Value =
        serde_json::from_str(&fs::read_to_string(fixture::folder("tiny-dense").join("config.json")).unwrap()).unwrap();
    let text = json["text_config"].as_object_mut().unwrap();
    text.remove("rope_scaling");
    text.remove("rope_theta");
    text.extend(expected.config.as_object().unwrap().clone());
    text.insert(spelling.to_owned(), expected.rope.clone());
    Qwen3VlConfig::from_json(&json.to_string()).unwrap().text
}

#[test]
fn frequencies_are_hfs() {
    let cases = fs::read_to_string(fixture::folder("rope").join("expected.json")).unwrap();
    let cases: Vec<Expected> = serde_json::from_str(&cases).unwrap();
    let mut kinds = [0; 4];
    for (number, expected) in cases.iter().enumerate() {
        for spelling in ["rope_scaling", "rope_parameters"] {
            let config = read_config(expected, spelling);
            kinds[match config.rope_scaling {
                RopeScaling::Unscaled => 0,
                RopeScaling::Linear { .. } => 1,
                RopeScaling::Dynamic { .. } => 2,
                RopeScaling::Yarn(_) => 3,
            }] += 1;
            // Of a sequence as long as that: position 1 gives sines and cosines of the frequencies themselves.
            let last = expected.length.map_or(1, |length| length as i64 - 1);
            let positions = [vec![1, last], vec![1, last], vec![1, last]];
            let turned = MultimodalRotary::new(&config).forward::<Flex>(&positions, &[2], &Default::default());
            let read = |tensor: burn::tensor::Tensor<Flex, 3>| tensor.into_data().to_vec::<f32>().unwrap();
            let (cos, sin) = (read(turned.cos), read(turned.sin));
            assert_eq!(cos.len(), 2 * expected.frequencies.len());
            for (i, &frequency) in expected.frequencies.iter().enumerate() {
                let (cos, sin) = (f64::from(cos[i]), f64::from(sin[i]));
                let (found, scale) = (sin.atan2(cos), cos.hypot(sin));
                assert!((found / frequency - 1.0).abs() < TOLERANCE, "{number} {i}: {found} {frequency}");
                assert!((scale / expected.scale - 1.0).abs() < 2e-7, "{number}: {scale} {}", expected.scale);
            }
        }
    }
    assert_eq!(kinds, [3, 2, 6, 18].map(|count| 2 * count));
}

/// Sequences in one pass have each their own base.
#[test]
fn dynamic_frequencies_are_each_sequences_own() {
    let mut config = TextConfig::new(1, 1, 1, 1, 1, 1, 16, [4, 2, 2], true).with_max_position_embeddings(8);
    config.rope_scaling = RopeScaling::Dynamic { factor: 2.0 };
    let rotary = MultimodalRotary::new(&config);
    let sines = |positions: &[i64], lengths: &[usize]| {
        let positions = [positions.to_vec(), positions.to_vec(), positions.to_vec()];
        rotary.forward::<Flex>(&positions, lengths, &Default::default()).sin.into_data().to_vec::<f32>().unwrap()
    };
    let (short, long) = (sines(&[0, 1, 7], &[3]), sines(&[1, 20], &[2]));
    assert_eq!(sines(&[0, 1, 7, 1, 20], &[3, 2]), [&short[..], &long[..]].concat());
    assert_ne!(short[8..16], long[..8]);
    // What ran before changes nothing.
    assert_eq!(sines(&[0, 1, 7], &[3]), short);
}

/// `tiny-dense` with YaRN under `rope_parameters`, as HF 5 writes it; and as Qwen's README does, under `rope_scaling`.
#[test]
fn yarn_gives_hfs_logits() {
    let expected = Case::open("yarn", "image");
    let config = fs::read_to_string(fixture::folder("yarn").join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    let case = Case::open("tiny-dense", "image");
    let dir = tempfile::tempdir().unwrap();
    fs::copy(fixture::folder("tiny-dense").join("model.safetensors"), dir.path().join("model.safetensors")).unwrap();
    for spelling in ["rope_parameters", "rope_scaling"] {
        let text = config["text_config"].as_object_mut().unwrap();
        if spelling == "rope_scaling" {
            let mut rope = text.remove("rope_parameters").unwrap();
            rope.as_object_mut().unwrap().remove("rope_theta");
            text.insert(spelling.to_owned(), rope);
        }
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let model = Qwen3Vl::<Kiln<Flex>>::load(dir.path(), &Default::default(), LoadOptions::default()).unwrap();
        let found = model.forward(&case.inputs(), Logits::All).unwrap().into_data().to_vec::<f32>().unwrap();
        let logits = expected.floats("expect.logits");
        let largest = logits.iter().map(|x| x.abs()).fold(0.0, f32::max);
        let error = found.iter().zip(&logits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
        println!("{spelling}: {error:.2e}");
        // That of the fixtures' other logits.
        assert!(error <= 5e-5, "{spelling}: {error:.2e}");
        let greedy: Vec<u32> = expected.integers("expect.greedy").iter().map(|&id| id as u32).collect();
        let answer = generate(&model, &case.inputs(), &GenerateOptions::new(greedy.len())).unwrap();
        assert_eq!(answer.tokens, greedy);
    }
    // Without it they are others: the comparison can fail.
    let plain = Case::open("tiny-dense", "image").floats("expect.logits");
    assert_ne!(plain, expected.floats("expect.logits"));
}

/// How many tokens fit.
#[test]
fn contexts_grow() {
    let length = |rope: Value| {
        let expected = Expected { config: json!({}), rope, length: None, scale: 1.0, frequencies: Vec::new() };
        read_config(&expected, "rope_scaling").context_length()
    };
    const TRAINED: usize = 262_144;
    assert_eq!(length(json!({ "rope_type": "default" })), TRAINED);
    assert_eq!(length(json!({ "rope_type": "linear", "factor": 4.0 })), 4 * TRAINED);
    assert_eq!(length(json!({ "rope_type": "dynamic", "factor": 1.5 })), 1 << 30);
    assert_eq!(length(json!({ "rope_type": "yarn", "factor": 3.0 })), 3 * TRAINED);
    let yarn = json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768 });
    assert_eq!(length(yarn), TRAINED);
    assert_eq!(length(json!({ "rope_type": "linear", "factor": 1e30 })), 1 << 30);
}
