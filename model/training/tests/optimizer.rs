//! AdamW, clipping and whole steps.

#[path = "fixture/mod.rs"]
mod fixture;

use burn::module::{AutodiffModule, Param};
use burn::tensor::{DType, Tensor};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln_fusion::KernelConfig;
use burn_optim::lr_scheduler::LrScheduler;
use burn_optim::{GradientsParams, Optimizer};
use fixture::{Case, folder, text_sample};
use qwen3_vl_burn::layers::{Linear, LinearConfig};
use qwen3_vl_burn::{LoadOptions, Qwen3Vl};
use qwen3_vl_train::data::Batch;
use qwen3_vl_train::optim::{AdamW, AdamWConfig, Decay, Schedule, StateError, clip_gradients, measure_gradients};
use qwen3_vl_train::parameters::{Rule, Selection, Target, list_parameters};
use qwen3_vl_train::step::{Gradients, Keep, LayerPlan, differentiate};

type Inner = Kiln<Flex>;
type Backend = Autodiff<Inner>;

fn load(checkpoint: &str, dtype: Option<DType>) -> Qwen3Vl<Backend> {
    let options = LoadOptions { dtype, ..LoadOptions::default() };
    Qwen3Vl::load(folder(checkpoint), &Default::default(), options).unwrap()
}

