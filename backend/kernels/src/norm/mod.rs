//! Norms over the last dimension.
//!
//! Threads take blocks of rows. A row comes from memory once: the passes after the first (layer norm: mean, centred squares,
//! result; RMS norm: squares, result) find it in the first-level cache, which holds rows of up to 8192 f32 (32 KiB); longer
//! rows come from the second level. Sums are f32, four registers wide: each of the 32 to 64 partial sums adds d/32 or fewer
//! terms, so the error of a sum of d terms is that of d/32.

mod add;
mod layer;
mod operand;
mod rms;
mod row;

pub use add::{add_norm, add_norm_in_place};
pub use layer::{LayerNorm, layer_norm, layer_norm_in_place};
pub use operand::{Normed, Rows};
pub use rms::{RmsNorm, rms_norm, rms_norm_in_place};
pub(super) use rms::{reciprocal_root, sum_squares};
pub use row::RowNorm;
