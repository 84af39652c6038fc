//! What a step refuses.

use crate::fixture::{source, text_sample};
use crate::gradients::{Inner, load};
use qwen3_vl_train::data::Batch;
use qwen3_vl_train::optim::clip_gradients;
use qwen3_vl_train::step::{Gradients, Keep, LayerPlan, StepError, differentiate};

fn refuse(change: impl FnOnce(&mut Batch), count: usize) -> StepError {
    let model = load("tiny-dense");
    let mut batch = Batch { samples: vec![text_sample(&[101, 102, 103], 1), text_sample(&[104, 105, 106], 2)] };
    change(&mut batch);
    let plan = LayerPlan::uniform(model.config(), Keep::Tape);
    differentiate(&model, &batch, count, &plan, &mut Gradients::new()).unwrap_err()
}

#[test]
fn bad_batches_are_typed_errors() {
    assert!(matches!(refuse(|batch| batch.samples.clear(), 1), StepError::EmptyBatch));
    assert!(matches!(refuse(|_| (), 0), StepError::NoTargets));
    let error = refuse(|batch| batch.samples[1].labels.truncate(2), 4);
    assert_eq!(error.to_string(), "records.jsonl:2: 2 labels for 3 tokens");
    for label in [-1, 1 << 40] {
        let error = refuse(|batch| batch.samples[0].labels[2] = label, 4);
        assert!(matches!(error, StepError::Label { index: 2, label: found, .. } if found == label), "{error}");
    }
    let error = refuse(|batch| batch.samples[0].inputs.input_ids[0] = u32::MAX, 4);
    assert!(matches!(&error, StepError::Inputs { source_of, .. } if *source_of == source(1)), "{error}");
}

#[test]
fn another_models_plan_is_an_error() {
    let model = load("tiny-dense");
    let batch = Batch { samples: vec![text_sample(&[101, 102, 103], 1)] };
    let mut plan = LayerPlan::uniform(model.config(), Keep::Tape);
    plan.text.pop();
    let error = differentiate(&model, &batch, 2, &plan, &mut Gradients::new()).unwrap_err();
    assert!(matches!(error, StepError::Plan { .. }), "{error}");
}

/// One row of the table is no number: the record with its token is named, and only that one.
#[test]
fn a_loss_that_is_no_number_names_its_record() {
    let mut model = load("tiny-dense");
    let embedding = &mut model.language_model.embed_tokens;
    // An embedding that a record of other tokens does not see, and a head that is another matrix.
    let head =
        qwen3_vl_burn::layers::LinearConfig::new(embedding.weight.lazy_shape()[1], embedding.weight.lazy_shape()[0]);
    let mut head = head.init(&Default::default());
    head.weight = embedding.weight.clone();
    model.lm_head = Some(head);
    let weight = embedding.weight.clone();
    embedding.weight = weight.map(|table| {
        let [_, hidden] = table.dims();
        let bad = burn::tensor::Tensor::full([1, hidden], f32::NAN, &table.device());
        table.slice_assign([105..106, 0..hidden], bad).detach().require_grad()
    });
    let batch = Batch { samples: vec![text_sample(&[101, 102, 103], 1), text_sample(&[104, 105, 106], 2)] };
    let plan = LayerPlan::uniform(model.config(), Keep::Tape);
    let error = differentiate(&model, &batch, 4, &plan, &mut Gradients::new()).unwrap_err();
    let StepError::Loss { loss, sources } = &error else { panic!("{error}") };
    assert!(loss.is_nan());
    assert_eq!(*sources, [source(2)]);
    assert!(error.to_string().contains("records.jsonl:2"), "{error}");
}

#[test]
fn a_gradient_that_is_no_number_is_an_error() {
    let model = load("tiny-dense");
    let mut gradients = Gradients::<Inner>::new();
    gradients.sources.push(source(7));
    let norm = &model.language_model.norm.weight;
    gradients.add(norm.id, norm.val().inner() * f32::INFINITY);
    let error = clip_gradients(&model, &mut gradients, Some(1.0), model.kernel_config()).unwrap_err();
    assert!(matches!(&error, StepError::GradientNorm { sources, .. } if *sources == [source(7)]), "{error}");
}