/// Values that a seed fixes, in [-1, 1).
fn numbers(seed: u32, count: usize) -> Vec<f32> {
    (0..count as u32)
        .map(|i| ((i + 1).wrapping_mul(seed).wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0)
        .collect()
}

/// A linear layer of width 7 to 5, with a bias.
fn layer(dtype: DType) -> Linear<Backend> {
    let device = Default::default();
    let mut layer = LinearConfig::new(7, 5).with_bias(true).init::<Backend>(&device);
    let weight = Tensor::<Backend, 1>::from_floats(&numbers(3, 35)[..], &device).reshape([5, 7]).cast(dtype);
    layer.weight = Param::from_tensor(weight);
    layer.bias = Some(Param::from_tensor(Tensor::from_floats(&numbers(5, 5)[..], &device)));
    layer
}

/// PyTorch's `AdamW`, by the algorithm of its documentation, in f64.
struct Oracle {
    parameter: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl Oracle {
    fn new(parameter: &[f32]) -> Self {
        let zeros = vec![0.0; parameter.len()];
        Self {
            parameter: parameter.iter().map(|&x| f64::from(x)).collect(),
            first: zeros.clone(),
            second: zeros,
            steps: 0,
        }
    }

    fn step(&mut self, grad: &[f32], rate: f64, decay: f64) {
        let AdamWConfig { beta_1, beta_2, epsilon, .. } = AdamWConfig::default();
        self.steps += 1;
        for (i, &grad) in grad.iter().enumerate() {
            let grad = f64::from(grad);
            self.parameter[i] -= rate * decay * self.parameter[i];
            self.first[i] = beta_1 * self.first[i] + (1.0 - beta_1) * grad;
            self.second[i] = beta_2 * self.second[i] + (1.0 - beta_2) * grad * grad;
            let first = self.first[i] / (1.0 - beta_1.powi(self.steps));
            let second = self.second[i] / (1.0 - beta_2.powi(self.steps));
            self.parameter[i] -= rate * first / (second.sqrt() + epsilon);
        }
    }

    fn compare<const D: usize>(&self, found: Tensor<Backend, D>, tolerance: f64) {
        let found: Vec<f32> = found.inner().cast(DType::F32).into_data().to_vec().unwrap();
        for (found, expected) in found.iter().zip(&self.parameter) {
            let error = (f64::from(*found) - expected).abs();
            assert!(error < tolerance * expected.abs().max(0.1), "{found} {expected}");
        }
    }
}

/// Gradients of step `step`.
fn gradients(layer: &Linear<Backend>, step: u32) -> (Vec<f32>, Vec<f32>, GradientsParams) {
    let device = Default::default();
    let (weight, bias) = (numbers(7 + 2 * step, 35), numbers(8 + 2 * step, 5));
    let mut params = GradientsParams::new();
    let grad = Tensor::<Inner, 1>::from_floats(&weight[..], &device).reshape([5, 7]);
    params.register::<Inner, 2>(layer.weight.id, grad);
    params.register::<Inner, 1>(layer.bias.as_ref().unwrap().id, Tensor::from_floats(&bias[..], &device));
    (weight, bias, params)
}

#[test]
fn steps_are_pytorchs() {
    let mut layer = layer(DType::F32);
    let (mut weight, mut bias) = (Oracle::new(&numbers(3, 35)), Oracle::new(&numbers(5, 5)));
    let config = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
    let mut optimizer = AdamW::<Inner>::new(config, &Default::default());
    for step in 0..20 {
        let rate = 1e-2 / f64::from(step + 1);
        let (weight_grad, bias_grad, params) = gradients(&layer, step);
        layer = optimizer.step(rate, layer, params);
        weight.step(&weight_grad, rate, 0.1);
        bias.step(&bias_grad, rate, 0.0);
    }
    weight.compare(layer.weight.val(), 1e-5);
    bias.compare(layer.bias.unwrap().val(), 1e-5);
}

#[test]
fn parameters_have_their_own_rates_and_decays() {
    let layer = layer(DType::F32);
    let bias_rule = Rule::new("bias".parse().unwrap()).with_learning_rate(4e-2);
    let selection =
        Selection { rules: vec![Rule::new(Target::All), bias_rule], learning_rate: 1e-2, weight_decay: 0.3 };
    let (mut layer, trainables) = selection.apply::<Backend, _>(layer).unwrap();
    let mut optimizer = AdamW::<Inner>::new(AdamWConfig::default(), &Default::default()).with_parameters(&trainables);
    let (mut weight, mut bias) = (Oracle::new(&numbers(3, 35)), Oracle::new(&numbers(5, 5)));
    for step in 0..3 {
        let (weight_grad, bias_grad, params) = gradients(&layer, step);
        layer = optimizer.step(5e-3, layer, params);
        weight.step(&weight_grad, 5e-3, 0.3);
        bias.step(&bias_grad, 2e-2, 0.0);
    }
    weight.compare(layer.weight.val(), 1e-5);
    bias.compare(layer.bias.unwrap().val(), 1e-5);
}

/// Steps of 1e-4 are below what bf16 can tell from 1: without an f32 copy the weight would not move.
#[test]
fn weights_in_bf16_take_small_steps() {
    let mut layer = layer(DType::BF16);
    let start: Vec<f32> = layer.weight.val().inner().cast(DType::F32).into_data().to_vec().unwrap();
    let mut weight = Oracle::new(&start);
    let mut optimizer = AdamW::<Inner>::new(AdamWConfig::default(), &Default::default());
    for step in 0..60 {
        // The same direction every time.
        let (weight_grad, _, params) = gradients(&layer, 0);
        layer = optimizer.step(1e-4, layer, params);
        weight.step(&weight_grad, 1e-4, 0.0);
        assert_eq!(layer.weight.val().dtype(), DType::BF16, "{step}");
    }
    // The rounding of bf16, relative.
    weight.compare(layer.weight.val(), 1.0 / 256.0);
    let end: Vec<f32> = layer.weight.val().inner().cast(DType::F32).into_data().to_vec().unwrap();
    let moved = start.iter().zip(&end).filter(|(a, b)| a != b).count();
    assert!(moved > 30, "{moved} of 35 moved");
}

#[test]
fn state_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimizer.safetensors");
    for dtype in [DType::F32, DType::BF16] {
        let (mut layer, trainables) = Selection::all(1e-3).apply::<Backend, _>(layer(dtype)).unwrap();
        let new = || AdamW::<Inner>::new(AdamWConfig::default(), &Default::default()).with_parameters(&trainables);
        let mut optimizer = new();
        for step in 0..3 {
            layer = optimizer.step(1e-3, layer.clone(), gradients(&layer, step).2);
        }
        optimizer.save(&path).unwrap();
        let mut loaded = new();
        loaded.load(&path, &Default::default()).unwrap();
        let record = |optimizer: &AdamW<Inner>| Optimizer::<Linear<Backend>, Backend>::to_record(optimizer);
        assert_eq!(record(&loaded), record(&optimizer));
        let recorded = Optimizer::<Linear<Backend>, Backend>::load_record(new(), record(&optimizer));
        assert_eq!(record(&recorded), record(&optimizer));
        let next = |mut optimizer: AdamW<Inner>| {
            let layer = optimizer.step(1e-3, layer.clone(), gradients(&layer, 9).2);
            layer.weight.val().inner().into_data()
        };
        assert_eq!(next(loaded), next(optimizer));
    }
    // Bits are kept, and a file is never half written.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn state_of_another_choice_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimizer.safetensors");
    let (mut layer, trainables) = Selection::all(1e-3).apply::<Backend, _>(layer(DType::F32)).unwrap();
    let mut optimizer = AdamW::<Inner>::new(AdamWConfig::default(), &Default::default()).with_parameters(&trainables);
    let grads = gradients(&layer, 1).2;
    layer = optimizer.step(1e-3, layer, grads);
    optimizer.save(&path).unwrap();
    let selection = Selection::of(["bias".parse().unwrap()], 1e-3);
    let (_, fewer) = selection.apply::<Backend, _>(layer).unwrap();
    let mut other = AdamW::<Inner>::new(AdamWConfig::default(), &Default::default()).with_parameters(&fewer);
    let error = other.load(&path, &Default::default()).unwrap_err();
    assert!(matches!(&error, StateError::Unknown { name, .. } if name == "weight"), "{error}");
    std::fs::write(&path, b"no state").unwrap();
    assert!(matches!(optimizer.load(&path, &Default::default()), Err(StateError::Format { .. })));
    assert!(matches!(optimizer.load(&folder.path().join("none"), &Default::default()), Err(StateError::File { .. })));
    assert!(matches!(optimizer.save(&folder.path().join("no/folder")), Err(StateError::File { .. })));
}

#[test]
fn clipping_is_pytorchs() {
    let layer = layer(DType::F32);
    let (weight, bias, params) = gradients(&layer, 4);
    let norm = weight.iter().chain(&bias).map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let mut gradients = Gradients::<Inner>::new();
    gradients.params = params;
    let read = |gradients: &Gradients<Inner>| -> Vec<f32> {
        gradients.get::<2>(layer.weight.id).unwrap().into_data().to_vec().unwrap()
    };
    for limit in [None, Some(norm + 1.0)] {
        let found = clip_gradients(&layer, &mut gradients, limit, &KernelConfig::default()).unwrap();
        assert!((found - norm).abs() < 1e-6 * norm, "{found} {norm}");
        assert_eq!(read(&gradients), weight);
    }
    clip_gradients(&layer, &mut gradients, Some(0.5), &KernelConfig::default()).unwrap();
    for (found, before) in read(&gradients).iter().zip(&weight) {
        let expected = f64::from(*before) * 0.5 / (norm + 1e-6);
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
    }
    let after = clip_gradients(&layer, &mut gradients, None, &KernelConfig::default()).unwrap();
    assert!((after - 0.5).abs() < 1e-5, "{after}");
}

/// A factor is of one step alone: the one behind it takes its gradients as they are.
#[test]
fn a_step_clips_while_it_uses_gradients() {
    let mut layer = layer(DType::F32);
    let mut oracle = Oracle::new(&numbers(3, 35));
    let mut optimizer = AdamW::<Inner>::new(AdamWConfig::default(), &KernelConfig::default());
    for (seed, limit) in [(4, Some(0.05)), (6, None), (8, Some(1e9))] {
        let (weight, _, params) = gradients(&layer, seed);
        let mut gradients = Gradients::<Inner>::new();
        gradients.params = params;
        let clip = measure_gradients(&layer, &gradients, limit, &KernelConfig::default()).unwrap();
        assert_eq!(clip.factor < 1.0, limit == Some(0.05), "{clip:?}");
        let factor = limit.map_or(1.0, |limit| (limit / (clip.norm + 1e-6)).min(1.0));
        let clipped: Vec<f32> = weight.iter().map(|&x| (f64::from(x) * factor) as f32).collect();
        oracle.step(&clipped, 0.1, 0.0);
        if clip.factor < 1.0 {
            optimizer.with_gradient_factor(clip.factor);
        }
        layer = optimizer.step(0.1, layer, gradients.params);
        let found: Vec<f32> = layer.weight.val().into_data().to_vec().unwrap();
        for (found, expected) in found.iter().zip(&oracle.parameter) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{limit:?}: {found} {expected}");
        }
    }
}

