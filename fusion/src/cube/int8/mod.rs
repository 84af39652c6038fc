//! Products of 8-bit integers: a weight takes half of the bytes of bf16.
//!
//! ```text
//! quantize:  scale_r = max |x_r| / 127        q = ⌊x / scale_r + 1/2⌋        for each row r of activations, or of a weight [out, in]
//! multiply:  y[m, n] = scale_m · scale_n · Σ_k q_mk · q_nk                  sums in i32
//! ```
//!
//! Four neighbouring elements lie in a word, the first in its lowest byte; rows that end within a word end in zeros.
//! Sums are exact (`k · 127² < 2³¹` up to k = 133,000), so the only errors are those of quantising, half a scale an
//! element at most, and of two products in f32.
//!
//! The inner product of four bytes is one function, portable. SM61 has an instruction for it (dp4a), which CubeCL 0.10
//! does not name; NVRTC 12.8 makes it of the shifts and products of the portable form: one a word and row, in the PTX
//! for `compute_61`, as the checks of the kernels for `sm_61` assert.

mod blueprint;
mod dot;
mod kernel;
mod launch;

pub use blueprint::Blueprint;
pub use launch::{Int8Rows, explain, multiply, quantize};
