//! Attention: grouped heads, causal offsets, masks, biases, soft caps, segments, queries that see nothing.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::{assert_close, reshape, upload, upload_mask, upload_shaped};
use super::{Sampler, Suite};
use crate::reference::{Array, AttentionArrays, AttentionRules, attend};
use crate::{AttentionInputs, AttentionOptions, FusedOps, TrainingOps};
use burn_tensor::Tensor;
use std::sync::Arc;

/// Checks [`FusedOps::attention`] without a cache, [`TrainingOps::attention_forward`] and the gradients.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    let small = Sizes { batch: 2, heads: 4, kv_heads: 2, queries: 3, keys: 5, head_dim: 4 };
    let square = Sizes { keys: 3, ..small };
    let short = Sizes { queries: 4, keys: 2, ..small };
    let segments = [1, 1, 3];
    let plain = Rules::default();
    let cases = [
        AttentionCase::new(small, plain.clone()),
        AttentionCase::new(small, Rules { is_strided: true, causal: true, ..plain.clone() }),
        AttentionCase::new(small, Rules { scale: Some(0.3), softcap: Some(0.7), ..plain.clone() }),
        AttentionCase::new(small, Rules { mask: Some([2, 4]), bias: Some([1, 4]), ..plain.clone() }),
        AttentionCase::new(small, Rules { mask: Some([1, 1]), bias: Some([2, 1]), causal: true, ..plain.clone() }),
        AttentionCase::new(square, Rules { segments: Some(segments.to_vec()), ..plain.clone() }),
        AttentionCase::new(square, Rules { segments: Some(segments.to_vec()), causal: true, ..plain.clone() }),
        AttentionCase::new(short, Rules { causal: true, ..plain.clone() }),
        AttentionCase::new(
            Sizes { kv_heads: 4, ..small },
            Rules { trains_bias: true, bias: Some([2, 4]), ..plain.clone() },
        ),
        AttentionCase::new(Sizes { kv_heads: 1, ..small }, plain.clone()),
    ];
    for case in cases {
        check_case(suite, &case);
        check_log_sum_exp(suite, &case);
    }
    // Past the edges of tiles; one query against many keys; none at all.
    for (queries, keys, head_dim) in [(1, 131, 64), (67, 67, 34), (33, 130, 8), (0, 5, 8), (3, 0, 8)] {
        let sizes = Sizes { batch: 1, heads: 6, kv_heads: 2, queries, keys, head_dim };
        check_output(suite, &AttentionCase::new(sizes, plain.clone()));
        check_output(suite, &AttentionCase::new(sizes, Rules { causal: true, is_strided: true, ..plain.clone() }));
        check_output(suite, &AttentionCase::new(sizes, Rules { mask: Some([1, 6]), ..plain.clone() }));
    }
    let sizes = Sizes { batch: 1, heads: 2, kv_heads: 2, queries: 70, keys: 70, head_dim: 16 };
    check_output(suite, &AttentionCase::new(sizes, Rules { segments: Some(vec![33, 34, 70]), ..plain }));
}

/// The log-sum-exp, -∞ for queries that see nothing included.
fn check_log_sum_exp<B: TrainingOps>(suite: &Suite<B>, case: &AttentionCase) {
    let operands: Vec<_> = case.operands.iter().map(|operand| upload::<B>(operand, &suite.device)).collect();
    let (inputs, options) = case.build(&operands);
    let forward = B::attention_forward(inputs, &options, &suite.config);
    let (_, lse) = case.attend(&case.operands);
    let what = format!("lse of {}", case.describe());
    assert_close(&what, forward.lse, &lse, suite.tolerance.output);
}

/// Sizes of one attention.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    head_dim: usize,
}

/// Options of one case. A mask and a bias have `[batch, heads]` of their own, each 1 or whole.
#[derive(Debug, Clone, Default)]
struct Rules {
    scale: Option<f64>,
    causal: bool,
    softcap: Option<f64>,
    mask: Option<[usize; 2]>,
    bias: Option<[usize; 2]>,
    trains_bias: bool,
    segments: Option<Vec<usize>>,
    is_strided: bool,
}

/// Operands: `q`, `k`, `v`, then a bias that is trained. Strided ones are views of `[batch, length, heads, head_dim]`.
struct AttentionCase {
    sizes: Sizes,
    rules: Rules,
    operands: Vec<Array>,
    mask: Option<Array>,
    bias: Option<Array>,
}

