//! A norm of rows by its numbers: what a product needs that normalises its left operand while it packs it.

use super::layer::{LayerNorm, layer_norm, measure_layer};
use super::operand::{NormRows, Normed};
use super::rms::{RmsNorm, measure_rms, rms_norm};
use crate::simd::Isa;
use crate::{Floats, FloatsMut, Launch};

/// Either norm over the last dimension.
#[derive(Debug, Clone, Copy)]
pub enum RowNorm<'a> {
    /// `x / √(mean(x²) + epsilon) · gamma`.
    Rms(RmsNorm<'a>),
    /// `(x - mean(x)) / √(var(x) + epsilon) · gamma + beta`.
    Layer(LayerNorm<'a>),
}

impl<'a> RowNorm<'a> {
    /// The factors, `[d]`.
    pub fn gamma(&self) -> Floats<'a> {
        match self {
            Self::Rms(norm) => norm.gamma,
            Self::Layer(norm) => norm.gamma,
        }
    }

    /// The summands, `[d]`, where there are any.
    pub fn beta(&self) -> Option<Floats<'a>> {
        match self {
            Self::Rms(_) => None,
            Self::Layer(norm) => norm.beta,
        }
    }

    /// Normalises rows.
    ///
    /// # Panics
    /// If the lengths do not fit or the element types of `x` and `out` differ.
    pub fn normalize(&self, launch: Launch, x: NormRows<'_>, out: FloatsMut<'_>) {
        match *self {
            Self::Rms(norm) => rms_norm(launch, norm, x, Normed::only(out)),
            Self::Layer(norm) => layer_norm(launch, norm, x, out),
        }
    }

    /// What the norm subtracts from the elements of a row, what it multiplies them by then, and what it adds: the
    /// numbers that [`RowNorm::normalize`] computes, bit for bit. `[0, rstd, 0]` for RMS norm.
    ///
    /// # Safety
    /// `x` holds `d` elements, `d > 0`.
    #[inline(always)]
    pub(crate) unsafe fn measure<I: Isa>(&self, isa: I, x: *const f32, d: usize) -> [f32; 3] {
        // SAFETY: `x` holds `d` elements, `d > 0` (`# Safety` of `RowNorm::measure`).
        unsafe {
            match self {
                Self::Rms(norm) => [0.0, measure_rms(isa, x, d, norm.epsilon), 0.0],
                Self::Layer(norm) => measure_layer(isa, x, d, norm.epsilon).0,
            }
        }
    }
}
