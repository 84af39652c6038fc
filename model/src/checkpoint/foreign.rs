//! Checkpoints that aren't the model's weights in any layout that is read, but are known: the error says what they are.

use super::{Checkpoint, CheckpointError, ForeignFormat};

/// In the names of adapters' tensors: LoRA and DoRA, embeddings, IA³, prompts, and PEFT's wrapper of what it adapts.
const ADAPTER_PARTS: [&str; 10] = [
    ".lora_A.",
    ".lora_B.",
    ".lora_embedding_A",
    ".lora_embedding_B",
    ".lora_magnitude_vector",
    ".lora_E.",
    ".ia3_l.",
    ".base_layer.",
    ".modules_to_save.",
    "prompt_embeddings",
];

impl Checkpoint {
    /// An error for a checkpoint with unmerged adapters: without them its weights are another model's.
    pub(super) fn refuse_unmerged(&self) -> Result<(), CheckpointError> {
        let adapts =
            |name: &str| name.contains("base_model.model.") || ADAPTER_PARTS.iter().any(|part| name.contains(part));
        if !self.names().any(adapts) {
            return Ok(());
        }
        let format = ForeignFormat::UnmergedAdapter;
        Err(CheckpointError::Foreign { dir: self.dir().to_owned(), format })
    }

    /// Another error than `mismatch`, if the checkpoint is MLX's.
    pub(super) fn name_foreign(&self, mismatch: CheckpointError) -> CheckpointError {
        match self.find_mlx() {
            Some(format) => CheckpointError::Foreign { dir: self.dir().to_owned(), format },
            None => mismatch,
        }
    }

    fn find_mlx(&self) -> Option<ForeignFormat> {
        // Packed weights come with scales and biases for each group: `q_proj.{weight, scales, biases}`.
        let packed = |name: &str| {
            let module = name.strip_suffix(".scales");
            module.is_some_and(|module| self.contains(&format!("{module}.biases")))
        };
        let quantized = self.names().any(packed);
        let named = self.names().any(|name| name.starts_with("vision_tower.") || name.contains(".switch_mlp."));
        let patches = self.names().find(|name| name.ends_with("patch_embed.proj.weight"));
        // The square patch comes last but one, where HF has it last.
        let channels_last = patches
            .and_then(|name| self.shape(name).ok())
            .is_some_and(|shape| matches!(*shape, [_, _, h, w, channels] if h == w && w != channels));
        (quantized || named || channels_last).then_some(ForeignFormat::Mlx { channels_last, quantized })
    }
}
