//! What a launch must move and compute, read off the launch, and how long a card needs for it at least.

use super::layer::Pass;
use burn_kiln_fusion::cube::cuda_text::Launch;

/// A card, by its data sheet.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// What it is called.
    pub name: &'static str,
    /// Bytes a second from and to its memory.
    pub bandwidth: f64,
    /// Operations in f32 a second; a product and a sum are two.
    pub flops: f64,
}

/// The cards of the record: a laptop's (384 cores, GDDR5 at 64 bits) and a desktop's (1,280 cores, 192 bits).
pub const CARDS: [Card; 2] = [
    Card { name: "MX250", bandwidth: 48e9, flops: 1.2e12 },
    Card { name: "GTX 1060", bandwidth: 192e9, flops: 4.4e12 },
];

/// Least work of a launch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Bytes of all buffers that it is given, each once.
    pub bytes: f64,
    /// Products and sums with bf16 weights, keys and values; the rest is hidden behind the memory.
    pub flop: f64,
}

impl Cost {
    /// Reads it off a launch: a product has two operations for each weight and row, an attention two for each element
    /// of keys and values, query and head of a group, half of them hidden where all rows are queries.
    pub fn of(launch: &Launch, pass: Pass) -> Self {
        let bytes = launch.buffers.iter().sum::<u64>() as f64;
        let halves =
            list_halves(&launch.source).filter_map(|index| launch.buffers.get(index)).sum::<u64>() as f64 / 2.0;
        let rows = pass.rows as f64;
        let attention = launch.kernel.starts_with("attend");
        let visible = if pass.past == 0 { 0.5 } else { 1.0 };
        // Two query heads share a key head.
        let times = if attention { 2.0 * visible } else { 1.0 };
        let multiplies = attention || launch.kernel.starts_with("multiply");
        Self { bytes, flop: if multiplies { 2.0 * rows * halves * times } else { 0.0 } }
    }

    /// Seconds that `card` needs at least.
    pub fn seconds(&self, card: &Card) -> f64 {
        (self.bytes / card.bandwidth).max(self.flop / card.flops)
    }
}

/// The numbers of the buffers that hold bf16 and are only read.
fn list_halves(source: &str) -> impl Iterator<Item = usize> + '_ {
    let arguments = source.split("__restrict__ buffer_").zip(source.split("__restrict__ buffer_").skip(1));
    arguments.filter_map(|(before, after)| {
        let kind = before.rsplit("const ").next()?;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        kind.contains("bfloat16").then(|| digits.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_found_in_a_signature() {
        let source = "k(\n const float_4* __restrict__ buffer_0, const __nv_bfloat16_8* __restrict__ buffer_1, float* buffer_2, \
                      const __nv_bfloat16* __restrict__ buffer_3, const info_st* __restrict__ info_ptr)";
        assert_eq!(list_halves(source).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_card_needs_the_longer_of_both() {
        let card = Card { name: "", bandwidth: 10.0, flops: 100.0 };
        assert_eq!(Cost { bytes: 10.0, flop: 100.0 }.seconds(&card), 1.0);
        assert_eq!(Cost { bytes: 1.0, flop: 300.0 }.seconds(&card), 3.0);
    }
}
