//! What a pass brings to every layer.

use burn_kiln_fusion::{AttentionOptions, FusedOps, KernelConfig, Rotary};

/// What all layers of a forward pass share.
#[derive(Debug)]
pub struct LayerContext<'a, B: FusedOps> {
    /// Angles of the positions of this pass.
    pub rotary: &'a Rotary<B>,
    /// Which keys a query sees.
    pub attention: &'a AttentionOptions<B>,
    /// Rows of each sequence, one behind the other.
    pub lengths: &'a [usize],
    /// What the kernels may use.
    pub kernels: &'a KernelConfig,
}
