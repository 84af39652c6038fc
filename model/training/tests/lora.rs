//! Adapters beside frozen weights: what they compute, their gradients, saving and loading, and every error.

mod reference;

use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln::{Kiln, OptimizationConfig};
use burn_kiln_fusion::{FusedOps, LossInputs, LossOptions, TrainingOps};
use qwen3_vl_burn::checkpoint::AdapterTargets;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl, apply_low_level_optimizations};
use qwen3_vl_train::lora::{LoraConfig, LoraError, attach, load_adapter, load_adapter_with_seed, merge, save_adapter};
use reference::{adapter, base, distance, inputs, integers, load, logits, parameters};
use std::collections::BTreeMap;

type Training = Autodiff<Kiln<Flex>>;

/// Every layer that can have one: text, vision, mergers, and the convolution.
fn everywhere() -> LoraConfig {
    let all = AdapterTargets::Pattern(r"model\..*".to_owned());
    LoraConfig { seed: 3, ..LoraConfig::new(2, 4.0) }.with_targets(all)
}

/// An adapter everywhere whose `B` is not 0.
fn trained<B: FusedOps>(config: &LoraConfig) -> Qwen3Vl<B> {
    let (mut model, _) = attach(load::<B>(), config).unwrap();
    model.visit_adaptable(&mut |name, layer| {
        let lora = layer.lora.as_mut().unwrap_or_else(|| panic!("{name}"));
        let [outputs, rank] = lora.b.shape().dims();
        let values: Vec<f32> = (0..outputs * rank).map(|i| ((i * 29 % 61) as f32 - 30.0) / 300.0).collect();
        let b = Tensor::<B, 2>::from_data(TensorData::new(values, [outputs, rank]), &Default::default());
        lora.b = lora.b.clone().map(|_| b.require_grad());
    });
    model
}

#[test]
fn a_new_adapter_changes_nothing_and_is_counted() {
    let plain = load::<Flex>();
    let (model, report) = attach(plain.clone(), &everywhere()).unwrap();
    for case in reference::CASES {
        assert!(distance(&logits(&model, case), &logits(&plain, case)) < 1e-5, "{case}");
    }
    // 4 · 7 of the decoder, 6 · 4 of the tower, 4 · 2 of mergers, the patches.
    assert_eq!(report.modules.len(), 28 + 24 + 8 + 1);
    assert_eq!(report.frozen, plain.num_params());
    assert_eq!(report.trainable, model.num_params() - plain.num_params());
    assert!(report.to_string().contains("61 layers"), "{report}");
    // PEFT's bound of A: 1 / √inputs.
    let matrices = model.read_adapters();
    let a = &matrices["model.language_model.layers.0.mlp.down_proj"][0];
    let largest = a.iter::<f32>().map(f32::abs).fold(0.0, f32::max);
    let bound = 1.0 / 160f32.sqrt();
    assert!(largest <= bound && largest > 0.9 * bound, "{largest} of {bound}");
    let mean = a.iter::<f32>().sum::<f32>() / 320.0;
    // Deviation of the mean: bound / √(3 · 320).
    assert!(mean.abs() < 4.0 * bound / 31.0, "{mean}");
}

#[test]
fn ranks_and_alphas_by_pattern() {
    let config = LoraConfig {
        rank_pattern: vec![(r"layers\.1\..*q_proj".to_owned(), 5), ("qkv".to_owned(), 1)],
        alpha_pattern: vec![("q_proj".to_owned(), 20.0)],
        ..everywhere()
    };
    let (mut model, report) = attach(load::<Flex>(), &config).unwrap();
    let rank = |name: &str| report.modules.iter().find(|module| module.name.ends_with(name)).unwrap().rank;
    assert_eq!([rank("layers.1.self_attn.q_proj"), rank("layers.0.self_attn.q_proj"), rank("qkv")], [5, 2, 1]);
    let mut scales = BTreeMap::new();
    model.visit_adaptable(&mut |name, layer| {
        scales.insert(name.to_owned(), layer.lora.as_ref().unwrap().scale);
    });
    let text = "model.language_model.layers";
    let of = |name: &str| scales[&format!("{text}.{name}")];
    assert_eq!([of("1.self_attn.q_proj"), of("0.self_attn.q_proj"), of("0.self_attn.k_proj")], [4.0, 10.0, 2.0]);
}

#[test]
fn the_seed_decides() {
    let matrices = |seed| attach(load::<Flex>(), &LoraConfig { seed, ..everywhere() }).unwrap().0.read_adapters();
    assert_eq!(matrices(1), matrices(1));
    let (one, two) = (matrices(1), matrices(2));
    assert!(one.iter().all(|(name, [a, _])| *a != two[name][0]));
}

