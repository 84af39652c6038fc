//! The 2B model on a card that does not hold it: what goes over the bus for a token, on paper.

use super::layer::configure;
use std::fmt::Write;

/// Tokens of the vocabulary: rows of the head, which is the token embedding.
const VOCABULARY: u64 = 151_936;

/// Bytes of what always stays: patch and position embedding, the last norm, 1 MiB of embedding rows.
const BASE: u64 = 2 * (1024 * 1536 + 2304 * 1024) + (1 << 20);

/// Layers that have a place on the card at a time: one in use, one on its way.
const PLACES: u64 = 2;

/// What buses carry, GB/s: about PCIe 3.0 x4, as laptops' cards have it, x8 and x16.
const BUSES: [f64; 3] = [3.0, 6.0, 12.0];

/// Limits of the table, MiB.
const LIMITS: [u64; 4] = [1280, 1536, 1792, 2048];

/// Bytes of a decoder layer: matrices in bf16, norms in f32.
fn measure_layer() -> u64 {
    let config = configure(1);
    let [hidden, width] = [config.hidden_size, config.intermediate_size].map(|size| size as u64);
    let [q, kv] = [config.num_attention_heads, config.num_key_value_heads].map(|n| (n * config.head_dim) as u64);
    2 * (2 * hidden * q + 2 * hidden * kv + 3 * hidden * width) + 4 * (2 * hidden + 2 * config.head_dim as u64)
}

/// Layers that stay within `limit` bytes, after the head.
fn count_pinned(limit: u64, layers: u64) -> u64 {
    let fixed = BASE + 2 * VOCABULARY * configure(1).hidden_size as u64 + PLACES * measure_layer();
    (limit.saturating_sub(fixed) / measure_layer()).min(layers)
}

/// The section: for each limit, what stays, what a token sends, and how long that takes.
pub fn render() -> String {
    let (layer, layers) = (measure_layer(), 28);
    let mut text = format!(
        "
## Weights beyond the card's memory

`--gpu-memory` of a bf16 model: the head ({} MB) and as many of the 28 layers ({:.1} MB each) as fit stay on the card, beside places for {PLACES}
layers; the others are sent for each token, one ahead of their use. A picture sends the vision tower besides, 0.8 GB. Keys, values, activations and
the driver come on top of the limit. Sending hides computing, not the other way round: a layer computes for 2.3 ms on the MX250.

| limit, MiB | layers that stay | MB a token | 3 GB/s, ms | 6 GB/s, ms | 12 GB/s, ms |
| ---: | ---: | ---: | ---: | ---: | ---: |
",
        2 * VOCABULARY * 2048 / 1_000_000,
        layer as f64 / 1e6
    );
    for limit in LIMITS {
        let pinned = count_pinned(limit << 20, layers);
        let sent = ((layers - pinned) * layer) as f64;
        let [a, b, c] = BUSES.map(|bus| sent / bus / 1e6);
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {limit} | {pinned} | {:.0} | {a:.0} | {b:.0} | {c:.0} |", sent / 1e6);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_gibibytes_hold_less_than_half_of_the_layers() {
        assert_eq!(measure_layer(), 100_680_704);
        assert_eq!(count_pinned(2 << 30, 28), 13);
        assert_eq!([0, u64::MAX].map(|limit| count_pinned(limit, 28)), [0, 28]);
        assert!(render().contains("| 2048 | 13 | 1510 | 503 | 252 | 126 |"), "{}", render());
    }
}
