//! Which layers keep their tapes.

use qwen3_vl_burn::Qwen3VlConfig;

/// What a layer keeps between the forward pass and its turn in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All that its backward needs: no layer runs twice.
    Tape,
    /// Its input: it runs again.
    Input,
}

/// What each layer keeps, and how much of the logits exists at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPlan {
    /// Blocks of the vision tower.
    pub vision: Vec<Keep>,
    /// Decoder layers.
    pub text: Vec<Keep>,
    /// Positions whose logits exist at one time.
    pub loss_chunk: usize,
}

/// Positions whose logits exist at one time, where nothing else is asked for.
pub(crate) const LOSS_CHUNK: usize = 256;

impl LayerPlan {
    /// Every layer keeps the same.
    pub fn uniform(config: &Qwen3VlConfig, keep: Keep) -> Self {
        Self {
            vision: vec![keep; config.vision.depth],
            text: vec![keep; config.text.num_hidden_layers],
            loss_chunk: LOSS_CHUNK,
        }
    }
}