#[test]
fn merged_is_beside() {
    let model = trained::<Flex>(&everywhere());
    let (plain, merged) = (load::<Flex>(), merge(model.clone()));
    assert!(merged.read_adapters().is_empty());
    for case in reference::CASES {
        let beside = logits(&model, case);
        assert!(distance(&beside, &logits(&plain, case)) > 1e-2, "{case}: it does something");
        assert!(distance(&logits(&merged, case), &beside) < 2e-5, "{case}");
        // On Kiln's kernels with packed base weights.
        let fast = apply_low_level_optimizations(model.clone(), &OptimizationConfig::detect()).unwrap();
        assert!(distance(&logits(&fast, case), &beside) < 2e-5, "{case}");
    }
}

#[test]
fn the_inner_model_has_the_adapter() {
    let model = trained::<Training>(&everywhere());
    let inner: Qwen3Vl<Kiln<Flex>> = model.valid();
    assert_eq!(inner.read_adapters(), model.read_adapters());
    // Rounding: norm and products are ops of their own on the tape.
    assert!(distance(&logits(&inner, "image"), &logits(&model, "image")) < 2e-5);
}

/// Mean next-token cross entropy.
fn loss<B: TrainingOps>(model: &Qwen3Vl<B>, case: &str) -> Tensor<B, 1> {
    let device = model.device();
    let labels = integers(case, "labels").unwrap();
    let count = labels.len() - 1;
    let hidden = model.run(vec![model.prepare(&inputs(case)).unwrap()]).unwrap();
    let hidden: Tensor<B, 2> = model.language_model.norm.forward(hidden, model.kernel_config()).flatten(0, 1);
    let targets = Tensor::<B, 1, Int>::from_data(TensorData::new(labels[1..].to_vec(), [count]), &device);
    let weight = model.head();
    let inputs = LossInputs { hidden: hidden.narrow(0, 0, count), weight: &weight, targets };
    B::lm_head_cross_entropy(inputs, LossOptions::default(), model.kernel_config()).loss
}

/// The gradients of all parameters that have one, by path.
struct Gradients<'a, B: AutodiffBackend> {
    path: Vec<String>,
    grads: &'a B::Gradients,
    found: BTreeMap<String, Vec<f32>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Gradients<'_, B> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = param.val().grad(self.grads) {
            self.found.insert(self.path.join("."), grad.into_data().iter::<f32>().collect());
        }
    }
}

/// Along its own gradient `g` (normed) a loss rises by `|g|` a unit: for each matrix of each adapted layer, by central
/// differences.
#[test]
fn gradients_are_central_differences_and_the_base_has_none() {
    let model = trained::<Training>(&everywhere());
    let grads = loss(&model, "image").backward();
    let mut reader = Gradients { path: Vec::new(), grads: &grads, found: BTreeMap::new() };
    model.visit(&mut reader);
    let found = reader.found;
    assert_eq!(found.len(), 2 * 61, "both matrices of each layer, and nothing else");
    assert!(found.keys().all(|path| path.contains(".lora.")), "{:?}", found.keys());

    let inner: Qwen3Vl<Kiln<Flex>> = model.valid();
    for (layer, side) in [
        ("model.language_model.layers.1.self_attn.q_proj", 'a'),
        ("model.language_model.layers.0.self_attn.v_proj", 'b'),
        ("model.language_model.layers.2.self_attn.o_proj", 'a'),
        ("model.language_model.layers.0.mlp.gate_proj", 'a'),
        ("model.language_model.layers.3.mlp.up_proj", 'b'),
        ("model.language_model.layers.1.mlp.down_proj", 'b'),
        ("model.visual.blocks.5.attn.qkv", 'a'),
        ("model.visual.blocks.0.attn.proj", 'b'),
        ("model.visual.blocks.2.mlp.linear_fc1", 'a'),
        ("model.visual.blocks.4.mlp.linear_fc2", 'b'),
        ("model.visual.deepstack_merger_list.1.linear_fc1", 'b'),
        ("model.visual.merger.linear_fc2", 'a'),
        ("model.visual.patch_embed.proj", 'b'),
    ] {
        let module = layer.strip_prefix("model.").unwrap().replace(".mlp.gate", ".mlp.Dense.gate");
        let module = module.replace(".mlp.up", ".mlp.Dense.up").replace(".mlp.down", ".mlp.Dense.down");
        let gradient = &found[&format!("{module}.lora.{side}")];
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-4, "{layer}: {norm:e} is too little to measure");
        let moved = |step: f64| {
            let mut model = inner.clone();
            model.visit_adaptable(&mut |name, linear| {
                if name != layer {
                    return;
                }
                let lora = linear.lora.as_mut().unwrap();
                let param = if side == 'a' { &mut lora.a } else { &mut lora.b };
                let along = gradient.iter().map(|g| (f64::from(*g) * step / norm) as f32).collect::<Vec<_>>();
                let shape: [usize; 2] = param.shape().dims();
                let along = Tensor::from_data(TensorData::new(along, shape), &Default::default());
                *param = param.clone().map(|value| value + along);
            });
            f64::from(loss(&model, "image").into_scalar())
        };
        let step = 0.02;
        let slope = (moved(step) - moved(-step)) / (2.0 * step);
        // The loss, about 6, is right to 2⁻²²: 7e-5 of slope. The third derivative does the rest.
        let allowed = 2e-2 * norm + 1e-4;
        println!("{layer} {side}: {slope:.5} by differences, {norm:.5} by gradient");
        assert!((slope - norm).abs() <= allowed, "{layer} {side}: {slope:e} by differences, {norm:e} by gradient");
    }
}

