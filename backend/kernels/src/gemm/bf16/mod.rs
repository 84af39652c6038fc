//! Products of bf16 matrices by instructions that multiply pairs: `vdpbf16ps` (AVX-512 BF16) and `tdpbf16ps` (AMX). A
//! of f32, or both operands, are rounded to bf16 while they are packed, where the plan allows it (rounded.rs).
//!
//! Both sum two products of neighbouring steps of the depth into one f32, and both read B as lines of 16 columns of
//! such pairs:
//!
//! ```text
//! B panel   [k / 2][16][2]     one line is a register for vdpbf16ps; 16 lines (32 steps) are a tile for tdpbf16ps
//! A, dots   [k / 2][14][2]     14 rows beside each other: pairs are broadcast
//! A, tiles  [k / 32][16][32]   tiles of 16 rows
//! C         14 x 32 f32 in 28 registers, or 48 x 32 in six tiles
//! ```
//!
//! The loops around the register tile are those of f32 (see [`super`]), with blocks of as many bytes. Tiles of AMX keep
//! sums between blocks of the depth in an order of their own, and finish a tile while they multiply the next one.
//!
//! # Error
//!
//! Products are exact. `vdpbf16ps` and `tdpbf16ps` round each addition to nearest even, so an element is off by at most
//! `(k + 2) · 2⁻²⁴ · Σ|aᵢ·bᵢ|`, like an f32 sum. Subnormal elements of A and B count as zero and a sum below 2⁻¹²⁶ in
//! magnitude becomes zero: that adds at most `2⁻¹²⁶ · Σ(|aᵢ| + |bᵢ| + 1)`. NaN and infinities propagate.

#[cfg(target_arch = "x86_64")]
mod block;
#[cfg(target_arch = "x86_64")]
mod blocks;
#[cfg(target_arch = "x86_64")]
mod dots;
#[cfg(target_arch = "x86_64")]
mod gemv_broadcast;
#[cfg(target_arch = "x86_64")]
mod gemv_dots;
#[cfg(target_arch = "x86_64")]
mod isa;
#[cfg(target_arch = "x86_64")]
mod matrix;
#[cfg(not(target_arch = "x86_64"))]
mod none;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod packed_gemv;
#[cfg(target_arch = "x86_64")]
mod part;
#[cfg(target_arch = "x86_64")]
mod rounded;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod vectors;

use crate::gemm::variant::Variant;
#[cfg(target_arch = "x86_64")]
pub(in crate::gemm) use isa::Bf16Isa;
#[cfg(not(target_arch = "x86_64"))]
pub(in crate::gemm) use none::Bf16Isa;

/// What decides whether a product runs on these instructions, besides its operands.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Bf16Request {
    pub(in crate::gemm) variant: Variant,
    /// Whether an A of f32 may be rounded.
    pub(in crate::gemm) rounds: bool,
    /// Whether a B of f32 may be rounded too.
    pub(in crate::gemm) rounds_both: bool,
    /// Rows of A.
    pub(in crate::gemm) rows: usize,
}
