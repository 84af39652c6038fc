//! Experts in every layout.

use super::{assert_loads_as, assert_streams_as, load_error, logits_of, write};
use crate::fixture;
use crate::fp8::{self, Stored, Tensors, stored};

use burn::tensor::DType;
use qwen3_vl_burn::checkpoint::{Checkpoint, CheckpointError, expected_tensors, write_random};
use qwen3_vl_burn::config::{MoeConfig, TextConfig, VisionConfig};
use qwen3_vl_burn::{LoadOptions, Logits, Qwen3Vl, Qwen3VlConfig};
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;

const EXPERTS: &str = ".mlp.experts.";

/// The part of a matrix or of an array of them, `[.., rows, columns]`: of the experts, columns and, if so, transposed.
fn take(array: &Stored, experts: std::ops::Range<usize>, columns: std::ops::Range<usize>, transposed: bool) -> Stored {
    let [_, rows, width] = array.shape[..] else { panic!("{:?}", array.shape) };
    let size = array.bytes.len() / array.shape.iter().product::<usize>();
    let mut bytes = Vec::new();
    let sizes = if transposed { [columns.len(), rows] } else { [rows, columns.len()] };
    for expert in experts.clone() {
        for i in 0..sizes[0] {
            for j in 0..sizes[1] {
                let (row, column) = if transposed { (j, i) } else { (i, j) };
                let at = (expert * rows + row) * width + columns.start + column;
                bytes.extend_from_slice(&array.bytes[size * at..][..size]);
            }
        }
    }
    stored(array.dtype, &[experts.len(), sizes[0], sizes[1]], bytes)
}

/// How experts are written.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Gate and up in one.
    fused: bool,
    /// `[.., out, in]`.
    transposed: bool,
    /// Name of an expert's matrix, from projection and number; `None`, all experts in one.
    each: Option<fn(&str, usize) -> String>,
}

/// `tensors` with the experts of layers that `chosen` accepts in another layout.
fn relay(tensors: &Tensors, layout: Layout, chosen: impl Fn(&str) -> bool) -> Tensors {
    let mut relaid = Tensors::new();
    for (name, array) in tensors {
        let Some((layer, projection)) = name.split_once(EXPERTS).filter(|_| chosen(name)) else {
            relaid.insert(name.clone(), array.clone());
            continue;
        };
        let [count, _, width] = array.shape[..] else { panic!("{name}") };
        let parts = match projection {
            "gate_up_proj" if !layout.fused => vec![("gate_proj", 0..width / 2), ("up_proj", width / 2..width)],
            whole => vec![(whole, 0..width)],
        };
        for (projection, columns) in parts {
            let Some(each) = layout.each else {
                let part = take(array, 0..count, columns, layout.transposed);
                relaid.insert(format!("{layer}{EXPERTS}{projection}"), part);
                continue;
            };
            for expert in 0..count {
                let mut part = take(array, expert..expert + 1, columns.clone(), layout.transposed);
                part.shape.remove(0);
                relaid.insert(format!("{layer}{EXPERTS}{}", each(projection, expert)), part);
            }
        }
    }
    relaid
}

/// As `save_pretrained` of HF 5 writes them.
const HF5: Layout = Layout { fused: true, transposed: true, each: None };

/// Mixtral's names of the projections.
fn mixtral(projection: &str) -> &str {
    match projection {
        "gate_proj" => "w1",
        "up_proj" => "w3",
        "down_proj" => "w2",
        other => other,
    }
}

