//! Heads on their way from projections to attention: RMS norm of each head, rotary embedding, and the store to where
//! attention reads them, be it behind the last position of a cache. One launch for queries, keys and values.
//!
//! ```text
//! a plane or a cube a head of a position; each unit holds pairs of vectors, from either half of the head, in registers:
//!   rstd = 1 / √(Σ (a² + b²) / d + epsilon)
//!   a, b = a · rstd · gamma, b · rstd · gamma
//!   stored: a·cos - b·sin, b·cos + a·sin                                      ("rotate half")
//! ```
//!
//! Each element is read once and written once, converted to the type of its destination. The angles are given, so that
//! those of interleaved multimodal positions are like any other. Heads of one position are neighbours in the grid: they
//! share its angles in the cache, and rows of a projection are read in the order in which they lie.

mod kernel;
mod launch;

pub(super) use kernel::{HeadStrides, HeadStridesLaunch};
pub(super) use launch::measure_heads;
pub use launch::{Angles, HeadInputs, Placement, explain_heads, place_heads};
