//! FP8 checkpoints: tensors exactly, logits, and everything that can be wrong with scales.
//!
//! The test quantises fixtures by its own f64 code (nearest of the 127 magnitudes, found by looking at all of them) and
//! dequantises by it; the crate has a table and f32.

use crate::files;
use crate::fixture;

use burn::tensor::DType;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln::prefetch::PrefetchError;
use burn_kiln_fusion::FusedOps;
use files::{Raw, file_of, folder_with};
use qwen3_vl_burn::checkpoint::{Checkpoint, CheckpointError, LoadStep, expected_tensors};
use qwen3_vl_burn::config::Fp8Config;
use qwen3_vl_burn::{Error, LoadOptions, Logits, Qwen3Vl, Qwen3VlConfig, Result};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// A tensor to write.
#[derive(Clone)]
struct Stored {
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

type Tensors = BTreeMap<String, Stored>;

fn stored(dtype: &'static str, shape: &[usize], bytes: Vec<u8>) -> Stored {
    Stored { dtype, shape: shape.to_vec(), bytes }
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A fixture's tensors, all f32.
fn read_fixture(name: &str) -> Tensors {
    let file = fs::read(fixture::folder(name).join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    tensors.iter().map(|(name, view)| (name.to_owned(), stored("F32", view.shape(), view.data().to_vec()))).collect()
}

/// A checkpoint of `tensors`, with the fixture's configuration and `quantization`.
fn write(fixture_name: &str, tensors: &Tensors, quantization: Option<Value>) -> tempfile::TempDir {
    let raw: Vec<Raw> = tensors.iter().map(|(name, t)| (name.as_str(), t.dtype, &t.shape[..], &t.bytes[..])).collect();
    let dir = folder_with(&file_of(&raw, 0));
    let config = fs::read_to_string(fixture::folder(fixture_name).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["quantization_config"] = quantization.unwrap_or(Value::Null);
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

/// The released form.
fn fp8_json(block: Option<[usize; 2]>) -> Value {
    json!({
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": block,
        "modules_to_not_convert": ["lm_head", "model.visual.merger"], "ignored_layers": ["lm_head"],
    })
}

/// The magnitude of a code below 0x7f, by the format's definition.
fn magnitude(code: u8) -> f64 {
    let (exponent, fraction) = (i32::from(code >> 3), f64::from(code & 7) / 8.0);
    if exponent == 0 { 2f64.powi(-6) * fraction } else { 2f64.powi(exponent - 7) * (1.0 + fraction) }
}

/// Every magnitude.
static MAGNITUDES: LazyLock<Vec<f64>> = LazyLock::new(|| (0..0x7f).map(magnitude).collect());

/// The nearest code.
fn encode(value: f64) -> u8 {
    let distances = MAGNITUDES.iter().map(|magnitude| (magnitude - value.abs()).abs()).enumerate();
    let nearest = distances.min_by(|a, b| a.1.total_cmp(&b.1));
    nearest.unwrap().0 as u8 | if value < 0.0 { 0x80 } else { 0 }
}

/// Weights of shape `[experts, rows, columns]` with a scale for each block: codes, scales, and what they stand for as f32.
fn quantize(weights: &[f32], shape: [usize; 3], block: [usize; 2]) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
    let [experts, rows, columns] = shape;
    let counts = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
    let (mut codes, mut values) = (vec![0; weights.len()], vec![0.0; weights.len()]);
    let mut scales = Vec::new();
    for expert in 0..experts {
        for i in 0..counts[0] {
            for j in 0..counts[1] {
                let cells: Vec<usize> = (i * block[0]..((i + 1) * block[0]).min(rows))
                    .flat_map(|row| (j * block[1]..((j + 1) * block[1]).min(columns)).map(move |column| (row, column)))
                    .map(|(row, column)| (expert * rows + row) * columns + column)
                    .collect();
                let largest = cells.iter().map(|&cell| f64::from(weights[cell].abs())).fold(0.0, f64::max);
                let scale = (largest / 448.0) as f32;
                scales.push(scale);
                for cell in cells {
                    let code = encode(f64::from(weights[cell]) / f64::from(scale));
                    codes[cell] = code;
                    let sign = if code >= 0x80 { -1.0 } else { 1.0 };
                    // Four bits by 24 are exact in f64, so this rounds once.
                    values[cell] = (sign * magnitude(code & 0x7f) * f64::from(scale)) as f32;
                }
            }
        }
    }
    (codes, scales, values)
}

/// Matrices of the decoder's layers, as the released checkpoints choose them (the router isn't).
fn is_converted(name: &str) -> bool {
    name.contains("language_model.layers") && name.contains("_proj") && !name.contains("norm")
}

/// A quantised copy of a fixture, and the same with the weights that its codes stand for, as f32.
fn quantize_fixture(name: &str, block: [usize; 2]) -> (Tensors, Tensors) {
    let original = read_fixture(name);
    let (mut quantized, mut plain) = (original.clone(), original.clone());
    for (name, tensor) in original.iter().filter(|(name, _)| is_converted(name)) {
        let weights: Vec<f32> =
            tensor.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        // Experts are stored `[in, out]`.
        let (shape, block) = match *tensor.shape {
            [rows, columns] => ([1, rows, columns], block),
            [experts, rows, columns] => ([experts, rows, columns], [block[1], block[0]]),
            _ => panic!("{name}"),
        };
        let (codes, scales, values) = quantize(&weights, shape, block);
        let counts = [shape[0], shape[1].div_ceil(block[0]), shape[2].div_ceil(block[1])];
        let scale_shape = &counts[3 - tensor.shape.len()..];
        quantized.insert(name.clone(), stored("F8_E4M3", &tensor.shape, codes));
        quantized.insert(format!("{name}_scale_inv"), stored("F32", scale_shape, f32_bytes(&scales)));
        plain.insert(name.clone(), stored("F32", &tensor.shape, f32_bytes(&values)));
    }
    (quantized, plain)
}

/// Rounds to bf16 in integers: nearest, ties to even.
fn round_to_bf16(float: f32) -> u16 {
    let bits = float.to_bits();
    ((u64::from(bits) + 0x7fff + u64::from((bits >> 16) & 1)) >> 16) as u16
}

fn open(dir: &Path) -> (Qwen3VlConfig, Checkpoint) {
    let config = Qwen3VlConfig::from_dir(dir).unwrap();
    let checkpoint = Checkpoint::open(dir).unwrap().with_quantization(config.quantization.clone());
    (config, checkpoint)
}

/// Blocks larger than some matrices and no divisors of others (64 by 160, 128 by 64, 48 by 64, ..), square and not.
const BLOCKS: [[usize; 2]; 3] = [[128, 128], [32, 48], [7, 33]];

#[test]
fn tensors_are_what_their_codes_stand_for() {
    for name in ["tiny-dense", "tiny-moe"] {
        for block in BLOCKS {
            let (quantized, plain) = quantize_fixture(name, block);
            let dir = write(name, &quantized, Some(fp8_json(Some(block))));
            let (config, checkpoint) = open(dir.path());
            assert_eq!(config.quantization, Some(Fp8Config { block: Some(block) }));
            checkpoint.check(&expected_tensors(&config)).unwrap();
            let mut count = 0;
            for (name, tensor) in plain.iter().filter(|(name, _)| is_converted(name)) {
                assert_eq!(checkpoint.dtype(name).unwrap(), DType::BF16);
                let values = tensor.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                let halves: Vec<u8> = values.flat_map(|value| round_to_bf16(value).to_le_bytes()).collect();
                let load = |target| checkpoint.tensor_data(name, &tensor.shape, target).unwrap();
                assert!(load(None).as_bytes() == halves, "{name} as bf16, {block:?}");
                assert!(load(Some(DType::F32)).as_bytes() == tensor.bytes, "{name} as f32, {block:?}");
                count += 1;
            }
            assert_eq!(count, if name == "tiny-dense" { 4 * 7 } else { 4 * 6 });
        }
    }
}

fn logits<B: FusedOps>(dir: &Path, fixture_name: &str, dtype: DType) -> Vec<f32> {
    let options = LoadOptions::default().with_dtype(dtype);
    let model = Qwen3Vl::<B>::load(dir, &Default::default(), options).unwrap();
    assert_eq!(model.config().quantization, None, "in memory nothing is quantised");
    let inputs = fixture::Case::open(fixture_name, "image").inputs();
    model.forward(&inputs, Logits::All).unwrap().into_data().to_vec().unwrap()
}

fn check_logits<B: FusedOps>(name: &str) {
    let (quantized, plain) = quantize_fixture(name, [32, 48]);
    let dir = write(name, &quantized, Some(fp8_json(Some([32, 48]))));
    let plain = write(name, &plain, None);
    for dtype in [DType::F32, DType::BF16] {
        assert_eq!(logits::<B>(dir.path(), name, dtype), logits::<B>(plain.path(), name, dtype), "{name} {dtype:?}");
    }
    // The loss is of the size that the weights' is: both errors are small changes of the same matrices, so the logits' errors
    // are about in the ratio of the weights'. The yardstick is the loss of rounding those matrices to bf16. The median over tokens is
    // compared, because a token whose next best expert is close behind can be sent to that, which is no small change.
    let original = read_fixture(name);
    let mut rounded = original.clone();
    let (mut error_fp8, mut error_bf16) = (0.0, 0.0);
    let (_, codes) = quantize_fixture(name, [32, 48]);
    for (name, tensor) in original.iter().filter(|(name, _)| is_converted(name)) {
        let values = floats(&tensor.bytes);
        let halves: Vec<f32> = values.iter().map(|&v| f32::from_bits(u32::from(round_to_bf16(v)) << 16)).collect();
        error_bf16 += squares(&halves, &values);
        error_fp8 += squares(&floats(&codes[name].bytes), &values);
        rounded.insert(name.clone(), stored("F32", &tensor.shape, f32_bytes(&halves)));
    }
    let rounded = write(name, &rounded, None);
    let expected = fixture::Case::open(name, "image").floats("expect.logits");
    let fp8 = logits::<B>(dir.path(), name, DType::F32);
    let bf16 = logits::<B>(rounded.path(), name, DType::F32);
    let tokens = fixture::Case::open(name, "image").integers("input_ids").len();
    let vocab = expected.len() / tokens;
    let rows = fp8.chunks(vocab).zip(bf16.chunks(vocab)).zip(expected.chunks(vocab));
    let mut ratios: Vec<f64> = rows.map(|((f, b), e)| (squares(f, e) / squares(b, e)).sqrt()).collect();
    ratios.sort_by(f64::total_cmp);
    let (weights, logits) = ((error_fp8 / error_bf16).sqrt(), ratios[tokens / 2]);
    println!("{name}: weights {weights:.1} times as far as bf16's, logits {logits:.1} times");
    assert!((0.5..1.5).contains(&(logits / weights)), "{name}: {logits} {weights}");
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Sum of the squared differences.
fn squares(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

#[test]
fn logits_of_a_dense_model() {
    check_logits::<Flex>("tiny-dense");
    check_logits::<Kiln<Flex>>("tiny-dense");
}

#[test]
fn logits_of_a_model_with_experts() {
    check_logits::<Flex>("tiny-moe");
    check_logits::<Kiln<Flex>>("tiny-moe");
}

/// Token embedding and head in FP8 too, under limits: dequantised row by row, in pieces or as a whole, they are what they are without one.
#[test]
fn tables_are_streamed() {
    for (name, repeat) in [("tiny-dense", 1), ("tiny-moe", 1), ("tiny-dense", 24)] {
        let (mut quantized, _) = quantize_fixture(name, [32, 48]);
        for (name, tensor) in &read_fixture(name) {
            if name.ends_with("embed_tokens.weight") || name == "lm_head.weight" {
                let &[rows, columns] = &tensor.shape[..] else { panic!("{name}") };
                // So many rows that the ring's buffers hold a part of them: the head is cut.
                let (rows, weights) = (rows * repeat, floats(&tensor.bytes).repeat(repeat));
                let (codes, scales, _) = quantize(&weights, [1, rows, columns], [32, 48]);
                let counts = [rows.div_ceil(32), columns.div_ceil(48)];
                quantized.insert(name.clone(), stored("F8_E4M3", &[rows, columns], codes));
                quantized.insert(format!("{name}_scale_inv"), stored("F32", &counts, f32_bytes(&scales)));
            }
        }
        let dir = write(name, &quantized, Some(fp8_json(Some([32, 48]))));
        let config = fs::read_to_string(dir.path().join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&config).unwrap();
        let vocab = config["text_config"]["vocab_size"].as_u64().unwrap() * repeat as u64;
        config["text_config"]["vocab_size"] = vocab.into();
        fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let load = |limit: Option<u64>| {
            let options = LoadOptions { memory_limit: limit, ..LoadOptions::default() };
            Qwen3Vl::<Kiln<Flex>>::load(dir.path(), &Default::default(), options)
        };
        let inputs = fixture::Case::open(name, "image").inputs();
        let run = |model: &Qwen3Vl<Kiln<Flex>>| -> Vec<f32> {
            model.forward(&inputs, Logits::All).unwrap().into_data().to_vec().unwrap()
        };
        let expected = run(&load(None).unwrap());
        let Err(Error::Streaming(PrefetchError::LimitTooSmall { least, .. })) = load(Some(1)) else { panic!("{name}") };
        for limit in [least, least * 5 / 4, least * 2] {
            let model = load(Some(limit)).unwrap();
            if model.streaming().is_none() {
                continue;
            }
            let found = run(&model);
            let most = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
            // Kernels may round the last columns of a piece otherwise.
            let tolerance = if repeat == 1 { 0.0 } else { 1e-5 * most };
            assert!(found.len() == expected.len(), "{name} under {limit}");
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= tolerance), "{name} under {limit}");
            let report = model.streaming().unwrap();
            println!("{name} under {limit}: {report:?}");
            assert!(report.high_water <= limit, "{report:?}");
        }
    }
}

#[test]
fn progress_counts_scales() {
    let (quantized, _) = quantize_fixture("tiny-dense", [128, 128]);
    let dir = write("tiny-dense", &quantized, Some(fp8_json(Some([128, 128]))));
    let total: usize = quantized.values().map(|tensor| tensor.bytes.len()).sum();
    let mut last = (0, 0);
    let options = LoadOptions::default().with_progress(|step: LoadStep<'_>| last = (step.done, step.total));
    Qwen3Vl::<Flex>::load(dir.path(), &Default::default(), options).unwrap();
    assert_eq!(last, (total as u64, total as u64));
}

const WEIGHT: &str = "model.language_model.layers.0.mlp.gate_proj.weight";
const ROUTED: &str = "model.language_model.layers.2.mlp.experts.down_proj";

/// A checkpoint of one FP8 weight with codes for 1, 2, 0.5, -1 over and over, and scales of `shape`.
fn one_weight(
    weight: (&str, &[usize]),
    scales: (&str, &'static str, &[usize], Vec<u8>),
    block: Option<[usize; 2]>,
) -> (tempfile::TempDir, Checkpoint) {
    let count = weight.1.iter().product();
    let codes = [0x38u8, 0x40, 0x30, 0xb8].into_iter().cycle().take(count).collect();
    let tensors = [
        (weight.0.to_owned(), stored("F8_E4M3", weight.1, codes)),
        (scales.0.to_owned(), stored(scales.1, scales.2, scales.3)),
    ];
    let dir = write("tiny-dense", &tensors.into(), Some(fp8_json(block)));
    let checkpoint = Checkpoint::open(dir.path()).unwrap().with_quantization(Some(Fp8Config { block }));
    (dir, checkpoint)
}

#[test]
fn other_shapes_of_scales() {
    let codes = [1.0, 2.0, 0.5, -1.0f32];
    let load = |weight: (&str, &[usize]), name: &str, shape: &[usize], scales: &[f32]| {
        let (_dir, checkpoint) = one_weight(weight, (name, "F32", shape, f32_bytes(scales)), None);
        checkpoint.tensor_data(weight.0, weight.1, Some(DType::F32)).unwrap().to_vec::<f32>().unwrap()
    };
    let matrix = ("w.weight", &[3usize, 4][..]);
    let whole: Vec<f32> = (0..3).flat_map(|_| codes.map(|code| code * 0.25)).collect();
    for shape in [&[][..], &[1], &[1, 1]] {
        assert_eq!(load(matrix, "w.weight_scale", shape, &[0.25]), whole, "{shape:?}");
        assert_eq!(load(matrix, "w.weight_scale_inv", shape, &[0.25]), whole, "{shape:?}");
    }
    let rows: Vec<f32> = [1.0f32, 3.0, 0.5].iter().flat_map(|scale| codes.map(|code| code * scale)).collect();
    for shape in [&[3usize][..], &[3, 1]] {
        assert_eq!(load(matrix, "w.weight_scale", shape, &[1.0, 3.0, 0.5]), rows, "{shape:?}");
    }
    // Two experts of `[in 2, out 4]`: one scale each, or one an output.
    let experts = ("experts", &[2usize, 2, 4][..]);
    let each: Vec<f32> = [2.0f32, 4.0].iter().flat_map(|s| [codes.map(|code| code * s); 2].concat()).collect();
    assert_eq!(load(experts, "experts_scale", &[2, 1, 1], &[2.0, 4.0]), each);
    let outputs: Vec<f32> = (1..=8).map(|scale| scale as f32).collect();
    let by_output = |expert: usize| (0..4).map(move |column| codes[column] * (expert * 4 + column + 1) as f32);
    let expected: Vec<f32> = [0, 0, 1, 1].into_iter().flat_map(by_output).collect();
    assert_eq!(load(experts, "experts_scale", &[2, 1, 4], &outputs), expected);
}

#[test]
fn scales_of_sixteen_bits_and_codes_without_value() {
    // 0.75 as bf16 and as f16.
    for (dtype, bits) in [("BF16", 0x3f40u16), ("F16", 0x3a00)] {
        let bytes = bits.to_le_bytes().to_vec();
        let (_dir, checkpoint) = one_weight(("w", &[1, 4]), ("w_scale_inv", dtype, &[1, 1], bytes), Some([128, 128]));
        let values = checkpoint.tensor_data("w", &[1, 4], Some(DType::F32)).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(values, [0.75, 1.5, 0.375, -0.75]);
    }
    let tensors = [
        ("w".to_owned(), stored("F8_E4M3", &[1, 3], vec![0x7f, 0xff, 0x80])),
        ("w_scale_inv".to_owned(), stored("F32", &[1, 1], f32_bytes(&[2.0]))),
    ];
    let dir = write("tiny-dense", &tensors.into(), None);
    let fp8 = Some(Fp8Config { block: Some([128, 128]) });
    let checkpoint = Checkpoint::open(dir.path()).unwrap().with_quantization(fp8);
    for target in [DType::F32, DType::BF16, DType::F16] {
        let values = checkpoint.tensor_data("w", &[1, 3], Some(target)).unwrap();
        let values = values.convert::<f32>().to_vec::<f32>().unwrap();
        assert!(values[0].is_nan() && values[1].is_nan(), "{target:?}");
        assert!(values[2] == 0.0 && values[2].is_sign_negative(), "{target:?}");
    }
}

#[test]
fn compressed_tensors_of_eight_bit_floats() {
    let (mut quantized, plain) = quantize_fixture("tiny-dense", [64, 64]);
    // The same scales under the other name, and those of static activations, which aren't needed.
    for name in plain.keys().filter(|name| is_converted(name)) {
        let scales = quantized.remove(&format!("{name}_scale_inv")).unwrap();
        quantized.insert(format!("{name}_scale"), scales);
        let activations = name.replace(".weight", ".input_scale");
        quantized.insert(activations, stored("F32", &[1], f32_bytes(&[1.0])));
    }
    let group = json!({ "targets": ["Linear"], "weights": {
        "num_bits": 8, "type": "float", "strategy": "block", "block_structure": [64, 64], "dynamic": false,
    }});
    let json = json!({ "quant_method": "compressed-tensors", "format": "float-quantized",
        "config_groups": { "group_0": group }, "ignore": ["lm_head"] });
    let dir = write("tiny-dense", &quantized, Some(json));
    let plain = write("tiny-dense", &plain, None);
    let found = logits::<Flex>(dir.path(), "tiny-dense", DType::F32);
    assert_eq!(found, logits::<Flex>(plain.path(), "tiny-dense", DType::F32));
}

#[track_caller]
fn load_error(dir: &Path) -> CheckpointError {
    match Qwen3Vl::<Flex>::load(dir, &Default::default(), LoadOptions::default()) {
        Err(Error::Checkpoint(error)) => error,
        Err(other) => panic!("not a checkpoint error: {other:?}"),
        Ok(_) => panic!("no error"),
    }
}

/// Loads a fixture in blocks of 64 with `change` made to its tensors.
#[track_caller]
fn load_changed(name: &str, change: impl FnOnce(&mut Tensors)) -> CheckpointError {
    let (mut quantized, _) = quantize_fixture(name, [64, 64]);
    change(&mut quantized);
    load_error(write(name, &quantized, Some(fp8_json(Some([64, 64])))).path())
}

#[test]
fn scales_that_are_missing_surplus_or_misshaped() {
    let scales = format!("{WEIGHT}_scale_inv");
    let error = load_changed("tiny-dense", |tensors| drop(tensors.remove(&scales)));
    let CheckpointError::Mismatch { report, .. } = error else { panic!("{error}") };
    assert_eq!((report.missing, report.surplus.len(), report.misshaped.len()), (vec![scales.clone()], 0, 0));

    // Scales of a weight that isn't FP8.
    let error = load_changed("tiny-dense", |tensors| {
        let plain = read_fixture("tiny-dense").remove(WEIGHT).unwrap();
        tensors.insert(WEIGHT.into(), plain);
    });
    let CheckpointError::Mismatch { report, .. } = error else { panic!("{error}") };
    assert_eq!((report.missing.len(), report.surplus, report.misshaped.len()), (0, vec![scales.clone()], 0));

    // Gate is [160, 64]: three blocks of rows.
    for shape in [&[1usize, 3][..], &[2, 1], &[160, 1], &[3], &[]] {
        let error = load_changed("tiny-dense", |tensors| {
            let count = shape.iter().product::<usize>();
            tensors.insert(scales.clone(), stored("F32", shape, f32_bytes(&vec![1.0; count])));
        });
        let CheckpointError::Mismatch { report, .. } = error else { panic!("{error}") };
        assert_eq!(report.misshaped.len(), 1);
        let misshaped = &report.misshaped[0];
        assert_eq!(
            (misshaped.name.as_str(), &misshaped.expected[..], &misshaped.found[..]),
            (&*scales, &[3, 1][..], shape)
        );
    }
    // Experts: down is [8, 48, 64].
    let error = load_changed("tiny-moe", |tensors| {
        tensors.insert(format!("{ROUTED}_scale_inv"), stored("F32", &[1, 1], f32_bytes(&[1.0])));
    });
    assert!(error.to_string().contains("is [1, 1], expected [8, 1, 1]"), "{error}");
}

#[test]
fn scales_without_a_value() {
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let error = load_changed("tiny-dense", |tensors| {
            tensors.insert(format!("{WEIGHT}_scale_inv"), stored("F32", &[3, 1], f32_bytes(&[1.0, 1.0, value])));
        });
        let CheckpointError::ScaleValue { tensor, index: 2, value: found } = &error else { panic!("{error:?}") };
        assert!(tensor.starts_with(WEIGHT) && found.to_bits() == value.to_bits(), "{error}");
    }
    let error = load_changed("tiny-dense", |tensors| {
        tensors.insert(format!("{WEIGHT}_scale_inv"), stored("F64", &[3, 1], vec![0; 24]));
    });
    assert!(matches!(&error, CheckpointError::StoredDtype { found, .. } if found == "F64"), "{error:?}");
}

#[test]
fn fp8_where_it_cannot_be() {
    // Without a word in the configuration: the scales are surplus.
    let (quantized, _) = quantize_fixture("tiny-dense", [64, 64]);
    let error = load_error(write("tiny-dense", &quantized, None).path());
    let CheckpointError::Mismatch { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!(report.surplus.len(), 28);
    // Without scales either: the dtype is.
    let weights: Tensors = quantized.into_iter().filter(|(name, _)| !name.ends_with("_scale_inv")).collect();
    let error = load_error(write("tiny-dense", &weights, None).path());
    assert!(matches!(&error, CheckpointError::StoredDtype { found, .. } if found == "F8_E4M3"), "{error:?}");
    assert!(error.to_string().contains("quantization_config"), "{error}");
    // A norm has no scales; another FP8 has another table.
    let norm = "model.language_model.norm.weight";
    let error = load_changed("tiny-dense", |tensors| {
        tensors.insert(norm.into(), stored("F8_E4M3", &[64], vec![0x38; 64]));
        tensors.insert(format!("{norm}_scale_inv"), stored("F32", &[1], f32_bytes(&[1.0])));
    });
    assert!(error.to_string().contains(norm), "{error}");
    let error = load_changed("tiny-dense", |tensors| {
        tensors.remove(&format!("{WEIGHT}_scale_inv"));
        tensors.get_mut(WEIGHT).unwrap().dtype = "F8_E5M2";
    });
    assert!(matches!(&error, CheckpointError::StoredDtype { found, .. } if found == "F8_E5M2"), "{error:?}");
}

#[track_caller]
fn tensor_error<T>(result: Result<T>) -> CheckpointError {
    match result {
        Err(Error::Checkpoint(error)) => error,
        _ => panic!("no checkpoint error"),
    }
}

#[test]
fn tensors_asked_for_without_a_check() {
    let scale = f32_bytes(&[1.0]);
    let block = Some([128, 128]);
    let (_dir, checkpoint) = one_weight(("w", &[2, 2]), ("other", "F32", &[1], scale.clone()), block);
    let load = |checkpoint: &Checkpoint, target| tensor_error(checkpoint.tensor_data("w", &[2, 2], target));
    assert!(matches!(load(&checkpoint, None), CheckpointError::MissingScale { tensor } if tensor == "w"));
    let (_dir, checkpoint) = one_weight(("w", &[2, 2]), ("w_scale_inv", "F32", &[1], scale.clone()), block);
    let error = load(&checkpoint, None);
    let CheckpointError::Shape { tensor, expected, found, .. } = &error else { panic!("{error:?}") };
    assert_eq!((tensor.as_str(), &expected[..], &found[..]), ("w_scale_inv", &[1, 1][..], &[1][..]));
    // A block of nothing, by hand.
    let none = checkpoint.with_quantization(Some(Fp8Config { block: Some([0, 128]) }));
    assert!(matches!(load(&none, None), CheckpointError::Shape { .. }));
    // 2 · 1e5 is more than f16 has; 2 · 3e38 more than f32.
    let large = (("w_scale_inv"), "F32", &[1usize, 1][..], f32_bytes(&[1e5]));
    let (_dir, checkpoint) = one_weight(("w", &[2, 2]), large, block);
    let error = load(&checkpoint, Some(DType::F16));
    assert!(matches!(error, CheckpointError::OutOfRange { index: 0, target: DType::F16, .. }), "{error:?}");
    checkpoint.tensor_data("w", &[2, 2], None).unwrap();
    let huge = (("w_scale_inv"), "F32", &[1usize, 1][..], f32_bytes(&[3e38]));
    let (_dir, checkpoint) = one_weight(("w", &[2, 2]), huge, block);
    let error = load(&checkpoint, Some(DType::F32));
    assert!(matches!(error, CheckpointError::OutOfRange { index: 1, .. }), "{error:?}");
}
