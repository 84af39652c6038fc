//! bf16 weights, and the same bits twice.

use crate::fixture::{Case, text_sample};
use crate::gradients::{by_name, load, load_as, relative_error};
use burn::tensor::DType;
use qwen3_vl_train::data::Batch;
use qwen3_vl_train::step::{Gradients, Keep, LayerPlan, differentiate};

/// Loss in bf16 against HF's in f32: weights have eight bits, `2⁻⁹` each, and a mean over many of them loses less.
const LOSS_TOLERANCE: f64 = 2e-3;

/// Gradients likewise, each against its tensor's largest: tens of roundings in sequence.
const GRADIENT_TOLERANCE: f64 = 5e-2;

#[test]
fn bf16_is_close() {
    for (checkpoint, name) in [("tiny-dense", "image"), ("tiny-dense", "text")] {
        let case = Case::open(checkpoint, name);
        let (model, batch) = (load_as(checkpoint, Some(DType::BF16)), case.batch());
        for keep in [Keep::Tape, Keep::Input] {
            let plan = LayerPlan::uniform(model.config(), keep);
            let mut gradients = Gradients::new();
            let loss = differentiate(&model, &batch, batch.targets(), &plan, &mut gradients).unwrap();
            let expected = f64::from(case.floats("expect.loss")[0]);
            let error = (loss.mean() - expected).abs() / expected;
            println!("{} {keep:?}: loss off by {error:e}", case.name);
            assert!(error < LOSS_TOLERANCE, "{} {keep:?}: {loss:?}, {expected}", case.name);
            let found = by_name(&model, &gradients);
            for tensor in case.names("expect.grad.") {
                let error = relative_error(&found[&tensor], &case.floats(&format!("expect.grad.{tensor}")));
                println!("{} {keep:?} {tensor}: {error:e}", case.name);
                assert!(error < GRADIENT_TOLERANCE, "{} {keep:?} {tensor}: {error:e}", case.name);
            }
        }
    }
}

#[test]
fn deterministic_is_bit_for_bit() {
    for dtype in [DType::F32, DType::BF16] {
        let run = || {
            let model = load_as("tiny-mixed", Some(dtype));
            let mut kernels = model.kernel_config().clone();
            kernels.deterministic = true;
            let model = model.with_kernel_config(kernels);
            let batch =
                Batch { samples: vec![Case::open("tiny-mixed", "image").sample(1), text_sample(&[9, 8, 7, 9], 2)] };
            let plan = LayerPlan::uniform(model.config(), Keep::Input);
            let mut gradients = Gradients::new();
            let loss = differentiate(&model, &batch, batch.targets(), &plan, &mut gradients).unwrap();
            (loss, by_name(&model, &gradients))
        };
        assert_eq!(run(), run(), "{dtype:?}");
    }
}

#[test]
fn weights_stay_as_they_are() {
    let model = load("tiny-dense");
    let before = model.language_model.layers[0].self_attn.q_proj.weight.val().into_data();
    let batch = Case::open("tiny-dense", "image").batch();
    let plan = LayerPlan::uniform(model.config(), Keep::Tape);
    differentiate(&model, &batch, batch.targets(), &plan, &mut Gradients::new()).unwrap();
    assert_eq!(model.language_model.layers[0].self_attn.q_proj.weight.val().into_data(), before);
}