/// Every layout but the released one.
const LAYOUTS: [Layout; 10] = [
    HF5,
    Layout { fused: false, transposed: true, each: None },
    Layout { fused: false, transposed: false, each: None },
    Layout { fused: false, transposed: true, each: Some(|projection, n| format!("{n}.{projection}.weight")) },
    Layout { fused: false, transposed: true, each: Some(|projection, n| format!("{projection}.{n}")) },
    Layout { fused: false, transposed: true, each: Some(|projection, n| format!("{projection}.{n}.weight")) },
    Layout {
        fused: false,
        transposed: true,
        each: Some(|projection, n| format!("{n}.{}.weight", mixtral(projection))),
    },
    Layout { fused: true, transposed: false, each: Some(|projection, n| format!("{projection}.{n}")) },
    Layout { fused: true, transposed: true, each: Some(|projection, n| format!("{n}.{projection}.weight")) },
    Layout { fused: false, transposed: false, each: Some(|projection, n| format!("{n}.{projection}")) },
];

/// `tiny-moe` as HF 5.23's `save_pretrained` writes it, with the configuration that it writes.
#[test]
fn what_hf_5_saves() {
    let dir = write("tiny-moe", &relay(&fp8::read_fixture("tiny-moe"), HF5, |_| true));
    fs::copy(fixture::folder("hf5").join("config.json"), dir.path().join("config.json")).unwrap();
    assert_loads_as("tiny-moe", dir.path());
    // A base model of it, by its names.
    let tensors = relay(&fp8::read_fixture("tiny-moe"), HF5, |_| true).into_iter();
    let tensors =
        tensors.map(|(name, tensor)| (name.strip_prefix("model.").unwrap_or(&name).to_owned(), tensor)).collect();
    assert_loads_as("tiny-moe", write("tiny-moe", &tensors).path());
}

#[test]
fn every_layout_gives_the_same_numbers() {
    let tensors = fp8::read_fixture("tiny-moe");
    for layout in LAYOUTS {
        println!("{layout:?}");
        let dir = write("tiny-moe", &relay(&tensors, layout, |_| true));
        assert_loads_as("tiny-moe", dir.path());
        assert_streams_as("tiny-moe", dir.path());
    }
    // Some layers of one layout, some of another.
    let some = relay(&tensors, HF5, |name| name.contains("layers.1.") || name.contains("layers.2.mlp.experts.down"));
    assert_loads_as("tiny-moe", write("tiny-moe", &some).path());
    let others = relay(&some, LAYOUTS[3], |name| name.contains("layers.3."));
    assert_loads_as("tiny-moe", write("tiny-moe", &others).path());
}

/// Also in another dtype than the stored one.
#[test]
fn layouts_are_converted() {
    let case = fixture::Case::open("tiny-moe", "image");
    let logits = |dir: &Path| logits_of(dir, &case, LoadOptions::default().with_dtype(DType::BF16)).unwrap();
    let expected = logits(&fixture::folder("tiny-moe"));
    for layout in [HF5, LAYOUTS[3]] {
        let dir = write("tiny-moe", &relay(&fp8::read_fixture("tiny-moe"), layout, |_| true));
        assert_eq!(logits(dir.path()), expected, "{layout:?}");
    }
}

/// Sizes that tell nothing by themselves: `2I = H`, where down tells, and `I = H`, where a fused gate and up does, and
/// linear layers are what linear layers are.
#[test]
fn equal_sizes_are_told_by_the_other_array() {
    const HIDDEN: usize = 32;
    for width in [HIDDEN / 2, HIDDEN] {
        let mut text = TextConfig::new(64, HIDDEN, 48, 2, 2, 1, 16, [4, 2, 2], true);
        text.moe = Some(MoeConfig::new(4, 2, width));
        let vision = VisionConfig::new(1, 16, 16, 2, HIDDEN, vec![0]).with_num_position_embeddings(16);
        let config = Qwen3VlConfig::new(text, vision, 60, 61, 62, 63);
        let folder = tempfile::tempdir().unwrap();
        write_random(&config, folder.path(), DType::F32, 7).unwrap();
        let file = fs::read(folder.path().join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&file).unwrap();
        let read = |(name, view): (&str, safetensors::tensor::TensorView)| {
            (name.to_owned(), stored("F32", view.shape(), view.data().to_vec()))
        };
        let tensors: Tensors = file.iter().map(read).collect();
        let inputs = qwen3_vl_burn::ModelInputs::from_text(vec![1, 5, 9, 33, 2]);
        let logits = |dir: &Path| {
            let model = Qwen3Vl::<burn_flex::Flex>::load(dir, &Default::default(), LoadOptions::default()).unwrap();
            model.forward(&inputs, Logits::All).unwrap().into_data().to_vec::<f32>().unwrap()
        };
        let expected = logits(folder.path());
        // Where I = H, nothing tells the order of separate gate, up and down.
        let told = |layout: &&Layout| layout.fused || layout.transposed || width != HIDDEN;
        for layout in LAYOUTS.iter().filter(told) {
            let dir = write("tiny-moe", &relay(&tensors, *layout, |_| true));
            fs::copy(folder.path().join("config.json"), dir.path().join("config.json")).unwrap();
            assert_eq!(logits(dir.path()), expected, "{width} {layout:?}");
        }
    }
}

