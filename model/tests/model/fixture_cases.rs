//! The model against HF transformers: every number here was computed by HF 5.23 in float32 on the CPU
//! (`fixtures/tiny-*`, random weights in the released layout).

use crate::fixture;

use burn::tensor::DType;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln::routes::{Route, count};
use burn_kiln_fusion::{FusedOps, KernelConfig};
use burn_ndarray::NdArray;
use fixture::Case;
use qwen3_vl_burn::checkpoint::CheckpointError;
use qwen3_vl_burn::generate::{FinishReason, GenerateOptions, generate};
use qwen3_vl_burn::text::Mlp;
use qwen3_vl_burn::vision::VisionOutput;
use qwen3_vl_burn::{Error, LoadOptions, Logits, Qwen3Vl};

/// Largest error of the tower's outputs, relative to the largest value of the stage. f32 sums of up to 1536 products in
/// another order than PyTorch's: about `√1536 · 2⁻²⁴ ≈ 2.3e-6` a layer, and six layers.
const VISION_TOLERANCE: f64 = 2e-5;
/// The same after the decoder's four layers.
const LOGITS_TOLERANCE: f64 = 5e-5;
/// bf16 rounds at other places here (weights and cache only) than in HF's bf16 model, so only the size of the error is
/// compared: it must not exceed HF's own by more than this factor.
const BF16_FACTOR: f64 = 1.5;

/// Largest magnitude.
fn max_abs(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max)
}

/// Largest error of a tensor relative to the largest expected value.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let error = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - f64::from(*e)).abs());
    assert!(found.iter().all(|f| f.is_finite()));
    error.fold(0.0, f64::max) / max_abs(expected)
}

pub fn check_vision<B: FusedOps>(model: &Qwen3Vl<B>, case: &Case) {
    let inputs = case.inputs();
    let output: Option<VisionOutput<B>> =
        model.encode(&inputs.images).unwrap().or(model.encode(&inputs.videos).unwrap());
    let Some(output) = output else { return };
    let deepstack = output.deepstack.into_iter().enumerate().map(|(i, x)| (format!("expect.deepstack.{i}"), x));
    let stages: Vec<_> = [("expect.vision".to_owned(), output.features)].into_iter().chain(deepstack).collect();
    assert_eq!(stages.len(), 4);
    for (stage, found) in stages {
        let error = relative_error(&found.into_data().to_vec::<f32>().unwrap(), &case.floats(&stage));
        println!("{} {stage}: {error:.2e}", case.name);
        assert!(error <= VISION_TOLERANCE, "{} {stage}: {error:.2e}", case.name);
    }
}

pub fn check_logits<B: FusedOps>(model: &Qwen3Vl<B>, case: &Case) {
    let all = model.forward(&case.inputs(), Logits::All).unwrap();
    let [_, length, vocab] = all.dims();
    let last = model.forward(&case.inputs(), Logits::Last).unwrap();
    assert_eq!(last.dims(), [1, 1, vocab]);
    let expected = case.floats("expect.logits");
    let error = relative_error(&all.into_data().to_vec::<f32>().unwrap(), &expected);
    println!("{} logits: {error:.2e}", case.name);
    assert!(error <= LOGITS_TOLERANCE, "{} logits: {error:.2e}", case.name);
    let last_error = relative_error(&last.into_data().to_vec::<f32>().unwrap(), &expected[(length - 1) * vocab..]);
    assert!(last_error <= LOGITS_TOLERANCE, "{} last logits: {last_error:.2e}", case.name);
}

/// 64 tokens: an engine with wrong positions loops after a picture where HF doesn't.
pub fn check_greedy<B: FusedOps>(model: &Qwen3Vl<B>, case: &Case, checkpoint: &str) {
    let expected = fixture::read_greedy(checkpoint, &case.name);
    let shorter: Vec<u32> = case.integers("expect.greedy").iter().map(|&id| id as u32).collect();
    assert_eq!(expected[..shorter.len()], shorter);
    for use_cache in [true, false] {
        let options = GenerateOptions::new(expected.len()).with_cache(use_cache);
        let answer = generate(model, &case.inputs(), &options).unwrap();
        assert_eq!(answer.tokens, expected, "{}, cache {use_cache}", case.name);
        assert_eq!(answer.finish, FinishReason::Length);
    }
    let options = GenerateOptions::new(expected.len()).with_stop_ids(vec![expected[2]]);
    let answer = generate(model, &case.inputs(), &options).unwrap();
    let end = expected.iter().position(|id| *id == expected[2]).unwrap();
    assert_eq!(answer.tokens, expected[..=end], "{}", case.name);
    assert_eq!(answer.finish, FinishReason::Stop);
}

fn check_positions<B: FusedOps>(model: &Qwen3Vl<B>, case: &Case) {
    let layout = case.inputs().validate(model.config()).unwrap();
    assert_eq!(layout.positions.ids.concat(), case.integers("expect.position_ids"), "{}", case.name);
    assert_eq!(vec![layout.positions.rope_delta], case.integers("expect.rope_delta"), "{}", case.name);
    let modalities: Vec<i64> = layout.modalities.iter().map(|&modality| modality as i64).collect();
    assert_eq!(modalities, case.integers("mm_token_type_ids"), "{}", case.name);
}

fn check_case<B: FusedOps>(checkpoint: &str, name: &str) {
    let model = Qwen3Vl::<B>::load(fixture::folder(checkpoint), &Default::default(), LoadOptions::default()).unwrap();
    let case = Case::open(checkpoint, name);
    check_positions(&model, &case);
    check_vision(&model, &case);
    check_logits(&model, &case);
    check_greedy(&model, &case, checkpoint);
}

