//! Names of the same tensors.

use super::{assert_loads_as, assert_streams_as, load_error, rename, write};
use crate::fp8;

use qwen3_vl_burn::checkpoint::CheckpointError;

/// Two prefixes replaced.
fn with_prefixes(text: &str, vision: &str) -> impl Fn(&str) -> Option<String> {
    move |name| {
        let text = name.strip_prefix("model.language_model.").map(|rest| format!("{text}{rest}"));
        Some(
            text.or_else(|| Some(format!("{vision}{}", name.strip_prefix("model.visual.")?)))
                .unwrap_or(name.to_owned()),
        )
    }
}

/// HF's base model saved without a head, and the other names that its key mapping reads: one level more of
/// `base_model_prefix`, and what HF 5.10 to 5.22 saved.
#[test]
fn names_that_hf_reads() {
    for (text, vision) in [
        ("language_model.", "visual."),
        ("model.model.language_model.", "model.model.visual."),
        ("model.language_model.model.", "model.visual."),
        ("language_model.model.model.", "visual."),
    ] {
        let dir = write("tiny-dense", &rename("tiny-dense", with_prefixes(text, vision)));
        assert_loads_as("tiny-dense", dir.path());
        assert_streams_as("tiny-dense", dir.path());
    }
}

/// vLLM's names, Qwen2-VL's, and those of PyTorch's wrappers.
#[test]
fn names_that_trainers_write() {
    for (text, vision) in [
        ("language_model.model.", "visual."),
        ("model.", "visual."),
        ("module.model.language_model.", "module.model.visual."),
        ("_orig_mod.model.language_model.", "_orig_mod.model.visual."),
        ("_fsdp_wrapped_module.model.language_model._fsdp_wrapped_module.", "_fsdp_wrapped_module.model.visual."),
    ] {
        assert_loads_as("tiny-dense", write("tiny-dense", &rename("tiny-dense", with_prefixes(text, vision))).path());
    }
    // An untied head, in the same wrapping.
    let head = |name: &str| match name {
        "lm_head.weight" => Some("language_model.lm_head.weight".to_owned()),
        name => with_prefixes("language_model.model.", "visual.")(name),
    };
    assert_loads_as("tiny-moe", write("tiny-moe", &rename("tiny-moe", head)).path());
}

/// Of a tied model only the head was saved: HF ties the embedding to it.
#[test]
fn a_tied_head_is_the_embedding() {
    let head = |name: &str| {
        let embedding = name == "model.language_model.embed_tokens.weight";
        Some(if embedding { "lm_head.weight".to_owned() } else { name.to_owned() })
    };
    let dir = write("tiny-dense", &rename("tiny-dense", head));
    assert_loads_as("tiny-dense", dir.path());
    assert_streams_as("tiny-dense", dir.path());
}

/// A base model of which the configuration does not say that its head is the embedding lacks a head. HF makes a random
/// one.
#[test]
fn an_untied_base_model_lacks_its_head() {
    let headless =
        |name: &str| (name != "lm_head.weight").then(|| with_prefixes("language_model.", "visual.")(name)).flatten();
    let error = load_error(write("tiny-moe", &rename("tiny-moe", headless)).path());
    let CheckpointError::Mismatch { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!((&report.missing[..], report.misshaped.len()), (&["lm_head.weight".to_owned()][..], 0));
}

/// The same tensor under two names: the released one counts, and of two others none is chosen.
#[test]
fn a_tensor_with_two_names() {
    const NORM: &str = "model.language_model.norm.weight";
    let mut tensors = fp8::read_fixture("tiny-dense");
    let mut other = tensors[NORM].clone();
    other.bytes.fill(0);
    tensors.insert("language_model.norm.weight".into(), other);
    assert_loads_as("tiny-dense", write("tiny-dense", &tensors).path());

    let norm = tensors.remove(NORM).unwrap();
    tensors.insert("model.norm.weight".into(), norm);
    let error = load_error(write("tiny-dense", &tensors).path());
    let CheckpointError::SameTensor { tensor, first, second } = &error else { panic!("{error:?}") };
    assert_eq!(
        [tensor.as_str(), first.as_str(), second.as_str()],
        [NORM, "language_model.norm.weight", "model.norm.weight"]
    );
}

/// Errors name tensors as they are called in the file.
#[test]
fn errors_have_the_names_of_the_file() {
    let mut tensors = rename("tiny-dense", with_prefixes("language_model.", "visual."));
    tensors.get_mut("language_model.layers.1.mlp.down_proj.weight").unwrap().shape.reverse();
    let error = load_error(write("tiny-dense", &tensors).path());
    let CheckpointError::Mismatch { report, .. } = &error else { panic!("{error:?}") };
    assert_eq!(report.misshaped[0].name, "language_model.layers.1.mlp.down_proj.weight");
}
