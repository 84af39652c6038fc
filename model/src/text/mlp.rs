//! The MLP of a decoder layer: one gated MLP, or a mixture of experts.

use super::SparseMlp;
use crate::config::TextConfig;
use crate::layers::{Linear, LinearConfig, RmsNorm};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{AddNorm, FusedOps, GatedMlpWeights, KernelConfig, RmsWeights};

/// `down(silu(gate(x)) ⊙ up(x))` (SwiGLU, Shazeer 2020).
#[derive(Module, Debug)]
pub struct GatedMlp<B: Backend> {
    /// `hidden` to `intermediate`.
    pub gate_proj: Linear<B>,
    /// `hidden` to `intermediate`.
    pub up_proj: Linear<B>,
    /// `intermediate` to `hidden`.
    pub down_proj: Linear<B>,
}

impl<B: Backend> GatedMlp<B> {
    fn new(config: &TextConfig, device: &B::Device) -> Self {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        Self {
            gate_proj: LinearConfig::new(hidden, intermediate).init(device),
            up_proj: LinearConfig::new(hidden, intermediate).init(device),
            down_proj: LinearConfig::new(intermediate, hidden).init(device),
        }
    }
}

impl<B: FusedOps> GatedMlp<B> {
    /// `down(silu(gate(n)) ⊙ up(n)) + sum` for `sum = x + residual` and its norm `n`.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[batch, length, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        residual: Tensor<B, 3>,
        norm: &RmsNorm<B>,
        config: &KernelConfig,
    ) -> Tensor<B, 3> {
        let layers = [&self.gate_proj, &self.up_proj, &self.down_proj];
        if layers.iter().any(|layer| layer.lora.is_some()) {
            let AddNorm { sum, normed } = B::add_norm(x, residual, norm.weight.val(), norm.epsilon, config);
            let gate = self.gate_proj.forward(normed.clone(), config);
            let up = self.up_proj.forward(normed, config);
            return self.down_proj.forward_residual(B::silu(gate, config) * up, sum, config);
        }
        let [gate, up, down] = layers.map(Linear::weight);
        let norm = RmsWeights { gamma: norm.weight.val(), epsilon: norm.epsilon };
        B::add_norm_mlp_gated(x, residual, &norm, &GatedMlpWeights { gate, up, down }, config)
    }
}

/// What stands in the MLP's place in a layer.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one value a layer: boxing would only cost the derive its `Module`
pub enum Mlp<B: Backend> {
    /// One gated MLP.
    Dense(GatedMlp<B>),
    /// A mixture of gated MLPs.
    Sparse(SparseMlp<B>),
}

impl<B: Backend> Mlp<B> {
    /// The MLP of layer `layer`.
    pub(super) fn new(config: &TextConfig, layer: usize, device: &B::Device) -> Self {
        match &config.moe {
            Some(moe) if config.is_moe_layer(layer) => Self::Sparse(SparseMlp::new(config.hidden_size, moe, device)),
            _ => Self::Dense(GatedMlp::new(config, device)),
        }
    }
}

impl<B: FusedOps> Mlp<B> {
    /// `mlp(norm(sum)) + sum` for `sum = x + residual`.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[batch, length, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        residual: Tensor<B, 3>,
        norm: &RmsNorm<B>,
        config: &KernelConfig,
    ) -> Tensor<B, 3> {
        match self {
            Self::Dense(mlp) => mlp.forward(x, residual, norm, config),
            Self::Sparse(mlp) => {
                let AddNorm { sum, normed } = B::add_norm(x, residual, norm.weight.val(), norm.epsilon, config);
                mlp.forward(normed, sum, config)
            }
        }
    }
}
