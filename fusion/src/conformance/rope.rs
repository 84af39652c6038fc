//! Rotary embedding, alone and behind the head norms.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::{reshape, upload_shaped};
use super::{Sampler, Suite};
use crate::reference::{Array, normalize_rms, rotate};
use crate::{HeadNorms, QueryKey, Rotary, TrainingOps};
use burn_tensor::Tensor;

const EPSILON: f64 = 1e-3;

/// Checks [`FusedOps::rope`](crate::FusedOps::rope), [`FusedOps::qk_norm_rope`](crate::FusedOps::qk_norm_rope) and
/// their gradients.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    for is_strided in [false, true] {
        for has_norm in [false, true] {
            let sizes = Sizes { batch: 2, heads: 4, kv_heads: 2, length: 3, head_dim: 6 };
            check_case(suite, &RopeCase::new(sizes, has_norm, is_strided));
            for (length, head_dim) in [(1, 64), (5, 34), (9, 2), (0, 8)] {
                let sizes = Sizes { batch: 1, heads: 3, kv_heads: 1, length, head_dim };
                check_output(suite, &RopeCase::new(sizes, has_norm, is_strided));
            }
        }
    }
}

/// Sizes of queries and keys.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    length: usize,
    head_dim: usize,
}

/// Operands: `q`; with the norm also `k` and both gammas. Strided ones are views of `[batch, length, heads, head_dim]`,
/// as a projection gives them.
struct RopeCase {
    sizes: Sizes,
    has_norm: bool,
    is_strided: bool,
    operands: Vec<Array>,
    cos: Array,
    sin: Array,
}

impl RopeCase {
    fn new(sizes: Sizes, has_norm: bool, is_strided: bool) -> Self {
        let mut sampler = Sampler::new(8);
        let Sizes { batch, heads, kv_heads, length, head_dim } = sizes;
        let shape =
            |heads| if is_strided { [batch, length, heads, head_dim] } else { [batch, heads, length, head_dim] };
        let mut operands = vec![sampler.draw(&shape(heads))];
        if has_norm {
            operands.push(sampler.draw(&shape(kv_heads)));
            operands.extend([sampler.draw_gamma(head_dim), sampler.draw_gamma(head_dim)]);
        }
        let angles = sampler.draw(&[batch, length, head_dim / 2]).map(|value| value * 4.0);
        // Rounded to f32, as the backend gets them.
        let [cos, sin] = [f64::cos, f64::sin].map(|f| angles.map(|angle| f64::from(f(angle) as f32)));
        Self { sizes, has_norm, is_strided, operands, cos, sin }
    }

    /// A head tensor from its flat operand, `[batch, heads, length, head_dim]`.
    fn view<B: TrainingOps>(&self, flat: &Tensor<B, 1>, heads: usize) -> Tensor<B, 4> {
        let Sizes { batch, length, head_dim, .. } = self.sizes;
        if self.is_strided {
            reshape(flat.clone(), [batch, length, heads, head_dim]).swap_dims(1, 2)
        } else {
            reshape(flat.clone(), [batch, heads, length, head_dim])
        }
    }

    /// The inverse of [`RopeCase::view`].
    fn flatten<B: TrainingOps>(&self, heads: Tensor<B, 4>) -> Option<Tensor<B, 1>> {
        let heads = if self.is_strided { heads.swap_dims(1, 2) } else { heads };
        Some(heads.flatten(0, 3))
    }

    fn arrange(&self, operand: &Array) -> Array {
        if self.is_strided { operand.swap_middle() } else { operand.clone() }
    }

    fn build_norms<B: TrainingOps>(&self, operands: &[Tensor<B, 1>]) -> HeadNorms<B> {
        HeadNorms { q_gamma: operands[2].clone(), k_gamma: operands[3].clone(), epsilon: EPSILON }
    }

    fn build_rotary<B: TrainingOps>(&self, device: &B::Device) -> Rotary<B> {
        Rotary { cos: upload_shaped(&self.cos, device), sin: upload_shaped(&self.sin, device) }
    }
}

impl Case for RopeCase {
    fn describe(&self) -> String {
        let name = if self.has_norm { "qk_norm_rope" } else { "rope" };
        format!("{name} of {:?}, strided {}", self.sizes, self.is_strided)
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        let q = self.arrange(&operands[0]);
        if !self.has_norm {
            return rotate(&q, &self.cos, &self.sin);
        }
        let q = normalize_rms(&q, &operands[2], EPSILON);
        let k = normalize_rms(&self.arrange(&operands[1]), &operands[3], EPSILON);
        Array::concatenate(&[q, k].map(|heads| rotate(&heads, &self.cos, &self.sin)))
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let rotary = self.build_rotary(&operands[0].device());
        let q = self.view(&operands[0], self.sizes.heads);
        if !self.has_norm {
            return B::rope(q, &rotary, setting.config).flatten(0, 3);
        }
        let k = self.view(&operands[1], self.sizes.kv_heads);
        let norms = self.build_norms(operands);
        let QueryKey { q, k } = B::qk_norm_rope(QueryKey { q, k }, norms, &rotary, setting.config);
        Tensor::cat(vec![q.flatten(0, 3), k.flatten(0, 3)], 0)
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let rotary = self.build_rotary(&operands[0].device());
        let Sizes { batch, heads, kv_heads, length, head_dim } = self.sizes;
        let q_count = batch * heads * length * head_dim;
        let q_grad = reshape(grad.clone().narrow(0, 0, q_count), [batch, heads, length, head_dim]);
        if !self.has_norm {
            return vec![self.flatten(B::rope_backward(q_grad, &rotary, setting.config))];
        }
        let k_count = batch * kv_heads * length * head_dim;
        let k_grad = reshape(grad.narrow(0, q_count, k_count), [batch, kv_heads, length, head_dim]);
        let inputs = QueryKey { q: self.view(&operands[0], heads), k: self.view(&operands[1], kv_heads) };
        let (norms, grads) = (self.build_norms(operands), QueryKey { q: q_grad, k: k_grad });
        let grads = B::qk_norm_rope_backward(inputs, norms, &rotary, grads, setting.config);
        vec![self.flatten(grads.q), self.flatten(grads.k), Some(grads.q_gamma), Some(grads.k_gamma)]
    }
}
