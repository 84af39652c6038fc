//! From the names that tools give tensors to those of released checkpoints.
//!
//! | stored | whose it is |
//! | --- | --- |
//! | `model.visual.*`, `model.language_model.*`, `lm_head.*` | released ones: HF's model with its head |
//! | `visual.*`, `language_model.*` | HF's base model, saved without the head (`base_model_prefix`) |
//! | `model.model.*`, `model.lm_head.*` | the model inside another's `model` (HF takes one level off) |
//! | `model.language_model.model.*`, `language_model.model.model.*` | HF 5.10 to 5.22 (`legacy` of its `conversion_mapping.py`) |
//! | `language_model.model.*`, `language_model.lm_head.*`, `visual.*` | vLLM, verl |
//! | `model.layers.*`, `model.embed_tokens.*`, `model.norm.*` | Qwen2-VL's names for the decoder |
//! | `module.*`, `_orig_mod.*`, `_fsdp_wrapped_module.*`, `_checkpoint_wrapped_module.*` | wrappers of PyTorch's, at any depth |
//!
//! HF 5.23 reads the first four. The others come out of trainers that saved what they had in hand; nothing is guessed
//! by reading them, since every name and shape is compared with what the model needs afterwards.

/// Parts of a name that PyTorch's wrappers (`DistributedDataParallel`, `torch.compile`, FSDP, activation checkpoints)
/// put in.
const WRAPPERS: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// What a decoder begins with.
const DECODER: [&str; 3] = ["layers.", "embed_tokens.", "norm."];

/// The released name of what is stored as `stored`; the name itself, where it belongs to no part of the model.
pub(super) fn find_released_name(stored: &str) -> String {
    let parts = stored.strip_prefix("module.").unwrap_or(stored).split('.');
    let name = parts.filter(|part| !WRAPPERS.contains(part)).collect::<Vec<_>>().join(".");
    let inner = strip_all(&name, "model.");
    let decoder = |name: &str| DECODER.iter().any(|start| name.starts_with(start));
    if inner.starts_with("visual.") {
        return format!("model.{inner}");
    }
    if inner.starts_with("lm_head.") {
        return inner.to_owned();
    }
    if let Some(text) = inner.strip_prefix("language_model.") {
        let text = strip_all(text, "model.");
        if text.starts_with("lm_head.") {
            return text.to_owned();
        }
        if decoder(text) {
            return format!("model.language_model.{text}");
        }
    }
    // At least one `model.`: a bare `norm.` may be anyone's.
    if decoder(inner) && inner.len() < name.len() {
        return format!("model.language_model.{inner}");
    }
    stored.to_owned()
}

fn strip_all<'a>(mut name: &'a str, prefix: &str) -> &'a str {
    while let Some(rest) = name.strip_prefix(prefix) {
        name = rest;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::find_released_name;

    #[test]
    fn names_of_every_tool() {
        for (released, stored) in [
            (
                "model.language_model.layers.3.mlp.gate_proj.weight",
                &[
                    "model.language_model.layers.3.mlp.gate_proj.weight",
                    "language_model.layers.3.mlp.gate_proj.weight",
                    "model.model.language_model.layers.3.mlp.gate_proj.weight",
                    "model.language_model.model.layers.3.mlp.gate_proj.weight",
                    "language_model.model.model.layers.3.mlp.gate_proj.weight",
                    "language_model.model.layers.3.mlp.gate_proj.weight",
                    "model.layers.3.mlp.gate_proj.weight",
                    "module.model.language_model.layers.3.mlp.gate_proj.weight",
                    "_orig_mod.model.language_model.layers.3._checkpoint_wrapped_module.mlp.gate_proj.weight",
                    "_fsdp_wrapped_module.model.language_model.layers.3._fsdp_wrapped_module.mlp.gate_proj.weight",
                ][..],
            ),
            (
                "model.visual.blocks.0.attn.qkv.bias",
                &[
                    "visual.blocks.0.attn.qkv.bias",
                    "model.visual.blocks.0.attn.qkv.bias",
                    "model.model.visual.blocks.0.attn.qkv.bias",
                ],
            ),
            (
                "lm_head.weight",
                &[
                    "lm_head.weight",
                    "model.lm_head.weight",
                    "language_model.lm_head.weight",
                    "model.language_model.lm_head.weight",
                ],
            ),
            ("model.language_model.norm.weight", &["model.norm.weight", "language_model.norm.weight"]),
            ("model.language_model.layers.0.x.weight_scale_inv", &["language_model.layers.0.x.weight_scale_inv"]),
        ] {
            for stored in stored {
                assert_eq!(find_released_name(stored), released);
            }
        }
        // No part of the model's.
        for stored in [
            "mtp.layers.0.norm.weight",
            "v_head.summary.weight",
            "vision_tower.merger.norm.bias",
            "norm.weight",
            "model.",
            "",
        ] {
            assert_eq!(find_released_name(stored), stored);
        }
    }
}
