//! Autotune: which of the ways that a device takes is the fastest on it.
//!
//! ```text
//! (class of the call, device) ── at hand? ──▶ strategy
//!                    │ no                        ▲
//!                    ├─ in the device's file ────┤
//!                    └─ rivals measured ─────────┴─▶ kept in the file
//! ```
//!
//! Off by default: without it each call takes the strategy that the heuristics derive. With `planning.tune` or
//! `gpu.tune` the first call of a class runs the heuristic's strategy and its rivals under CubeCL's autotune benchmark
//! (the device to itself, three runs to warm up, ten measured, by the device's clock where it has one) and keeps what
//! is faster by more than the noise. A rival is a strategy whose blueprint this device takes, for the very operands of
//! the call, and so is what a file is believed to hold: anything else in it is measured again. Never with
//! `deterministic`: other splits and tiles add in another order, and what is fastest differs from run to run.
//!
//! CubeCL's own tuner keeps its results too, but where one configuration of the process says (by default below the
//! working directory), under an index into a fixed list of candidates, for a device without its driver; it takes any
//! faster candidate, however little faster, and panics when none runs. Hence its measuring, and the files of
//! [`kiln_kernels::planning`].

mod attention;
mod device;
mod files;
mod measure;
mod product;

pub(super) use attention::{find_attention, tune_attention};
pub use device::{choice_file, list_drivers};
pub use files::{TuneStats, forget_choices, stats};
pub(super) use product::{find_product, multiply};

use burn_kiln_fusion::{
    KernelConfig,
    cube::{
        AttentionStrategy,
        attention::AttentionClass,
        product::{ProductClass, Strategy},
    },
};
use serde::{Deserialize, Serialize};

/// What is chosen for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Class {
    /// A product with weights.
    Product(ProductClass),
    /// An attention.
    Attention(AttentionClass),
}

/// What is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Choice {
    /// For a product.
    Product(Strategy),
    /// For an attention.
    Attention(AttentionStrategy),
}

/// Whether the configuration asks for measured choices.
fn is_on(config: &KernelConfig) -> bool {
    config.planning.enabled && (config.planning.tune || config.gpu.tune) && !config.deterministic
}
