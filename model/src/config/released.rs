//! The released dense sizes, for checkpoints that are made instead of downloaded. Source: the models' `config.json`.

use super::{Qwen3VlConfig, TextConfig, VisionConfig};

/// A released dense size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReleasedSize {
    /// 2.1 billion parameters, tied head.
    B2,
    /// 4.4 billion parameters, tied head.
    B4,
    /// 8.8 billion parameters.
    B8,
    /// 33 billion parameters.
    B32,
}

/// Vocabulary of every released size.
const VOCAB_SIZE: usize = 151_936;

impl Qwen3VlConfig {
    /// The configuration of a released size.
    pub fn released(size: ReleasedSize) -> Self {
        // Hidden, intermediate, layers, query heads.
        let (hidden, intermediate, layers, heads, tied) = match size {
            ReleasedSize::B2 => (2048, 6144, 28, 16, true),
            ReleasedSize::B4 => (2560, 9728, 36, 32, true),
            ReleasedSize::B8 => (4096, 12_288, 36, 32, false),
            ReleasedSize::B32 => (5120, 25_600, 64, 64, false),
        };
        let vision = match size {
            ReleasedSize::B2 | ReleasedSize::B4 => VisionConfig::new(24, 1024, 4096, 16, hidden, vec![5, 11, 17]),
            ReleasedSize::B8 | ReleasedSize::B32 => VisionConfig::new(27, 1152, 4304, 16, hidden, vec![8, 16, 24]),
        };
        let text = TextConfig::new(VOCAB_SIZE, hidden, intermediate, layers, heads, 8, 128, [24, 20, 20], tied)
            .with_eos_token_ids(vec![151_645]);
        Self::new(text, vision, 151_655, 151_656, 151_652, 151_653)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_sizes_are_valid_and_as_large_as_published() {
        // The model cards give 2.1, 4.4, 8.8 and 33 billion parameters.
        for (size, billions) in
            [(ReleasedSize::B2, 2.13), (ReleasedSize::B4, 4.44), (ReleasedSize::B8, 8.77), (ReleasedSize::B32, 33.36)]
        {
            let config = Qwen3VlConfig::released(size);
            config.validate().unwrap();
            let found = config.num_parameters().unwrap() as f64 / 1e9;
            assert!((found - billions).abs() < 0.01, "{size:?}: {found}");
        }
    }
}
