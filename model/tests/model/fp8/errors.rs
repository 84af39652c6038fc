//! Everything that can be wrong with scales.

use super::{Tensors, f32_bytes, fp8_json, one_weight, quantize_fixture, read_fixture, stored, write};

use crate::heard::listen;
use crate::layouts::load_error;

use burn::tensor::DType;
use burn_flex::Flex;
use qwen3_vl_burn::checkpoint::{Checkpoint, CheckpointError};
use qwen3_vl_burn::config::Fp8Config;
use qwen3_vl_burn::{Error, LoadOptions, Qwen3Vl, Result};
use tracing::Level;

const WEIGHT: &str = "model.language_model.layers.0.mlp.gate_proj.weight";
const ROUTED: &str = "model.language_model.layers.2.mlp.experts.down_proj";

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

    // Scales of a weight that isn't FP8 have no place: they are passed over, as in HF.
    let (mut quantized, _) = quantize_fixture("tiny-dense", [64, 64]);
    quantized.insert(WEIGHT.into(), read_fixture("tiny-dense").remove(WEIGHT).unwrap());
    let dir = write("tiny-dense", &quantized, Some(fp8_json(Some([64, 64]))));
    let load = || Qwen3Vl::<Flex>::load(dir.path(), &Default::default(), LoadOptions::default()).map(drop);
    let (loaded, warnings) = listen(Level::WARN, load);
    loaded.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains(&format!("1 surplus: {scales}")), "{warnings:?}");

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
    // Without a word in the configuration; with scales and without.
    let (quantized, _) = quantize_fixture("tiny-dense", [64, 64]);
    let plain = quantized.clone().into_iter().filter(|(name, _)| !name.ends_with("_scale_inv"));
    for tensors in [&plain.collect(), &quantized] {
        let error = load_error(write("tiny-dense", tensors, None).path());
        assert!(matches!(&error, CheckpointError::StoredDtype { found, .. } if found == "F8_E4M3"), "{error:?}");
        assert!(error.to_string().contains("quantization_config"), "{error}");
    }
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
