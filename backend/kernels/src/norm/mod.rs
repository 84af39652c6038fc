//! Norms over the last dimension.
//!
//! Threads take blocks of rows, and a row comes from memory once:
//!
//! ```text
//! statistics     forwards, one pass (RMS norm: squares; layer norm: centred sums, after the mean of the beginning)
//! result         a row that fits the first-level cache with its result and its weights: in one go;
//!                a longer one: in blocks of columns that do, the last block first
//! ```
//!
//! Backwards, as the end of a long row is what the first pass left in the caches: forwards, each element would be
//! evicted just before it is read again. The sizes follow from the caches (rows/blocks.rs). Sums are f32, four
//! registers wide: each of the 32 to 64 partial sums adds d/32 or fewer terms, so the error of a sum of d terms is that
//! of d/32.

mod add;
mod backward;
mod backward_rows;
mod layer;
mod operand;
mod rms;
mod row;
mod row_writer;

pub use add::{add_norm, add_norm_in_place};
pub use backward::{NormBackward, NormGradInputs, NormWeightGrads, norm_backward, norm_backward_in_place};
pub use layer::{LayerNorm, LayerNormed, layer_norm, layer_norm_forward, layer_norm_in_place};
pub use operand::{NormRows, Normed};
pub use rms::{RmsNorm, rms_norm, rms_norm_in_place};
pub(super) use rms::{reciprocal_root, sum_squares};
pub use row::RowNorm;
