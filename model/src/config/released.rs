//! The released sizes, for checkpoints that are made instead of downloaded. Source: the models' `config.json`.

use super::{MoeConfig, Qwen3VlConfig, TextConfig, VisionConfig};

/// A released size. Instruct and Thinking models of a size have the same configuration: they differ in chat template
/// and `generation_config.json`.
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
    /// 31 billion parameters, of which a token uses 3: every layer has 128 experts and takes 8.
    B30A3,
    /// 236 billion parameters, of which a token uses 22: every layer has 128 experts and takes 8.
    B235A22,
}

impl ReleasedSize {
    /// Every released size.
    pub const ALL: [Self; 6] = [Self::B2, Self::B4, Self::B8, Self::B32, Self::B30A3, Self::B235A22];
}

/// Vocabulary of every released size.
const VOCAB_SIZE: usize = 151_936;

impl Qwen3VlConfig {
    /// The configuration of a released size.
    pub fn released(size: ReleasedSize) -> Self {
        // Hidden, intermediate, layers, query heads, key-value heads.
        let (hidden, intermediate, layers, heads, kv_heads) = match size {
            ReleasedSize::B2 => (2048, 6144, 28, 16, 8),
            ReleasedSize::B4 => (2560, 9728, 36, 32, 8),
            ReleasedSize::B8 => (4096, 12_288, 36, 32, 8),
            ReleasedSize::B32 => (5120, 25_600, 64, 64, 8),
            ReleasedSize::B30A3 => (2048, 6144, 48, 32, 4),
            ReleasedSize::B235A22 => (4096, 12_288, 94, 64, 4),
        };
        let small = matches!(size, ReleasedSize::B2 | ReleasedSize::B4);
        let vision = if small {
            VisionConfig::new(24, 1024, 4096, 16, hidden, vec![5, 11, 17])
        } else {
            VisionConfig::new(27, 1152, 4304, 16, hidden, vec![8, 16, 24])
        };
        // The released defaults: probabilities normalised, no dense layer.
        let moe = match size {
            ReleasedSize::B30A3 => Some(MoeConfig::new(128, 8, 768)),
            ReleasedSize::B235A22 => Some(MoeConfig::new(128, 8, 1536)),
            _ => None,
        };
        let text = TextConfig::new(VOCAB_SIZE, hidden, intermediate, layers, heads, kv_heads, 128, [24, 20, 20], small)
            .with_eos_token_ids(vec![151_645])
            .with_moe(moe);
        Self::new(text, vision, 151_655, 151_656, 151_652, 151_653)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::expected_tensors;

    /// Parameters and tensors of every size, by hand from the published shapes.
    ///
    /// Vision tensors: 2 (patches) + 1 (positions) + 12 a block + 6 a merger (4 mergers). Decoder tensors: 11 a layer
    /// (dense: 4 norms, 4 projections, 3 matrices; sparse: 4 norms, 4 projections, router and 2 of the experts),
    /// embedding, norm, and the head where it is not tied. Parameters of the mixtures, layer by layer: 30B-A3B 48 · 623
    /// 120 640, 235B-A22B 94 · 2 487 755 008; embedding and head 2 · 151 936 · hidden; final norm; vision 538 631 408
    /// and 576 388 336.
    #[test]
    fn released_sizes_are_as_large_as_published() {
        for (size, parameters, tensors) in [
            (ReleasedSize::B2, 2_127_532_032, 3 + 24 * 12 + 24 + 28 * 11 + 2),
            (ReleasedSize::B4, 4_437_815_808, 3 + 24 * 12 + 24 + 36 * 11 + 2),
            (ReleasedSize::B8, 8_767_123_696, 3 + 27 * 12 + 24 + 36 * 11 + 3),
            (ReleasedSize::B32, 33_357_390_064, 3 + 27 * 12 + 24 + 64 * 11 + 3),
            (ReleasedSize::B30A3, 48 * 623_120_640 + 622_329_856 + 2048 + 538_631_408, 3 + 27 * 12 + 24 + 48 * 11 + 3),
            (
                ReleasedSize::B235A22,
                94 * 2_487_755_008 + 1_244_659_712 + 4096 + 576_388_336,
                3 + 27 * 12 + 24 + 94 * 11 + 3,
            ),
        ] {
            let config = Qwen3VlConfig::released(size);
            config.validate().unwrap();
            assert_eq!(config.num_parameters().unwrap(), parameters, "{size:?}");
            let expected = expected_tensors(&config);
            assert_eq!(expected.len(), tensors, "{size:?}");
            // The table of tensors and the count are separate code.
            let sum: u64 = expected.iter().map(|tensor| tensor.shape.iter().product::<usize>() as u64).sum();
            assert_eq!(sum, parameters, "{size:?}");
        }
    }
}