/// On the default compositions too, and only where an adapter is.
#[test]
fn layers_without_an_adapter_have_no_gradient() {
    let config = LoraConfig::new(2, 2.0).with_targets(AdapterTargets::Names(vec!["layers.3.self_attn.v_proj".into()]));
    let (model, report) = attach(load::<Autodiff<Flex>>(), &config).unwrap();
    assert_eq!(report.modules.len(), 1);
    let grads = loss(&model, "text").backward();
    let mut reader = Gradients { path: Vec::new(), grads: &grads, found: BTreeMap::new() };
    model.visit(&mut reader);
    let paths: Vec<&String> = reader.found.keys().collect();
    assert_eq!(
        paths,
        ["language_model.layers.3.self_attn.v_proj.lora.a", "language_model.layers.3.self_attn.v_proj.lora.b"]
    );
    // B is 0, so A has none yet; B has.
    assert!(reader.found[paths[0]].iter().all(|&g| g == 0.0) && reader.found[paths[1]].iter().any(|&g| g != 0.0));
}

#[test]
fn saved_and_loaded_it_trains_on() {
    let config = LoraConfig { dropout: 0.1, rank_stabilized: true, ..everywhere() };
    let model = trained::<Training>(&config);
    let dir = tempfile::tempdir().unwrap();
    save_adapter(&model, &config, dir.path().join("a/b")).unwrap();
    let loaded = load_adapter_with_seed(load::<Training>(), dir.path().join("a/b"), config.seed).unwrap();
    assert_eq!(loaded.read_adapters(), model.read_adapters());
    assert_eq!(logits(&loaded, "image"), logits(&model, "image"));
    assert_eq!(ids(&loaded), ids(&model), "an optimizer's record fits");
    let dropped = [&model, &loaded].map(|model| {
        let _pass = model.dropout_pass().begin(11);
        logits(model, "image")
    });
    assert_eq!(dropped[0], dropped[1], "the same masks");
    let grads = loss(&loaded, "text").backward();
    let mut reader = Gradients { path: Vec::new(), grads: &grads, found: BTreeMap::new() };
    loaded.visit(&mut reader);
    assert_eq!(reader.found.len(), 2 * 28, "the tower doesn't see a text");
}

/// Ids of adapters' parameters.
fn ids(model: &Qwen3Vl<Training>) -> Vec<u64> {
    struct Ids(Vec<u64>, usize);
    impl ModuleVisitor<Training> for Ids {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1 += usize::from(name == "lora");
        }

        fn exit_module(&mut self, name: &str, _: &str) {
            self.1 -= usize::from(name == "lora");
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Training, D>>) {
            if self.1 > 0 {
                self.0.push(param.id.val());
            }
        }
    }
    let mut ids = Ids(Vec::new(), 0);
    model.visit(&mut ids);
    let mut each = ids.0.clone();
    each.sort_unstable();
    each.dedup();
    assert_eq!(each.len(), 122);
    ids.0
}

