//! Norms over the last dimension, and one of them with the residual addition before it. One kernel:
//!
//! ```text
//! each unit:  v = x, or x + residual, which is stored
//!             acc = Σ v² over vectors unit, unit + units, unit + 2·units, .. of the row     (f32, one sum a lane)
//! the row:    rstd = 1 / √(sum over lanes and units / d + epsilon)
//! each unit:  y = v · rstd · gamma over the same vectors
//! ```
//!
//! Layer norm sums `v`, then `(v - mean)²` in another pass: the difference of the two means that one pass would take
//! loses all digits where the mean is large beside the deviation.
//!
//! Device memory sees `x` once and each output once: the later passes over a row read what the first left in the cache.

pub mod add_norm;
mod kernel;
mod launch;
pub mod layer_norm;
pub mod rms_norm;

pub use launch::{NormInputs, NormOutputs, explain_norm, launch_norm};
