//! FP8 checkpoints: tensors exactly, logits, and everything that can be wrong with scales.
//!
//! The test quantises fixtures by its own f64 code (nearest of the 127 magnitudes, found by looking at all of them) and
//! dequantises by it; the crate has a table and f32.

mod adapter;
mod errors;
mod values;

use crate::files::{Raw, file_of, folder_with};
use crate::fixture;

use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::Checkpoint;
use qwen3_vl_burn::config::Fp8Config;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// A tensor to write.
#[derive(Clone)]
pub struct Stored {
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

pub type Tensors = BTreeMap<String, Stored>;

pub fn stored(dtype: &'static str, shape: &[usize], bytes: Vec<u8>) -> Stored {
    Stored { dtype, shape: shape.to_vec(), bytes }
}

pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A fixture's tensors, all f32.
pub fn read_fixture(name: &str) -> Tensors {
    let file = fs::read(fixture::folder(name).join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    tensors.iter().map(|(name, view)| (name.to_owned(), stored("F32", view.shape(), view.data().to_vec()))).collect()
}

/// A checkpoint of `tensors`, with the fixture's configuration and `quantization`.
pub fn write(fixture_name: &str, tensors: &Tensors, quantization: Option<Value>) -> tempfile::TempDir {
    let raw: Vec<Raw> = tensors.iter().map(|(name, t)| (name.as_str(), t.dtype, &t.shape[..], &t.bytes[..])).collect();
    let dir = folder_with(&file_of(&raw, 0));
    let config = fs::read_to_string(fixture::folder(fixture_name).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["quantization_config"] = quantization.unwrap_or(Value::Null);
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

/// The released form.
pub fn fp8_json(block: Option<[usize; 2]>) -> Value {
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

/// Weights of shape `[experts, rows, columns]` with a scale for each block: codes, scales, and what they stand for as
/// f32.
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
pub fn quantize_fixture(name: &str, block: [usize; 2]) -> (Tensors, Tensors) {
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

pub fn open(dir: &Path) -> (Qwen3VlConfig, Checkpoint) {
    let config = Qwen3VlConfig::from_dir(dir).unwrap();
    let checkpoint = Checkpoint::open(dir).unwrap().with_quantization(config.quantization.clone());
    (config, checkpoint)
}

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