/// Steps on one batch; the loss of each.
fn train(dtype: DType, steps: usize, keep: Keep) -> Vec<f64> {
    let (mut model, trainables) =
        Selection::all(2e-3).with_weight_decay(0.01).apply(load("tiny-dense", Some(dtype))).unwrap();
    let case = Case::open("tiny-dense", "image");
    let batch = Batch { samples: vec![case.sample(1), text_sample(&[11, 12, 13, 11, 12, 13, 11, 12], 2)] };
    let plan = LayerPlan::uniform(model.config(), keep);
    let mut optimizer = AdamW::<Inner>::new(AdamWConfig::default(), model.kernel_config()).with_parameters(&trainables);
    let mut schedule = Schedule::new(2e-3, 2, steps, Decay::Cosine);
    let mut losses = Vec::new();
    for _ in 0..steps {
        let mut gradients = Gradients::new();
        let loss = differentiate(&model, &batch, batch.targets(), &plan, &mut gradients).unwrap();
        clip_gradients(&model, &mut gradients, Some(1.0), model.kernel_config()).unwrap();
        model = optimizer.step(schedule.step(), model, gradients.params);
        losses.push(loss.mean());
    }
    losses
}

#[test]
fn the_loss_falls() {
    for (dtype, keep) in [(DType::F32, Keep::Tape), (DType::F32, Keep::Input), (DType::BF16, Keep::Input)] {
        let losses = train(dtype, 20, keep);
        println!("{dtype:?} {keep:?}: {losses:?}");
        assert!(losses[19] < 0.7 * losses[0], "{dtype:?} {keep:?}: {losses:?}");
    }
}

/// 300 steps: the batch is learnt by heart.
#[test]
#[ignore = "minutes; run by hand"]
fn the_loss_falls_to_nothing() {
    let losses = train(DType::F32, 300, Keep::Input);
    println!("{losses:?}");
    assert!(losses[299] < 0.05, "{losses:?}");
}

#[test]
fn names_are_those_of_checkpoints() {
    for checkpoint in ["tiny-dense", "tiny-moe", "tiny-mixed"] {
        let model = load(checkpoint, None);
        let names: Vec<String> = list_parameters(&model.valid()).into_iter().map(|p| p.name).collect();
        let case = Case::open(checkpoint, "image");
        let expected = case.names("expect.grad_norm.");
        assert!(expected.len() > 100);
        assert!(expected.iter().all(|name| names.contains(name)), "{checkpoint}: {names:?}");
    }
}
