//! What is known of checkpoints that aren't read.

use std::fmt;

/// What a folder holds in place of the model's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignFormat {
    /// MLX's names (`vision_tower.*`), its packed integers, or its patch convolution `[out, t, h, w, in]`.
    Mlx {
        /// Whether the channels of the patch convolution come last, as MLX computes; otherwise they come second.
        channels_last: bool,
        /// Whether its weights are packed integers.
        quantized: bool,
    },
    /// A base model's weights and adapter weights that were not merged into them (PEFT).
    UnmergedAdapter,
    /// An adapter without a base model (PEFT).
    Adapter,
}

impl fmt::Display for ForeignFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Mlx { channels_last, quantized } => {
                let layout = if channels_last { "[out, t, h, w, in]" } else { "[out, in, t, h, w]" };
                let packed = if quantized { " and weights packed to integers" } else { "" };
                write!(
                    f,
                    "an MLX checkpoint (MLX-VLM's names or layout, its patch convolution {layout}{packed}), which is \
                     not supported: use the checkpoint that it was converted from"
                )
            }
            Self::UnmergedAdapter => f.write_str(
                "a PEFT checkpoint whose adapter is not merged into its base model (names with base_model.model., \
                 base_layer. or lora_), which is not supported: merge it (PEFT: merge_and_unload) and save the result",
            ),
            Self::Adapter => f.write_str(
                "a PEFT adapter (adapter_config.json) without the weights of its base model: give the folder of the base \
                 model, and this one as its adapter (--model BASE --adapter THIS; in code LoadOptions::with_adapter)",
            ),
        }
    }
}