/// One test a case of every checkpoint, on one backend.
macro_rules! cases_on {
    ($name:ident, $backend:ty) => {
        mod $name {
            use super::*;

            #[test]
            fn dense_text() {
                check_case::<$backend>("tiny-dense", "text");
            }

            #[test]
            fn dense_image() {
                check_case::<$backend>("tiny-dense", "image");
            }

            #[test]
            fn dense_two_images() {
                check_case::<$backend>("tiny-dense", "two-images");
            }

            #[test]
            fn dense_video() {
                check_case::<$backend>("tiny-dense", "video");
            }

            /// Eight experts, three a token, untied head.
            #[test]
            fn experts() {
                check_case::<$backend>("tiny-moe", "image");
            }

            /// Sharded; one layer of four with experts, vision heads of 72, one key-value head, rope_theta 1e6.
            #[test]
            fn mixed_layers() {
                check_case::<$backend>("tiny-mixed", "image");
            }
        }
    };
}

cases_on!(on_flex, Flex);
cases_on!(on_kiln, Kiln<Flex>);
cases_on!(on_ndarray, NdArray);
cases_on!(on_kiln_over_ndarray, Kiln<NdArray>);

/// The model reaches the kernel of every op that it is made of.
#[test]
fn reaches_the_kernels() {
    let routes = [
        Route::Linear,
        Route::AttentionRotary,
        Route::LayerNorm,
        Route::NormLinears,
        Route::AddNorm,
        Route::Gated,
        Route::Embedding,
    ];
    let before = routes.map(count);
    check_case::<Kiln<Flex>>("tiny-dense", "image");
    for (route, before) in routes.into_iter().zip(before) {
        assert!(count(route) > before, "the model does not reach {route}");
    }
}

/// With packed weights gate and up are one product, and the logits are those of HF.
#[test]
fn packed_layers_reach_the_gated_product() {
    let (folder, config) = (fixture::folder("tiny-dense"), KernelConfig::default());
    let mut model = Qwen3Vl::<Kiln<Flex>>::load(folder, &Default::default(), LoadOptions::default()).unwrap();
    for layer in &mut model.language_model.layers {
        let attention = &mut layer.self_attn;
        for linear in [&mut attention.q_proj, &mut attention.k_proj, &mut attention.v_proj] {
            linear.pack(&config);
        }
        let Mlp::Dense(mlp) = &mut layer.mlp else { panic!("a mixture of experts") };
        for linear in [&mut mlp.gate_proj, &mut mlp.up_proj, &mut mlp.down_proj] {
            linear.pack(&config);
        }
    }
    let before = count(Route::GatedMlp);
    let case = Case::open("tiny-dense", "image");
    check_logits(&model, &case);
    // Tokens come one by one here, which every instruction set gates.
    check_greedy(&model, &case, "tiny-dense");
    assert!(count(Route::GatedMlp) > before);
}

#[test]
fn bf16_on_kiln_loses_what_hf_loses() {
    check_bf16::<Kiln<Flex>>();
}

#[test]
fn bf16_loses_what_hf_loses() {
    check_bf16::<Flex>();
}

/// bf16 weights and cache, f32 elsewhere: no further from HF's f32 logits than HF's own bf16 model, up to the factor.
fn check_bf16<B: FusedOps>() {
    let options = LoadOptions::default().with_dtype(DType::BF16);
    let model = Qwen3Vl::<B>::load(fixture::folder("tiny-dense"), &Default::default(), options).unwrap();
    assert_eq!(model.cache_dtype(), DType::BF16);
    for name in ["text", "image"] {
        let case = Case::open("tiny-dense", name);
        let expected = case.floats("expect.logits");
        let hf = relative_error(&case.floats("expect.logits_bf16"), &expected);
        let logits = model.forward(&case.inputs(), Logits::All).unwrap();
        let found = relative_error(&logits.into_data().to_vec::<f32>().unwrap(), &expected);
        println!("{name}: {found:.2e}, HF {hf:.2e}");
        assert!(found <= BF16_FACTOR * hf, "{name}: {found:.2e}, HF {hf:.2e}");
        // The cache is bf16 too; a step through it must stay as close as the whole prompt without one.
        let ids = &case.inputs().input_ids;
        let mut shorter = case.inputs();
        let last = shorter.input_ids.pop().unwrap();
        let prompt = model.prepare(&shorter).unwrap();
        let position = prompt.next_position();
        let mut cache = model.new_cache(ids.len());
        model.prefill(vec![prompt], &mut [&mut cache], Logits::Last).unwrap();
        let step = model.decode(&[(last, position)], &mut [&mut cache]).unwrap().into_data().to_vec::<f32>().unwrap();
        let error = relative_error(&step, &expected[(ids.len() - 1) * step.len()..]);
        assert!(error <= BF16_FACTOR * hf, "{name} through the cache: {error:.2e}, HF {hf:.2e}");
    }
}

#[test]
fn ndarray_has_no_bf16() {
    let options = LoadOptions::default().with_dtype(DType::BF16);
    let error = Qwen3Vl::<NdArray>::load(fixture::folder("tiny-dense"), &Default::default(), options).unwrap_err();
    let Error::Checkpoint(CheckpointError::BackendDtype { dtype, .. }) = error else { panic!("{error}") };
    assert_eq!(dtype, DType::BF16);
}
