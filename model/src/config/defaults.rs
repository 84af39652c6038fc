//! What HF's configuration classes fill in where `config.json` leaves a key out.
//!
//! | class | table |
//! | --- | --- |
//! | `Qwen3VLTextConfig` | [`DENSE`] |
//! | `Qwen3VLMoeTextConfig` | [`SPARSE`] |
//! | `Qwen3VLVisionConfig`, `Qwen3VLMoeVisionConfig` | [`VISION`] |
//! | `Qwen3VLConfig`, `Qwen3VLMoeConfig` | the token ids |
//!
//! They are no released model's sizes, so a checkpoint whose configuration leaves a size out mostly fails the
//! comparison of its shapes, which names them; what has one value in all models (`in_channels`, `hidden_act`, ..) is
//! right. `tests/fixtures/config/defaults.json` has the classes' fields as HF 5.23's source gives them.

/// Placeholder of an image token.
pub(super) const IMAGE_TOKEN: u32 = 151_655;
/// Placeholder of a video token.
pub(super) const VIDEO_TOKEN: u32 = 151_656;
/// Token before an image.
pub(super) const VISION_START_TOKEN: u32 = 151_652;
/// Token after an image.
pub(super) const VISION_END_TOKEN: u32 = 151_653;

/// Defaults of a text decoder.
pub(super) struct TextDefaults {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: usize,
    /// `None` where it follows from the width and the number of heads.
    pub(super) head_dim: Option<usize>,
    pub(super) max_position_embeddings: usize,
}

/// A decoder without experts.
pub(super) const DENSE: TextDefaults = TextDefaults {
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    head_dim: Some(128),
    max_position_embeddings: 128_000,
};

/// A decoder with experts.
pub(super) const SPARSE: TextDefaults = TextDefaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    head_dim: None,
    max_position_embeddings: 128_000,
};

/// Activation of a decoder.
pub(super) const TEXT_ACT: &str = "silu";
/// Added to the mean square in RMS norms.
pub(super) const RMS_NORM_EPS: f64 = 1e-6;
/// Base of the rotary frequencies (`default_theta`).
pub(super) const ROPE_THETA: f64 = 500_000.0;
/// Frequencies of time, height and width; the model's code has it, not the class.
pub(super) const MROPE_SECTION: [usize; 3] = [24, 20, 20];

/// Experts in a layer.
pub(super) const EXPERTS: usize = 60;
/// Experts that a token goes to.
pub(super) const EXPERTS_PER_TOKEN: usize = 4;
/// Width of an expert.
pub(super) const EXPERT_WIDTH: usize = 1408;
/// Every how many layers there are experts.
pub(super) const SPARSE_STEP: usize = 1;

/// Defaults of a vision tower.
pub(super) struct VisionDefaults {
    pub(super) depth: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_heads: usize,
    pub(super) out_hidden_size: usize,
    pub(super) deepstack_visual_indexes: [usize; 3],
    pub(super) in_channels: usize,
    pub(super) patch_size: usize,
    pub(super) temporal_patch_size: usize,
    pub(super) spatial_merge_size: usize,
    pub(super) num_position_embeddings: usize,
    pub(super) hidden_act: &'static str,
}

/// A vision tower.
pub(super) const VISION: VisionDefaults = VisionDefaults {
    depth: 27,
    hidden_size: 1152,
    intermediate_size: 4304,
    num_heads: 16,
    out_hidden_size: 3584,
    deepstack_visual_indexes: [8, 16, 24],
    in_channels: 3,
    patch_size: 16,
    temporal_patch_size: 2,
    spatial_merge_size: 2,
    num_position_embeddings: 2304,
    hidden_act: "gelu_pytorch_tanh",
};
