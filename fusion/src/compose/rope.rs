//! Rotary position embedding and the head norms before it.

use super::rows::reshape;
use crate::{FusedOps, HeadNorms, KernelConfig, NormGrads, QkGrads, QueryKey, RmsWeights, Rotary, TrainingOps};
use burn_tensor::Tensor;

/// Default of [`FusedOps::rope`]: with halves `a` and `b` of a head, `(a·cos - b·sin, b·cos + a·sin)`.
pub fn rope<B: FusedOps>(x: Tensor<B, 4>, rotary: &Rotary<B>, _config: &KernelConfig) -> Tensor<B, 4> {
    let half = x.dims()[3] / 2;
    let [batch, length, _] = rotary.cos.dims();
    // One angle for all heads.
    let spread = |angles: &Tensor<B, 3>| reshape(angles.clone().cast(x.dtype()), [batch, 1, length, half]);
    let (cos, sin) = (spread(&rotary.cos), spread(&rotary.sin));
    let a = x.clone().narrow(3, 0, half);
    let b = x.narrow(3, half, half);
    let first = a.clone() * cos.clone() - b.clone() * sin.clone();
    let second = b * cos + a * sin;
    Tensor::cat(vec![first, second], 3)
}

/// Default of [`TrainingOps::rope_backward`].
pub fn rope_backward<B: TrainingOps>(grad: Tensor<B, 4>, rotary: &Rotary<B>, config: &KernelConfig) -> Tensor<B, 4> {
    B::rope(grad, &Rotary { cos: rotary.cos.clone(), sin: -rotary.sin.clone() }, config)
}

/// Default of [`FusedOps::qk_norm_rope`].
pub fn qk_norm_rope<B: FusedOps>(
    heads: QueryKey<B>,
    norms: HeadNorms<B>,
    rotary: &Rotary<B>,
    config: &KernelConfig,
) -> QueryKey<B> {
    let HeadNorms { q_gamma, k_gamma, epsilon } = norms;
    let q = B::rms_norm(heads.q, q_gamma, epsilon, config);
    let k = B::rms_norm(heads.k, k_gamma, epsilon, config);
    QueryKey { q: B::rope(q, rotary, config), k: B::rope(k, rotary, config) }
}

/// Default of [`TrainingOps::qk_norm_rope_backward`].
pub fn qk_norm_rope_backward<B: TrainingOps>(
    heads: QueryKey<B>,
    norms: HeadNorms<B>,
    rotary: &Rotary<B>,
    grads: QueryKey<B>,
    config: &KernelConfig,
) -> QkGrads<B> {
    let HeadNorms { q_gamma, k_gamma, epsilon } = norms;
    let q = B::norm_rope_backward(heads.q, RmsWeights { gamma: q_gamma, epsilon }, rotary, grads.q, config);
    let k = B::norm_rope_backward(heads.k, RmsWeights { gamma: k_gamma, epsilon }, rotary, grads.k, config);
    QkGrads { q: q.x, k: k.x, q_gamma: q.gamma, k_gamma: k.gamma }
}

/// Default of [`TrainingOps::norm_rope_backward`]: the rotation back, then the norm's.
pub fn norm_rope_backward<B: TrainingOps>(
    x: Tensor<B, 4>,
    norm: RmsWeights<B>,
    rotary: &Rotary<B>,
    grad: Tensor<B, 4>,
    config: &KernelConfig,
) -> NormGrads<B, 4> {
    let grad = B::rope_backward(grad, rotary, config);
    let forward = B::rms_norm_forward(x.clone(), norm.gamma.clone(), norm.epsilon, config);
    B::rms_norm_backward(x, norm.gamma, forward.rstd, grad, config)
}
