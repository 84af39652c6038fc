//! `apply_low_level_optimizations` and its parts: the same numbers, packed weights, and the way back.

use crate::fixture::{self, Case};
use crate::fixture_cases::{check_greedy, check_logits, check_vision};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Distribution, Tensor, TensorData, TensorPrimitive};
use burn_flex::Flex;
use burn_kiln::config::{StreamingConfig, Technique};
use burn_kiln::{Kiln, OptimizationConfig, transfer};
use burn_kiln_fusion::KvCache;
use qwen3_vl_burn::layers::RmsNormConfig;
use qwen3_vl_burn::optimized::{
    Block, Explanation, OptimizedAttention, OptimizedDecoderLayer, OptimizedMlp, OptimizedVisionBlock,
    OptimizedVisionMlp, explain,
};
use qwen3_vl_burn::{Error, LoadOptions, Logits, Qwen3Vl, apply_low_level_optimizations, undo_low_level_optimizations};
use std::collections::BTreeMap;

fn load(checkpoint: &str, dtype: Option<DType>) -> Qwen3Vl<Flex> {
    let options = LoadOptions { dtype, ..LoadOptions::default() };
    Qwen3Vl::load(fixture::folder(checkpoint), &Default::default(), options).unwrap()
}

/// All techniques, each alone, each left out, none, and the small machine's.
fn every_config() -> Vec<(String, OptimizationConfig)> {
    let whole = [
        ("all", OptimizationConfig::detect()),
        ("none", OptimizationConfig::none()),
        ("i5-10210U", OptimizationConfig::i5_10210u()),
    ];
    let whole = whole.into_iter().map(|(name, config)| (name.to_owned(), config));
    let alone = Technique::ALL.map(|technique| (format!("{technique} alone"), OptimizationConfig::only(technique)));
    let without = Technique::ALL
        .map(|technique| (format!("without {technique}"), OptimizationConfig::detect().without(technique)));
    whole.chain(alone).chain(without).collect()
}

#[test]
fn every_technique_gives_hfs_numbers() {
    for (checkpoint, case) in [("tiny-dense", "image"), ("tiny-moe", "image"), ("tiny-mixed", "image")] {
        let case = Case::open(checkpoint, case);
        for (name, config) in every_config() {
            println!("{checkpoint}, {name}");
            let model = apply_low_level_optimizations(load(checkpoint, None), &config).unwrap();
            check_vision(&model, &case);
            check_logits(&model, &case);
        }
    }
}

#[test]
fn optimized_models_write_hfs_answers() {
    for (checkpoint, names) in [
        ("tiny-dense", &["text", "image", "two-images", "video"][..]),
        ("tiny-moe", &["image"]),
        ("tiny-mixed", &["image"]),
    ] {
        let model = apply_low_level_optimizations(load(checkpoint, None), &OptimizationConfig::detect()).unwrap();
        for name in names {
            check_greedy(&model, &Case::open(checkpoint, name), checkpoint);
        }
    }
}

/// Every parameter's path, dtype and bytes.
#[derive(Default)]
struct Collector {
    path: Vec<String>,
    found: BTreeMap<String, TensorData>,
}

impl<B: Backend> ModuleVisitor<B> for Collector {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.found.insert(self.path.join("."), param.val().into_data());
    }
}

fn collect<B: Backend>(module: &impl Module<B>) -> BTreeMap<String, TensorData> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.found
}

fn count_packed(model: &mut Qwen3Vl<Kiln<Flex>>) -> (usize, usize) {
    let (mut packed, mut all) = (0, 0);
    model.visit_weights(&mut |_, weight| {
        packed += usize::from(weight.is_packed());
        all += 1;
    });
    (packed, all)
}

#[test]
fn undo_gives_the_checkpoints_bits() {
    for checkpoint in ["tiny-dense", "tiny-moe", "tiny-mixed"] {
        for dtype in [None, Some(DType::BF16)] {
            let before = collect(&load(checkpoint, dtype));
            let mut model =
                apply_low_level_optimizations(load(checkpoint, dtype), &OptimizationConfig::detect()).unwrap();
            let (packed, all) = count_packed(&mut model);
            assert!(packed == all && all > 20, "{packed} of {all} are packed");
            let after = collect(&undo_low_level_optimizations(model).unwrap());
            assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
            for (path, data) in &before {
                assert_eq!(
                    (data.dtype, data.bytes.as_ref() as &[u8]),
                    (after[path].dtype, after[path].bytes.as_ref() as &[u8]),
                    "{path}"
                );
            }
        }
    }
}

