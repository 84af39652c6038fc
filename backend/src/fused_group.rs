//! Groups of ops that are one call of an engine: what Kiln asks before it calls a hook, and `explain` asks too.

use crate::op_shape::OpShape;
use burn_kiln_fusion::config::FusionConfig;

/// A group of ops that the section `fusion` switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FusedGroup {
    /// A product, its bias, activation and residual.
    LinearEpilogue,
    /// Scores, softmax and their weighted sum.
    Attention,
    /// Norm and rotation of heads.
    Heads,
    /// Head norms, rotation, cache append and attention.
    AttentionRotary,
    /// Products and activation of a gated MLP.
    Mlp,
    /// Residual addition, norm and a gated MLP.
    AddNormMlp,
    /// A norm and the linear layers after it.
    NormLinears,
    /// A residual addition and the norm of the sum.
    AddNorm,
    /// Router, experts and their sum.
    Moe,
}

impl FusedGroup {
    /// Whether it is one call, if the engine takes it.
    pub fn is_on(self, fusion: &FusionConfig) -> bool {
        self.find_off(fusion).is_none()
    }

    /// The switch that makes it run op by op.
    pub fn find_off(self, fusion: &FusionConfig) -> Option<&'static str> {
        let needed: &[(bool, &'static str)] = match self {
            Self::LinearEpilogue => &[(fusion.linear_epilogue, "fusion.linear_epilogue")],
            Self::Attention => &[(fusion.attention, "fusion.attention")],
            Self::Heads => &[(fusion.qk_norm_rope, "fusion.qk_norm_rope")],
            Self::AttentionRotary => {
                &[(fusion.attention, "fusion.attention"), (fusion.qk_norm_rope, "fusion.qk_norm_rope")]
            }
            Self::Mlp => &[(fusion.mlp, "fusion.mlp")],
            Self::AddNormMlp => &[(fusion.mlp, "fusion.mlp"), (fusion.add_norm, "fusion.add_norm")],
            Self::NormLinears => &[(fusion.norm_linear, "fusion.norm_linear")],
            Self::AddNorm => &[(fusion.add_norm, "fusion.add_norm")],
            Self::Moe => &[(fusion.moe, "fusion.moe")],
        };
        needed.iter().find(|(on, _)| !on).map(|&(_, switch)| switch)
    }

    /// The group that `op` is, if it is one.
    pub fn of<W>(op: &OpShape<W>) -> Option<Self> {
        match op {
            OpShape::Norm { residual: true, .. } => Some(Self::AddNorm),
            OpShape::NormLinears { .. } => Some(Self::NormLinears),
            OpShape::Heads(_) => Some(Self::Heads),
            OpShape::Attention(_) => Some(Self::Attention),
            OpShape::GatedMlp { .. } => Some(Self::Mlp),
            OpShape::Moe { .. } => Some(Self::Moe),
            OpShape::Norm { residual: false, .. }
            | OpShape::Softmax { .. }
            | OpShape::Activation(_)
            | OpShape::Embedding { .. } => None,
        }
    }
}