/// FP8 experts in other layouts, with their scales the same way round: the values of the released layout, bit for bit.
#[test]
fn fp8_experts_of_every_layout() {
    // Divisors of gate and up, since a scale is of one of them; and one scale for all outputs.
    for block in [[16, 48], [24, 96], [128, 128]] {
        let (quantized, _) = fp8::quantize_fixture("tiny-moe", block);
        let released = fp8::write("tiny-moe", &quantized, Some(fp8::fp8_json(Some(block))));
        let (config, expected) = fp8::open(released.path());
        let array = |name: &str| quantized[&format!("{name}_scale_inv")].clone();
        for layout in LAYOUTS {
            let weights =
                quantized.iter().filter(|(name, _)| !(name.contains(EXPERTS) && name.ends_with("_scale_inv")));
            let weights: Tensors = weights.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
            let mut relaid = relay(&weights, layout, |_| true);
            let arrays = weights.keys().filter(|name| name.contains(EXPERTS));
            let scales: Tensors = arrays.map(|name| (name.clone(), array(name))).collect();
            relaid.extend(relay_scales(scales, layout, block[0]));
            let dir = fp8::write("tiny-moe", &relaid, Some(fp8::fp8_json(Some(block))));
            let (_, found) = fp8::open(dir.path());
            let found = found.arranged_for(&config).unwrap();
            found.check(&expected_tensors(&config)).unwrap();
            for name in expected.names().filter(|name| name.contains(EXPERTS) && name.ends_with("_proj")) {
                let shape = expected.shape(name).unwrap();
                for target in [None, Some(DType::F32)] {
                    let load = |checkpoint: &Checkpoint| checkpoint.tensor_data(name, shape, target).unwrap();
                    assert!(load(&found).as_bytes() == load(&expected).as_bytes(), "{name} {layout:?} {block:?}");
                }
            }
        }
    }
}

/// HF's FP8 experts have a scale each for gate and up where a block is larger than both: `[E, 2, ..]`.
#[test]
fn gate_and_up_have_a_scale_each() {
    let (quantized, _) = fp8::quantize_fixture("tiny-moe", [48, 128]);
    let released = fp8::write("tiny-moe", &quantized, Some(fp8::fp8_json(Some([48, 128]))));
    let (config, expected) = fp8::open(released.path());
    let mut relaid = relay(&quantized, HF5, |name| name.contains(EXPERTS));
    relaid.iter_mut().filter(|(name, _)| name.ends_with("gate_up_proj_scale_inv")).for_each(|(_, scales)| {
        assert_eq!(scales.shape, [8, 2, 1]);
        scales.bytes.chunks_exact(8).for_each(|pair| assert_ne!(pair[..4], pair[4..]));
    });
    let dir = fp8::write("tiny-moe", &relaid, Some(fp8::fp8_json(Some([128, 128]))));
    let found = fp8::open(dir.path()).1.arranged_for(&config).unwrap();
    for layer in 0..4 {
        let name = format!("model.language_model.layers.{layer}.mlp.experts.gate_up_proj");
        let load = |checkpoint: &Checkpoint| checkpoint.tensor_data(&name, &[8, 64, 96], None).unwrap();
        assert!(load(&found).as_bytes() == load(&expected).as_bytes(), "{name}");
    }
}