/// Two models with different configurations in one process: each gives what it gives alone, in any order.
#[test]
fn models_keep_their_own_configuration() {
    let inputs = Case::open("tiny-dense", "image").inputs();
    let run = |model: &Qwen3Vl<Kiln<Flex>>| model.forward(&inputs, Logits::All).unwrap().into_data();
    let make = |config: &OptimizationConfig| apply_low_level_optimizations(load("tiny-dense", None), config).unwrap();
    let (small, large) = (OptimizationConfig::i5_10210u().without(Technique::Fusion), OptimizationConfig::detect());
    let (alone_small, alone_large) = (run(&make(&small)), run(&make(&large)));
    let (a, b) = (make(&small), make(&large));
    for _ in 0..2 {
        assert_eq!(run(&a), alone_small);
        assert_eq!(run(&b), alone_large);
    }
    assert_eq!(*a.kernel_config(), small.kernels());
    assert_eq!(*b.kernel_config(), large.kernels());
}

#[test]
fn switching_packing_off_unpacks() {
    let mut model = apply_low_level_optimizations(load("tiny-dense", None), &OptimizationConfig::detect()).unwrap();
    assert_eq!(count_packed(&mut model).0, count_packed(&mut model).1);
    let mut model = model.optimize(&OptimizationConfig::detect().without(Technique::Packing)).unwrap();
    assert_eq!(count_packed(&mut model).0, 0);
}

#[test]
fn values_out_of_range_are_refused() {
    let mut config = OptimizationConfig::detect();
    config.streaming = StreamingConfig { memory_limit: Some(bytesize::ByteSize(0)), ..StreamingConfig::default() };
    let error = apply_low_level_optimizations(load("tiny-dense", None), &config).unwrap_err();
    let Error::Optimization(error) = error else { panic!("{error}") };
    assert!(error.to_string().contains("streaming.memory_limit"), "{error}");
}

