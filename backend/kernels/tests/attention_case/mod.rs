//! A case of attention against its definition in f64.

use crate::reference::{Element, assert_close, exact, random};
use kiln_kernels::attention::{AttentionOptions, Scores, Tiles, attention, multiplies_bf16};
use kiln_kernels::rope::Heads;
use kiln_kernels::{Floats, Launch};

/// What may hide keys or change scores.
#[derive(Debug, Clone, Default)]
pub struct Features {
    pub causal: bool,
    pub softcap: Option<f32>,
    pub mask: bool,
    pub bias: bool,
    pub segments: Option<Vec<usize>>,
    pub tiles: Option<Tiles>,
    /// Elements between one head's rows and the next, of q, k and v.
    pub gap: usize,
}

#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub batch: usize,
    pub kv_heads: usize,
    pub group: usize,
    pub queries: usize,
    pub keys: usize,
    pub d: usize,
    pub dv: usize,
}

impl Shape {
    pub fn new([kv_heads, group]: [usize; 2], [queries, keys]: [usize; 2], d: usize) -> Self {
        Self { batch: 2, kv_heads, group, queries, keys, d, dv: d }
    }
}

/// A case with its numbers; positions are the outer dimension of q, k and v, as a projection leaves them.
pub struct Case<S> {
    pub shape: Shape,
    pub features: Features,
    pub q: Vec<f32>,
    pub k: Vec<S>,
    pub v: Vec<S>,
    pub mask: Vec<u8>,
    pub bias: Vec<f32>,
}

/// `[batch, length, heads, d + gap]` seen as `[batch, heads, length, d]`.
pub fn view<S: Element>(data: &[S], shape: [usize; 4], gap: usize) -> Heads<'_> {
    let [batch, heads, length, head_dim] = shape;
    let width = head_dim + gap;
    let strides = [length * heads * width, width, heads * width];
    Heads { data: S::view(data), batch, heads, length, head_dim, strides }
}

impl<S: Element> Case<S> {
    pub fn new(shape: Shape, features: Features, seed: u64) -> Self {
        let Shape { batch, kv_heads, group, queries, keys, d, dv } = shape;
        let gap = features.gap;
        let heads = kv_heads * group;
        // The mask is the same for all heads, the bias for all sequences.
        let mask = random::<f32>(batch * queries * keys, seed ^ 1).into_iter().map(|x| u8::from(x > 0.8)).collect();
        Self {
            shape,
            q: random(batch * queries * heads * (d + gap), seed ^ 2),
            k: random(batch * keys * kv_heads * (d + gap), seed ^ 3),
            v: random(batch * keys * kv_heads * (dv + gap), seed ^ 4),
            mask,
            bias: random(heads * queries * keys, seed ^ 5),
            features,
        }
    }

    pub fn scale(&self) -> f32 {
        1.0 / (self.shape.d as f32).sqrt()
    }

    /// By definition: results and logarithms of sums.
    pub fn exact(&self) -> (Vec<f64>, Vec<f64>) {
        let Shape { batch, kv_heads, group, queries, keys, d, dv } = self.shape;
        let (heads, gap) = (kv_heads * group, self.features.gap);
        let (q, k, v) = (exact(&self.q), exact(&self.k), exact(&self.v));
        let (mut out, mut lse) = (vec![], vec![]);
        for b in 0..batch {
            for h in 0..heads {
                for i in 0..queries {
                    let score = |j: usize| -> f64 {
                        let q = &q[((b * queries + i) * heads + h) * (d + gap)..][..d];
                        let k = &k[((b * keys + j) * kv_heads + h / group) * (d + gap)..][..d];
                        let mut s = q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() * self.scale() as f64;
                        if let Some(cap) = self.features.softcap {
                            s = cap as f64 * (s / cap as f64).tanh();
                        }
                        if self.features.bias {
                            s += self.bias[(h * queries + i) * keys + j] as f64;
                        }
                        let segment = |x: usize| {
                            self.features.segments.as_ref().map(|ends| ends.iter().filter(|&&e| e <= x).count())
                        };
                        let hidden = (self.features.mask && self.mask[(b * queries + i) * keys + j] != 0)
                            || (self.features.causal && j + queries > i + keys)
                            || segment(i) != segment(j);
                        if hidden { f64::NEG_INFINITY } else { s }
                    };
                    let scores: Vec<f64> = (0..keys).map(score).collect();
                    // f64::max would drop NaN.
                    let max = scores.iter().fold(f64::NEG_INFINITY, |m, &s| if s > m || s.is_nan() { s } else { m });
                    let weights: Vec<f64> = if max == f64::NEG_INFINITY {
                        vec![0.0; keys]
                    } else {
                        scores.iter().map(|s| (s - max).exp()).collect()
                    };
                    let sum: f64 = weights.iter().sum();
                    for c in 0..dv {
                        let value = |j: usize| v[((b * keys + j) * kv_heads + h / group) * (dv + gap) + c];
                        let y: f64 = (0..keys).map(|j| weights[j] * value(j)).sum();
                        out.push(if sum == 0.0 { 0.0 } else { y / sum });
                    }
                    lse.push(max + sum.ln());
                }
            }
        }
        (out, lse)
    }

    pub fn check<Q: Element>(&self, launch: Launch) {
        let Shape { batch, kv_heads, group, queries, keys, d, dv } = self.shape;
        let (heads, gap) = (kv_heads * group, self.features.gap);
        let q: Vec<Q> = self.q.iter().map(|&x| Q::from_f32(x)).collect();
        let rounded = Self {
            q: q.iter().map(|x| x.to_f32()).collect(),
            k: self.k.clone(),
            v: self.v.clone(),
            mask: self.mask.clone(),
            bias: self.bias.clone(),
            features: self.features.clone(),
            ..*self
        };
        let (want, want_lse) = rounded.exact();
        let options = AttentionOptions {
            causal: self.features.causal,
            softcap: self.features.softcap,
            mask: self.features.mask.then(|| Scores { data: &self.mask, strides: [queries * keys, 0, keys, 1] }),
            bias: self.features.bias.then(|| Scores { data: &self.bias, strides: [0, queries * keys, keys, 1] }),
            segments: self.features.segments.as_deref(),
            tiles: self.features.tiles,
            ..AttentionOptions::new(self.scale())
        };
        let views = [
            view(&q, [batch, heads, queries, d], gap),
            view(&self.k, [batch, kv_heads, keys, d], gap),
            view(&self.v, [batch, kv_heads, keys, dv], gap),
        ];
        let mut out = vec![Q::from_f32(9.0); batch * heads * queries * dv];
        let mut lse = vec![9.0f32; batch * heads * queries];
        attention(launch, views, &options, Q::view_mut(&mut out), Some(&mut lse));
        let what = (launch, self.shape, &self.features);
        // Scores of up to d products round by about √d units of their size (4 / √d · d), which the exponential makes
        // relative. Pairs of bf16 round weights to bf16: 2⁻⁸ of values up to 2.
        let halves = matches!((Q::view(&q), S::view(&self.k)), (Floats::Bf16(_), Floats::Bf16(_)));
        let pairs = halves && multiplies_bf16(launch.tier, d, group * queries);
        assert_close(&out, &want, 0.0, if pairs { 4e-3 } else { 1e-5 }, &what);
        assert_close(&lse, &want_lse, 1e-6, 1e-5, &what);
    }
}

/// Small tiles, so that small shapes have several.
pub const SMALL: Option<Tiles> = Some(Tiles { rows: 12, keys: 32 });
