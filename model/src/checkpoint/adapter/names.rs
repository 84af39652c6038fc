//! From the names of an adapter's tensors to the modules of the model, and back.

use crate::checkpoint::names::find_released_name;

/// What PEFT puts before a module's name in the model that it adapts.
const PREFIX: &str = "base_model.model.";

/// Which matrix of a module a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

/// Endings of the matrices' names. Files that PEFT saves leave the adapter's name out; those of trainers that save the
/// model's own tensors have it.
const ENDINGS: [(&str, Side); 4] = [
    (".lora_A.weight", Side::A),
    (".lora_B.weight", Side::B),
    (".lora_A.default.weight", Side::A),
    (".lora_B.default.weight", Side::B),
];

/// A matrix by its tensor's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdapterName {
    /// The released name of its module.
    pub(super) module: String,
    /// The module's name in the model that was adapted, which the settings' patterns are of.
    pub(super) stored_module: String,
    pub(super) side: Side,
}

/// What the tensor `name` is; `None` for anything but a LoRA matrix.
pub(super) fn read_name(name: &str) -> Option<AdapterName> {
    let (module, side) = ENDINGS.iter().find_map(|(end, side)| Some((name.strip_suffix(end)?, *side)))?;
    let stored = module.strip_prefix(PREFIX).unwrap_or(module);
    let released = find_released_name(&format!("{stored}.weight"));
    let module = released.strip_suffix(".weight").unwrap_or(&released).to_owned();
    Some(AdapterName { module, stored_module: stored.to_owned(), side })
}

/// The name in PEFT's files of matrix `A` or `B` (`side`) of the module with this released name.
///
/// ```
/// use qwen3_vl_burn::checkpoint::name_adapter_tensor;
/// let name = name_adapter_tensor("model.visual.blocks.0.attn.qkv", 'B');
/// assert_eq!(name, "base_model.model.model.visual.blocks.0.attn.qkv.lora_B.weight");
/// ```
pub fn name_adapter_tensor(module: &str, side: char) -> String {
    format!("{PREFIX}{module}.lora_{side}.weight")
}

/// Whether the module with this released name can have an adapter: linear layers and the patch embedding, but not the
/// router of a mixture of experts, which is no linear layer in HF.
pub fn is_adaptable(module: &str) -> bool {
    !module.ends_with(".mlp.gate") && !module.ends_with("_embed") && !module.ends_with("embed_tokens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_writer() {
        let module = "model.language_model.layers.3.self_attn.q_proj";
        for stored in [
            "base_model.model.model.language_model.layers.3.self_attn.q_proj.lora_A.weight",
            "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight",
            "base_model.model.model.language_model.layers.3.self_attn.q_proj.lora_A.default.weight",
            "base_model.model.language_model.layers.3.self_attn.q_proj.lora_A.weight",
            "model.language_model.layers.3.self_attn.q_proj.lora_A.weight",
        ] {
            let name = read_name(stored).unwrap();
            assert_eq!((name.module.as_str(), name.side), (module, Side::A), "{stored}");
        }
        let name = read_name(&name_adapter_tensor("model.visual.merger.linear_fc1", 'B')).unwrap();
        assert_eq!((name.module.as_str(), name.side), ("model.visual.merger.linear_fc1", Side::B));
        assert_eq!(name.stored_module, name.module);
        assert_eq!(read_name(&name_adapter_tensor("lm_head", 'A')).unwrap().module, "lm_head");
        for other in ["base_model.model.lm_head.weight", "a.lora_magnitude_vector.weight", "a.lora_B.bias", "lora_A.weight"]
        {
            assert_eq!(read_name(other), None, "{other}");
        }
    }
}