fn max_difference(a: Tensor<Flex, 3>, b: Tensor<Kiln<Flex>, 3>) -> f32 {
    let (a, b) = (a.into_data().to_vec::<f32>().unwrap(), b.into_data().to_vec::<f32>().unwrap());
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The same tensor on Kiln.
fn move_over<const D: usize>(x: &Tensor<Flex, D>) -> Tensor<Kiln<Flex>, D> {
    Tensor::from_primitive(TensorPrimitive::Float(x.clone().into_primitive().tensor()))
}

/// Each component alone computes what the plain block computes, and gives it back.
#[test]
fn components_compute_what_their_blocks_compute() {
    use burn_kiln_fusion::{AttentionOptions, Rotary};
    use qwen3_vl_burn::text::LayerContext;

    let config = OptimizationConfig::detect();
    let model = load("tiny-dense", None);
    let device = model.device();
    let hidden = model.config().text.hidden_size;
    let x = Tensor::<Flex, 3>::random([1, 5, hidden], Distribution::Normal(0.0, 1.0), &device);
    let positions = std::array::from_fn(|_| (0..5).collect());
    let rotary = model.language_model.rotary.forward(&positions, &[positions[0].len()], &device);
    let kiln_rotary = Rotary { cos: move_over(&rotary.cos), sin: move_over(&rotary.sin) };
    let causal = AttentionOptions { causal: true, ..Default::default() };
    let kernels = model.kernel_config().clone();
    let context = LayerContext { rotary: &rotary, attention: &causal, lengths: &[5], kernels: &kernels };
    let layer = model.language_model.layers[0].clone();

    let expected = layer.forward(x.clone(), &context, vec![]);
    let fast = OptimizedDecoderLayer::<Flex>::new(layer.clone(), &config).unwrap();
    assert!(max_difference(expected.clone(), fast.forward(move_over(&x), &kiln_rotary, None)) < 1e-4);
    let mut cache = KvCache::new(8, DType::F32);
    assert!(max_difference(expected, fast.forward(move_over(&x), &kiln_rotary, Some(&mut cache))) < 1e-4);
    assert_eq!(cache.len(), 5);
    let back: qwen3_vl_burn::text::DecoderLayer<Flex> = fast.undo().unwrap();
    assert_eq!(collect(&back), collect(&layer));

    let norm = &layer.input_layernorm;
    let kiln_norm = RmsNormConfig::new(hidden).with_epsilon(norm.epsilon).init::<Kiln<Flex>>(&device);
    let kiln_norm = transfer::<Flex, Kiln<Flex>, _, _>(norm.clone(), kiln_norm).unwrap();
    let expected = layer.mlp.forward(x.clone(), x.clone(), norm, &kernels);
    let fast = OptimizedMlp::<Flex>::new(layer.mlp.clone(), &config).unwrap();
    assert!(max_difference(expected, fast.forward(move_over(&x), move_over(&x), &kiln_norm)) < 1e-4);
    let expected = layer.self_attn.forward(x.clone(), norm, &context, vec![]);
    let fast = OptimizedAttention::<Flex>::new(layer.self_attn.clone(), &config).unwrap();
    assert!(max_difference(expected, fast.forward(move_over(&x), &kiln_norm, &kiln_rotary, None)) < 1e-4);

    let block = model.visual.blocks[0].clone();
    let width = model.config().vision.hidden_size;
    let x = Tensor::<Flex, 3>::random([1, 16, width], Distribution::Normal(0.0, 1.0), &device);
    let angles =
        Tensor::<Flex, 3>::random([1, 16, model.config().vision.head_dim() / 2], Distribution::Default, &device);
    let rotary = Rotary { cos: angles.clone().cos(), sin: angles.sin() };
    let kiln_rotary = Rotary { cos: move_over(&rotary.cos), sin: move_over(&rotary.sin) };
    let expected = block.forward(x.clone(), &rotary, &Default::default(), &kernels);
    let fast = OptimizedVisionBlock::<Flex>::new(block.clone(), &config).unwrap();
    assert!(max_difference(expected, fast.forward(move_over(&x), &kiln_rotary, &Default::default())) < 1e-4);
    let expected = block.mlp.forward(x.clone(), x.clone(), &kernels);
    let fast = OptimizedVisionMlp::<Flex>::new(block.mlp, &config).unwrap();
    assert!(max_difference(expected, fast.forward(move_over(&x), move_over(&x))) < 1e-4);
}

#[test]
fn plans_of_a_model_can_be_read() {
    let explain_with = |config: &OptimizationConfig| {
        explain(&apply_low_level_optimizations(load("tiny-dense", None), config).unwrap(), &[1, 512])
    };
    let all = explain_with(&OptimizationConfig::detect());
    let find = |explanation: &Explanation, name: &str| {
        let op =
            explanation.ops.iter().find(|op| op.name == name).unwrap_or_else(|| panic!("no {name}: {explanation}"));
        op.plans.clone()
    };
    for (name, kernel) in [
        ("norm, queries, keys and values", "one op"),
        ("head norms, rotation, cache append", "part of the attention's op"),
        ("attention over 128 keys", "tiled attention as one op"),
        ("residual and norm, where they are not the MLP's", "in one pass"),
        ("gated MLP", "one op, gate, up and SiLU"),
        ("embedding", "one pass"),
        ("softmax of logits", "blocked softmax"),
    ] {
        assert!(find(&all, name)[0].1.contains(kernel), "{name}: {all}");
    }
    let mixture =
        explain(&apply_low_level_optimizations(load("tiny-moe", None), &OptimizationConfig::detect()).unwrap(), &[3]);
    assert!(find(&mixture, "mixture of experts")[0].1.contains("as one op"), "{mixture}");
    let query = all.products.iter().find(|product| product.path == "language_model.layers.*.self_attn.q_proj").unwrap();
    assert_eq!(query.layers, load("tiny-dense", None).language_model.layers.len());
    assert!(query.plans.iter().all(|(_, plan)| plan.starts_with("f32 packed")), "{all}");
    let text = all.to_string();
    assert!(text.contains("512 rows") && text.contains("dot products") && text.contains("blocks"), "{text}");

    let none = explain_with(&OptimizationConfig::none());
    let others = |plan: &str| plan.contains("decorated backend's") || plan.starts_with("op by op");
    assert!(none.ops.iter().flat_map(|op| &op.plans).all(|(_, plan)| others(plan)), "{none}");
    let mut composed = OptimizationConfig::detect();
    composed.fusion.attention = false;
    let composed = explain_with(&composed);
    assert_eq!(find(&composed, "attention over 128 keys")[0].1, "op by op: fusion.attention is off");
    assert!(none.products.iter().all(|product| product.plans[0].1.contains("decorated backend")), "{none}");
}
