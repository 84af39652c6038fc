//! Loss and gradients against HF's.

use crate::fixture::Case;
use crate::gradients::{by_name, load, relative_error};
use qwen3_vl_train::step::{Gradients, Keep, LayerPlan, differentiate};

const CASES: [(&str, &str); 4] =
    [("tiny-dense", "text"), ("tiny-dense", "image"), ("tiny-moe", "image"), ("tiny-mixed", "image")];

/// Gradients pass through twice the sums that logits do, in another order than PyTorch's.
const TOLERANCE: f64 = 1e-4;

#[test]
fn loss_and_gradients_are_hfs() {
    for (checkpoint, name) in CASES {
        let case = Case::open(checkpoint, name);
        let (model, batch) = (load(checkpoint), case.batch());
        for keep in [Keep::Tape, Keep::Input] {
            let plan = LayerPlan::uniform(model.config(), keep);
            let mut gradients = Gradients::new();
            let loss = differentiate(&model, &batch, batch.targets(), &plan, &mut gradients).unwrap();
            let expected = f64::from(case.floats("expect.loss")[0]);
            assert!((loss.mean() - expected).abs() <= 1e-5 * expected, "{} {keep:?}: {loss:?}, {expected}", case.name);
            let found = by_name(&model, &gradients);
            for tensor in case.names("expect.grad.") {
                let error = relative_error(&found[&tensor], &case.floats(&format!("expect.grad.{tensor}")));
                assert!(error < TOLERANCE, "{} {keep:?} {tensor}: {error:e}", case.name);
            }
            let norms = case.names("expect.grad_norm.");
            assert!(norms.len() > 40);
            for tensor in norms {
                let expected = f64::from(case.floats(&format!("expect.grad_norm.{tensor}"))[0]);
                let values = found.get(&tensor).map_or(&[][..], Vec::as_slice);
                let norm = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                let error = (norm - expected).abs();
                assert!(error <= TOLERANCE * expected + 1e-9, "{} {keep:?} {tensor}: {norm}, {expected}", case.name);
            }
        }
    }
}
