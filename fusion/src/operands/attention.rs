//! Operands of attention and of what comes before it: head norms, rotation.

use crate::family::{Conversion, Float, TensorFamily};
use burn_tensor::DType;
use std::sync::Arc;

/// Rotary angles, one row a position: `cos` and `sin`, each `[batch, length, head_dim / 2]`, f32.
///
/// The rotation pairs element `i` with `i + head_dim / 2` ("rotate half").
#[derive(Debug, Clone)]
pub struct Rotary<F: TensorFamily> {
    /// Cosines.
    pub cos: Float<F, 3>,
    /// Sines.
    pub sin: Float<F, 3>,
}

impl<F: TensorFamily> Rotary<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> Rotary<C::To> {
        Rotary { cos: C::convert_float::<3>(self.cos), sin: C::convert_float::<3>(self.sin) }
    }
}

/// Heads of queries and keys.
#[derive(Debug, Clone)]
pub struct QueryKey<F: TensorFamily> {
    /// `[batch, heads, length, head_dim]`.
    pub q: Float<F, 4>,
    /// `[batch, kv_heads, length, head_dim]`.
    pub k: Float<F, 4>,
}

impl<F: TensorFamily> QueryKey<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> QueryKey<C::To> {
        QueryKey { q: C::convert_float::<4>(self.q), k: C::convert_float::<4>(self.k) }
    }
}

/// RMS norms of the heads of queries and keys.
#[derive(Debug, Clone)]
pub struct HeadNorms<F: TensorFamily> {
    /// `[head_dim]`.
    pub q_gamma: Float<F, 1>,
    /// `[head_dim]`.
    pub k_gamma: Float<F, 1>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl<F: TensorFamily> HeadNorms<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> HeadNorms<C::To> {
        let Self { q_gamma, k_gamma, epsilon } = self;
        HeadNorms { q_gamma: C::convert_float::<1>(q_gamma), k_gamma: C::convert_float::<1>(k_gamma), epsilon }
    }
}

/// Operands of attention. Any strides; `heads` is a multiple of `kv_heads` (grouped-query attention: query head `h`
/// reads key head `h / (heads / kv_heads)`).
#[derive(Debug, Clone)]
pub struct AttentionInputs<F: TensorFamily> {
    /// `[batch, heads, queries, head_dim]`.
    pub q: Float<F, 4>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub k: Float<F, 4>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub v: Float<F, 4>,
}

impl<F: TensorFamily> AttentionInputs<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> AttentionInputs<C::To> {
        let Self { q, k, v } = self;
        let [q, k, v] = [q, k, v].map(C::convert_float::<4>);
        AttentionInputs { q, k, v }
    }
}

/// Operands of attention as projections give them, and what is done to queries and keys before their product.
///
/// Several sequences may lie behind each other along `length`; `batch` is 1 then.
#[derive(Debug, Clone)]
pub struct RotaryInputs<'a, F: TensorFamily> {
    /// `[batch, length, heads · head_dim]`.
    pub q: Float<F, 3>,
    /// `[batch, length, kv_heads · head_dim]`.
    pub k: Float<F, 3>,
    /// `[batch, length, kv_heads · head_dim]`.
    pub v: Float<F, 3>,
    /// Elements of a head, an even number.
    pub head_dim: usize,
    /// Before the rotation, where there are any.
    pub norms: Option<HeadNorms<F>>,
    /// Angles of the `length` positions.
    pub rotary: &'a Rotary<F>,
    /// Positions of each sequence; their sum is `length`.
    pub lengths: &'a [usize],
}

impl<'a, F: TensorFamily> RotaryInputs<'a, F> {
    /// The same in another family, in which the angles are `rotary`.
    pub fn convert<C: Conversion<From = F>>(self, rotary: &'a Rotary<C::To>) -> RotaryInputs<'a, C::To> {
        let Self { q, k, v, head_dim, norms, lengths, .. } = self;
        let [q, k, v] = [q, k, v].map(C::convert_float::<3>);
        RotaryInputs { q, k, v, head_dim, norms: norms.map(HeadNorms::convert::<C>), rotary, lengths }
    }
}

/// How attention scores are made and which are hidden:
/// `softmax(softcap · tanh(scale · q·kᵀ / softcap) + bias, hidden = -∞)`.
#[derive(Debug, Clone)]
pub struct AttentionOptions<F: TensorFamily> {
    /// `None` is `1/√head_dim`.
    pub scale: Option<f64>,
    /// Query `i` of `n`, against `m` keys, sees keys `0 ..= i + m - n`.
    pub causal: bool,
    /// Soft limit of the scaled scores.
    pub softcap: Option<f64>,
    /// `[batch | 1, heads | 1, queries, keys]`, true where a key is hidden.
    pub mask: Option<F::Bool<4>>,
    /// `[batch | 1, heads | 1, queries, keys]`, added to the scores.
    pub bias: Option<Float<F, 4>>,
    /// Ends of the segments of a packed sequence (the frames of a picture batch), ascending, the last one its length; a
    /// query sees its own segment only. Queries and keys are the same sequence then.
    pub segments: Option<Arc<[usize]>>,
    /// A type that keys and values may be rounded to where no cache rounds them; a backend does it where that is
    /// faster.
    pub kv_dtype: Option<DType>,
}

impl<F: TensorFamily> Default for AttentionOptions<F> {
    fn default() -> Self {
        Self { scale: None, causal: false, softcap: None, mask: None, bias: None, segments: None, kv_dtype: None }
    }
}

impl<F: TensorFamily> AttentionOptions<F> {
    /// The same in another family.
    pub fn convert<C: Conversion<From = F>>(self) -> AttentionOptions<C::To> {
        let Self { scale, causal, softcap, mask, bias, segments, kv_dtype } = self;
        AttentionOptions {
            scale,
            causal,
            softcap,
            mask: mask.map(C::convert_bool::<4>),
            bias: bias.map(C::convert_float::<4>),
            segments,
            kv_dtype,
        }
    }

    /// The factor of scores for heads of `head_dim`.
    pub fn resolve_scale(&self, head_dim: usize) -> f64 {
        self.scale.unwrap_or_else(|| 1.0 / (head_dim as f64).sqrt())
    }
}