impl AttentionCase {
    fn new(sizes: Sizes, rules: Rules) -> Self {
        let mut sampler = Sampler::new(10);
        let Sizes { batch, heads, kv_heads, queries, keys, head_dim } = sizes;
        let shape = |heads, length| match rules.is_strided {
            true => [batch, length, heads, head_dim],
            false => [batch, heads, length, head_dim],
        };
        let mut operands = vec![
            sampler.draw(&shape(heads, queries)).map(|value| value * 2.0),
            sampler.draw(&shape(kv_heads, keys)).map(|value| value * 2.0),
            sampler.draw(&shape(kv_heads, keys)),
        ];
        let mask = rules.mask.map(|[batch, heads]| {
            let mut mask = sampler.draw(&[batch, heads, queries, keys]).map(|value| f64::from(value > 0.2));
            // The first query of the first head sees nothing.
            mask.data.iter_mut().take(keys).for_each(|hidden| *hidden = 1.0);
            mask
        });
        let bias = rules.bias.map(|[batch, heads]| sampler.draw(&[batch, heads, queries, keys]));
        if rules.trains_bias {
            operands.extend(bias.clone());
        }
        Self { sizes, rules, operands, mask, bias }
    }

    fn view<B: TrainingOps>(&self, flat: &Tensor<B, 1>, heads: usize, length: usize) -> Tensor<B, 4> {
        let Sizes { batch, head_dim, .. } = self.sizes;
        match self.rules.is_strided {
            true => reshape(flat.clone(), [batch, length, heads, head_dim]).swap_dims(1, 2),
            false => reshape(flat.clone(), [batch, heads, length, head_dim]),
        }
    }

    fn flatten<B: TrainingOps>(&self, heads: Tensor<B, 4>) -> Option<Tensor<B, 1>> {
        let heads = if self.rules.is_strided { heads.swap_dims(1, 2) } else { heads };
        Some(heads.flatten(0, 3))
    }

    fn build<B: TrainingOps>(&self, operands: &[Tensor<B, 1>]) -> (AttentionInputs<B>, AttentionOptions<B>) {
        let Sizes { heads, kv_heads, queries, keys, .. } = self.sizes;
        let device = operands[0].device();
        let inputs = AttentionInputs {
            q: self.view(&operands[0], heads, queries),
            k: self.view(&operands[1], kv_heads, keys),
            v: self.view(&operands[2], kv_heads, keys),
        };
        let bias = self.bias.as_ref().map(|bias| {
            let constant = upload_shaped::<B, 4>(bias, &device);
            operands.get(3).map_or(constant.clone(), |trained| reshape(trained.clone(), constant.dims()))
        });
        let options = AttentionOptions {
            scale: self.rules.scale,
            causal: self.rules.causal,
            softcap: self.rules.softcap,
            mask: self.mask.as_ref().map(|mask| upload_mask(mask, &device)),
            bias,
            segments: self.rules.segments.as_deref().map(Arc::from),
            kv_dtype: None,
        };
        (inputs, options)
    }

    fn attend(&self, operands: &[Array]) -> (Array, Array) {
        let arrange = |operand: &Array| match self.rules.is_strided {
            true => operand.swap_middle(),
            false => operand.clone(),
        };
        let [q, k, v] = [0, 1, 2].map(|index| arrange(&operands[index]));
        let rules = AttentionRules {
            scale: self.rules.scale,
            causal: self.rules.causal,
            softcap: self.rules.softcap,
            mask: self.mask.as_ref(),
            bias: operands.get(3).or(self.bias.as_ref()),
            segments: self.rules.segments.as_deref(),
        };
        attend(AttentionArrays { q: &q, k: &k, v: &v }, &rules)
    }
}

impl Case for AttentionCase {
    fn describe(&self) -> String {
        format!("attention of {:?}, {:?}", self.sizes, self.rules)
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        self.attend(operands).0
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let (inputs, options) = self.build(operands);
        FusedOps::attention(inputs, &options, None, setting.config).flatten(0, 3)
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let (inputs, options) = self.build(operands);
        let forward = B::attention_forward(inputs.clone(), &options, setting.config);
        let grad = reshape(grad, forward.output.dims());
        let grads = TrainingOps::attention_backward(inputs, &options, forward, grad, setting.config);
        vec![self.flatten(grads.q), self.flatten(grads.k), self.flatten(grads.v)]
    }
}
