//! A mixture of experts in the MLP's place.

use crate::config::MoeConfig;
use crate::layers::{Linear, LinearConfig, WEIGHT_INITIALIZER};
use crate::streaming::ExpertSource;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{FusedOps, KernelConfig, MoeOptions, MoeWeights};

/// The weights of all experts of a layer, fused as in released checkpoints (`[expert, in, out]`, unlike linear layers).
#[derive(Module, Debug)]
pub struct Experts<B: Backend> {
    /// `[experts, hidden, 2 · intermediate]`: gate first, up second.
    pub gate_up_proj: Param<Tensor<B, 3>>,
    /// `[experts, intermediate, hidden]`.
    pub down_proj: Param<Tensor<B, 3>>,
}

/// `Σ p_e · mlp_e(x)` over the experts that the router chooses for a token.
#[derive(Module, Debug)]
pub struct SparseMlp<B: Backend> {
    /// The router, `hidden` to `experts`.
    pub gate: Linear<B>,
    /// The experts.
    pub experts: Experts<B>,
    /// How experts are chosen.
    #[module(skip)]
    pub options: MoeOptions,
    /// Where the experts are read from, if they are not in the module.
    #[module(skip)]
    pub(crate) source: Option<ExpertSource>,
}

impl<B: Backend> SparseMlp<B> {
    pub(super) fn new(hidden: usize, moe: &MoeConfig, device: &B::Device) -> Self {
        let (experts, intermediate) = (moe.num_experts, moe.moe_intermediate_size);
        Self {
            gate: LinearConfig::new(hidden, experts).init(device),
            experts: Experts {
                gate_up_proj: WEIGHT_INITIALIZER.init([experts, hidden, 2 * intermediate], device),
                down_proj: WEIGHT_INITIALIZER.init([experts, intermediate, hidden], device),
            },
            options: MoeOptions { top_k: moe.num_experts_per_tok, norm_topk_prob: true },
            source: None,
        }
    }
}

impl<B: FusedOps> SparseMlp<B> {
    /// `mixture(x) + residual`.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[batch, length, hidden]`.
    pub fn forward(&self, x: Tensor<B, 3>, residual: Tensor<B, 3>, config: &KernelConfig) -> Tensor<B, 3> {
        let [batch, length, hidden] = x.dims();
        // [batch, length, hidden] -> [tokens, hidden] and back: each token is routed alone.
        let x = x.reshape([batch * length, hidden]);
        let [gate_up, down] = match &self.source {
            None => [self.experts.gate_up_proj.val(), self.experts.down_proj.val()],
            Some(source) => match source.read(&x, &self.gate.weight(), self.options, config) {
                Some(arrays) => arrays,
                // The decoder learns of it after this layer.
                None => return residual,
            },
        };
        let weights = MoeWeights { router: self.gate.weight(), gate_up, down };
        let mixed = B::moe(x, &weights, self.options, config);
        mixed.reshape([batch, length, hidden]) + residual
    }
}