#[test]
fn dropout_is_a_matter_of_a_pass() {
    let config = LoraConfig { dropout: 0.5, ..everywhere() };
    let model = trained::<Kiln<Flex>>(&config);
    let still = logits(&model, "text");
    let run = |pass| {
        let _guard = model.dropout_pass().begin(pass);
        logits(&model, "text")
    };
    let first = run(0);
    assert!(distance(&first, &still) > 1e-3);
    assert_eq!(first, run(0), "computed again for gradients, it drops the same");
    assert_ne!(first, run(1));
    assert_eq!(still, logits(&model, "text"), "without a pass nothing is dropped");
}

#[test]
fn a_record_keeps_the_adapter() {
    let config = everywhere();
    let model = trained::<Training>(&config);
    let record = model.clone().into_record();
    let (fresh, _) = attach(load::<Training>(), &LoraConfig { seed: 9, ..config }).unwrap();
    let loaded = fresh.load_record(record);
    assert_eq!(parameters(&loaded), parameters(&model));
    assert_eq!(logits(&loaded, "text"), logits(&model, "text"));
}

#[track_caller]
fn refuse(config: LoraConfig, words: &str) -> LoraError {
    let error = attach(load::<Flex>(), &config).map(drop).unwrap_err();
    assert!(error.to_string().contains(words), "`{words}` is not in: {error}");
    error
}

#[test]
fn settings_out_of_range() {
    assert!(matches!(refuse(LoraConfig::new(0, 1.0), "1 at least"), LoraError::Rank));
    for alpha in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(refuse(LoraConfig::new(1, alpha), "from 0 up"), LoraError::Alpha { .. }));
    }
    for dropout in [-0.1, 1.0, f64::NAN] {
        let config = LoraConfig { dropout, ..LoraConfig::new(1, 1.0) };
        assert!(matches!(refuse(config, "below 1"), LoraError::Dropout { .. }));
    }
    let targets = |names: &[&str]| {
        LoraConfig::new(1, 1.0).with_targets(AdapterTargets::Names(names.iter().map(|name| name.to_string()).collect()))
    };
    let error = refuse(targets(&["q_proj", "c_attn"]), "`c_attn` matches no layer");
    assert!(error.to_string().contains("down_proj, gate_proj, k_proj, linear_fc1, linear_fc2, o_proj"), "{error}");
    assert!(matches!(refuse(targets(&[]), "no target"), LoraError::NoTargets));
    assert!(matches!(refuse(targets(&["lm_head"]), "output head"), LoraError::Head { .. }));
    // What is there, and is no linear layer.
    for name in ["embed_tokens", "pos_embed", "q_norm", "input_layernorm"] {
        assert!(matches!(refuse(targets(&[name]), name), LoraError::Target { .. }));
    }
    let pattern = LoraConfig::new(1, 1.0).with_targets(AdapterTargets::Pattern("*".to_owned()));
    assert!(matches!(refuse(pattern, "regular expression"), LoraError::Pattern(_)));
}

#[test]
fn models_that_cannot_have_one() {
    let config = LoraConfig::new(1, 1.0);
    let (model, _) = attach(load::<Flex>(), &config).unwrap();
    let twice = attach(model.clone(), &config).map(drop).unwrap_err();
    assert!(matches!(twice, LoraError::Attached), "{twice}");
    let twice = load_adapter(model, adapter("text")).map(drop).unwrap_err();
    assert!(matches!(twice, LoraError::Attached), "{twice}");
    let limit = LoadOptions::default().with_memory_limit(1 << 20);
    let streamed = Qwen3Vl::<Flex>::load(base(), &Default::default(), limit).unwrap();
    assert!(streamed.streaming().is_some());
    let error = attach(streamed, &config).map(drop).unwrap_err();
    assert!(matches!(error, LoraError::Streamed), "{error}");
}

#[test]
fn nothing_is_overwritten() {
    let config = LoraConfig::new(1, 1.0);
    let dir = tempfile::tempdir().unwrap();
    let error = save_adapter(&load::<Flex>(), &config, dir.path()).unwrap_err();
    assert!(matches!(error, LoraError::NotAttached), "{error}");
    let (model, _) = attach(load::<Flex>(), &config).unwrap();
    let other = LoraConfig::new(2, 1.0);
    let error = save_adapter(&model, &other, dir.path()).unwrap_err();
    assert!(matches!(error, LoraError::OtherRank { found: 1, expected: 2, .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    save_adapter(&model, &config, dir.path()).unwrap();
    let error = save_adapter(&model, &config, dir.path()).unwrap_err();
    assert!(matches!(error, LoraError::Exists { .. }), "{error}");
    let file = dir.path().join("adapter_config.json/beneath");
    let error = save_adapter(&model, &config, file).unwrap_err();
    assert!(matches!(error, LoraError::Write { .. }), "{error}");
}
