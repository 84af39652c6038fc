//! `benches/record/sm61.md`.

use super::cost::{CARDS, Cost};
use super::layer::Pass;
use burn_kiln_fusion::cube::cuda_text::{Launch, Resources};
use std::fmt::Write;

/// The layers of the 2B model.
const LAYERS: f64 = 28.0;

/// What the file says before its tables.
pub const HEAD: &str = "# One decoder layer of Qwen3-VL-2B on SM61, on paper

Launches of one layer (weights and KV cache bf16, activations f32), recorded by a runtime that stands for a card of compute
capability 6.1. Bytes: all buffers of a launch, each once and whole, so a lower bound of what it moves but for the KV cache, which
is bound whole where one row is written. FLOP: products with weights, keys and values. Occupancy: by NVRTC 12.8 and ptxas for
`sm_61`. Times: the longer of bytes and FLOP at the card's rates, without the time that a launch takes (about 5 µs each). The
MX250 has 384 cores, 48 GB/s and about 1.2 TFLOP/s; the GTX 1060 has 1,280 cores, 192 GB/s and 4.4 TFLOP/s. No GPU was measured.

Plain Burn is `CubeBackend` without Kiln, with the FLOP of Kiln's products and no other; with Burn's `Fusion` its elementwise launches are fewer. Written by

    bash .ci/gpu.sh
    cargo run --profile gpu -p kiln-benches --features sm61 --bin sm61
";

/// A layer's launches, or the sum of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    /// How many.
    pub launches: usize,
    /// Bytes of all.
    pub bytes: f64,
    /// FLOP of all.
    pub flop: f64,
    /// Seconds on each card.
    pub seconds: [f64; 2],
}

/// Adds the launches up.
pub fn add(launches: &[Launch], pass: Pass) -> Sum {
    let mut sum = Sum { launches: launches.len(), ..Sum::default() };
    for cost in launches.iter().map(|launch| Cost::of(launch, pass)) {
        sum.bytes += cost.bytes;
        sum.flop += cost.flop;
        for (seconds, card) in sum.seconds.iter_mut().zip(&CARDS) {
            *seconds += cost.seconds(card);
        }
    }
    sum
}

/// The section of one pass: a row for each of Kiln's launches, then the sums of both.
pub fn render(title: &str, pass: Pass, kiln: &[(Launch, Resources)], plain: &[Launch]) -> String {
    let mut text = format!("\n## {title}\n\n| launch | MB | MFLOP | registers | occupancy |");
    CARDS.iter().for_each(|card| text += &format!(" {}, µs |", card.name));
    text += "\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    for (launch, used) in kiln {
        let cost = Cost::of(launch, pass);
        let [first, second] = CARDS.map(|card| 1e6 * cost.seconds(&card));
        let (name, percent) = (launch.kernel.trim_end_matches('_'), 100.0 * used.occupancy());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {name} | {:.3} | {:.1} | {} | {percent:.0}% | {first:.0} | {second:.0} |",
            cost.bytes / 1e6,
            cost.flop / 1e6,
            used.registers
        );
    }
    let launches: Vec<Launch> = kiln.iter().map(|(launch, _)| launch.clone()).collect();
    text += "\n| one layer | launches | MB | MX250, ms | GTX 1060, ms | 28 layers, MX250, ms | GTX 1060, ms |\n";
    text += "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    let (ours, mut theirs) = (add(&launches, pass), add(plain, pass));
    // Burn's kernels don't tell what they multiply; it is no less.
    for (seconds, card) in theirs.seconds.iter_mut().zip(&CARDS) {
        *seconds = seconds.max(ours.flop / card.flops);
    }
    for (name, sum) in [("Kiln", ours), ("plain Burn", theirs)] {
        let [first, second] = sum.seconds.map(|seconds| 1e3 * seconds);
        let _ = writeln!(
            text,
            "| {name} | {} | {:.1} | {first:.2} | {second:.2} | {:.1} | {:.1} |",
            sum.launches,
            sum.bytes / 1e6,
            LAYERS * first,
            LAYERS * second
        );
    }
    text
}