/// Scales of the released layout in another; `block` outputs share one.
fn relay_scales(scales: Tensors, layout: Layout, block: usize) -> Tensors {
    let mut relaid = Tensors::new();
    for (name, array) in scales {
        let (layer, projection) = name.split_once(EXPERTS).unwrap();
        let [count, _, blocks] = array.shape[..] else { panic!("{name}") };
        let parts = match projection {
            "gate_up_proj" if !layout.fused => {
                // 48 outputs each; where all share one scale, it is both's.
                let half = if blocks == 1 { [0..1, 0..1] } else { [0..48 / block, 48 / block..blocks] };
                vec![("gate_proj", half[0].clone()), ("up_proj", half[1].clone())]
            }
            whole => vec![(whole, 0..blocks)],
        };
        for (projection, columns) in parts {
            let Some(each) = layout.each else {
                let part = take(&array, 0..count, columns, layout.transposed);
                relaid.insert(format!("{layer}{EXPERTS}{projection}_scale_inv"), part);
                continue;
            };
            for expert in 0..count {
                let mut part = take(&array, expert..expert + 1, columns.clone(), layout.transposed);
                part.shape.remove(0);
                relaid.insert(format!("{layer}{EXPERTS}{}_scale_inv", each(projection, expert)), part);
            }
        }
    }
    relaid
}

/// What is missing of experts is named as those that are there are; shapes and surplus too.
#[test]
fn experts_that_do_not_fit() {
    let prefix = "model.language_model.layers.2.mlp.experts.";
    let each = |layout| relay(&fp8::read_fixture("tiny-moe"), layout, |_| true);
    let report = |tensors: &Tensors| match load_error(write("tiny-moe", tensors).path()) {
        CheckpointError::Mismatch { report, .. } => report,
        other => panic!("{other:?}"),
    };
    let mut tensors = each(LAYOUTS[3]);
    tensors.remove(&format!("{prefix}5.up_proj.weight")).unwrap();
    tensors.remove(&format!("{prefix}7.down_proj.weight")).unwrap();
    let wrong = report(&tensors);
    assert_eq!(wrong.missing, [format!("{prefix}5.up_proj.weight"), format!("{prefix}7.down_proj.weight")]);
    assert!(wrong.surplus.is_empty() && wrong.misshaped.is_empty(), "{wrong}");

    let mut tensors = each(LAYOUTS[4]);
    tensors.remove(&format!("{prefix}up_proj.0")).unwrap();
    assert_eq!(report(&tensors).missing, [format!("{prefix}up_proj.0")]);

    let mut tensors = each(LAYOUTS[3]);
    tensors.get_mut(&format!("{prefix}3.gate_proj.weight")).unwrap().shape = vec![24, 128];
    let wrong = report(&tensors);
    let [misshaped] = &wrong.misshaped[..] else { panic!("{wrong}") };
    assert_eq!(misshaped.name, format!("{prefix}3.gate_proj.weight"));
    assert_eq!((&misshaped.expected[..], &misshaped.found[..]), (&[48, 64][..], &[24, 128][..]));

    // An array of no layout is reported as the released one.
    let mut tensors = each(HF5);
    tensors.get_mut(&format!("{prefix}gate_up_proj")).unwrap().shape = vec![8, 48, 128];
    let wrong = report(&tensors);
    assert_eq!(wrong.misshaped[0].expected, [8, 64, 96]);

    // Experts beyond those that the model has do no harm to the others.
    let mut tensors = each(LAYOUTS[3]);
    tensors.insert(format!("{prefix}8.up_proj.weight"), tensors[&format!("{prefix}7.up_proj.weight")].clone());
    assert_loads_as("tiny-moe", write("tiny-moe", &tensors).path());
}
