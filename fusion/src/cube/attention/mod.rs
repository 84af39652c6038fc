//! Attention in one pass over the keys: `softmax(softcap · tanh(scale · q·kᵀ / softcap) + bias, hidden = -∞) · v` with
//! the running maximum and sum of Milakov and Gimelshein (2018), tiled as in FlashAttention (Dao et al. 2022); no score
//! is ever stored.
//!
//! ```text
//! a cube:  a tile of rows x the keys that any of them sees, or a part of these
//! for each tile of keys
//!     S = Q·Kᵀ           chunks of the depth of both through shared memory; 4 rows x 4 keys of S in the registers of a unit
//!     m' = max(m, S)     partial maxima through shared memory
//!     P = e^{S - m'}     to shared memory;  l = l · e^{m - m'} + Σ P,  O = O · e^{m - m'}
//!     O += P·V           chunks of keys through shared memory; 4 rows x 16 columns of O in the registers of a unit
//! out = O / l,  lse = m + ln l
//! ```
//!
//! **Rows** are the queries of all heads that share a key head, so that keys and values are read once for the group.
//! Row `query · group + head` lets a tile hold neighbouring queries of all these heads: under a causal mask it ends
//! early.
//!
//! **Few rows, many keys** (decoding) leave cubes idle: the keys are then split over cubes, each of which writes its
//! own output and log-sum-exp, and a second launch weights them (`e^{lse - max}`), as in FlashDecoding (Dao et al.
//! 2023).
//!
//! Memory: operands and outputs, and f32 outputs of each part where there are parts. Units talk through barriers only,
//! so planes may have any size.

mod blueprint;
mod combine;
mod kernel;
mod launch;
mod operands;
mod rivals;
mod score;
mod sizes;
mod stage;

pub use blueprint::{AttentionPlan, AttentionStrategy, Blueprint, Problem};
pub use launch::{explain_attention, launch_attention};
pub use operands::{AttentionInputs, AttentionOutputs, AttentionRules, allocate_outputs};
pub use rivals::{AttentionClass, list_rivals};
