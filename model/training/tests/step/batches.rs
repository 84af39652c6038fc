//! Samples behind each other, and batches of one step.

use crate::fixture::{Case, ignore_start, text_sample};
use crate::gradients::{Model, by_name, largest_error, load};
use burn::module::AutodiffModule;
use qwen3_vl_burn::ModelInputs;
use qwen3_vl_train::data::{Batch, Sample};
use qwen3_vl_train::step::{Gradients, Keep, LayerPlan, differentiate, evaluate};
use std::collections::BTreeMap;

/// Sums of several passes in another order.
const TOLERANCE: f64 = 5e-6;

/// Samples of several lengths, with pictures and without, some labels ignored.
fn samples() -> Vec<Sample> {
    let case = |name| Case::open("tiny-dense", name);
    vec![
        ignore_start(case("text").sample(1), 3),
        case("image").sample(2),
        ignore_start(case("two-images").sample(3), 5),
        text_sample(&[5, 6, 7, 8], 4),
    ]
}

/// The gradients of a step of these batches, and its mean loss.
fn step(model: &Model, batches: &[Batch]) -> (f64, BTreeMap<String, Vec<f32>>) {
    let count = batches.iter().map(Batch::targets).sum();
    let plan = LayerPlan::uniform(model.config(), Keep::Input);
    let mut gradients = Gradients::new();
    let losses = batches.iter().map(|batch| differentiate(model, batch, count, &plan, &mut gradients).unwrap());
    let sum: f64 = losses.map(|loss| loss.sum).sum();
    let records: usize = batches.iter().map(|batch| batch.samples.len()).sum();
    assert_eq!(gradients.sources.len(), records);
    (sum / count as f64, by_name(model, &gradients))
}

#[test]
fn accumulated_batches_are_one_batch() {
    let model = load("tiny-dense");
    let samples = samples();
    let (loss, expected) = step(&model, &[Batch { samples: samples.clone() }]);
    let halves = [Batch { samples: samples[..2].to_vec() }, Batch { samples: samples[2..].to_vec() }];
    let singles: Vec<Batch> = samples.iter().map(|sample| Batch { samples: vec![sample.clone()] }).collect();
    for batches in [&halves[..], &singles] {
        let (found_loss, found) = step(&model, batches);
        assert!((found_loss - loss).abs() < 1e-6 * loss, "{found_loss} {loss}");
        let error = largest_error(&found, &expected);
        assert!(error < TOLERANCE, "{} batches: {error:e}", batches.len());
    }
}

#[test]
fn the_loss_alone_is_the_same() {
    let model = load("tiny-dense");
    let batch = Batch { samples: samples() };
    let (loss, _) = step(&model, std::slice::from_ref(&batch));
    let alone = evaluate(&model.valid(), &batch).unwrap();
    assert_eq!(alone.targets, batch.targets());
    assert!((alone.mean() - loss).abs() < 1e-6 * loss, "{alone:?} {loss}");
}

/// A picture behind a video, so that features come in another order than rows: as if each had come first in a prompt of
/// its own tower pass.
#[test]
fn features_find_their_rows() {
    let model = load("tiny-dense");
    let (video, image) = (Case::open("tiny-dense", "video").sample(1), Case::open("tiny-dense", "image").sample(2));
    let inputs = ModelInputs {
        input_ids: [video.inputs.input_ids.clone(), image.inputs.input_ids.clone()].concat(),
        images: image.inputs.images.clone(),
        videos: video.inputs.videos.clone(),
    };
    let labels = inputs.input_ids.iter().map(|&id| i64::from(id)).collect();
    let batch = Batch { samples: vec![Sample { inputs, labels, source: video.source.clone() }] };
    let (loss, found) = step(&model, std::slice::from_ref(&batch));
    // `evaluate` orders features by the model's own code.
    let alone = evaluate(&model.valid(), &batch).unwrap();
    assert!((alone.mean() - loss).abs() < 1e-6 * loss, "{alone:?} {loss}");
    // The bias of the merger's last layer adds to every feature: its gradient is the derivative of the loss along it.
    let name = "model.visual.merger.linear_fc2.bias";
    let slope: f64 = found[name].iter().map(|&x| f64::from(x)).sum();
    let shifted = |amount: f64| {
        let mut model = model.valid();
        let bias = model.visual.merger.linear_fc2.bias.take().unwrap();
        model.visual.merger.linear_fc2.bias = Some(bias.map(|bias| bias + amount));
        evaluate(&model, &batch).unwrap().mean()
    };
    let step = 1e-2;
    let difference = (shifted(step) - shifted(-step)) / (2.0 * step);
    assert!((slope - difference).abs() < 2e-2 * slope.abs().max(1e-3), "{slope} {difference}");
}

#[test]
fn a_batch_without_a_target_adds_nothing() {
    let model = load("tiny-dense");
    let plan = LayerPlan::uniform(model.config(), Keep::Tape);
    let mut gradients = Gradients::new();
    let batch = Batch { samples: vec![ignore_start(text_sample(&[1, 2, 3], 1), 3)] };
    let loss = differentiate(&model, &batch, 7, &plan, &mut gradients).unwrap();
    assert_eq!((loss.sum, loss.targets, gradients.params.len()), (0.0, 0, 0));
}
