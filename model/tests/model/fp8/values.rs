//! What codes and scales stand for: tensors exactly, logits, tables under a memory limit.

use super::{f32_bytes, read_fixture, round_to_bf16, stored, write};
use super::{fp8_json, is_converted, one_weight, open, quantize, quantize_fixture};
use crate::fixture;

use burn::tensor::DType;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln_fusion::FusedOps;
use kiln_kernels::prefetch::PrefetchError;
use qwen3_vl_burn::checkpoint::{Checkpoint, LoadStep, expected_tensors};
use qwen3_vl_burn::config::Fp8Config;
use qwen3_vl_burn::{Error, LoadOptions, Logits, Qwen3Vl};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

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
    // The loss is of the size that the weights' is: both errors are small changes of the same matrices, so the logits'
    // errors are about in the ratio of the weights'. The yardstick is the loss of rounding those matrices to bf16. The
    // median over tokens is compared, because a token whose next best expert is close behind can be sent to that, which
    // is no small change.
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

/// Token embedding and head in FP8 too, under limits: dequantised row by row, in pieces or as a whole, they are what
/// they are without one.
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
