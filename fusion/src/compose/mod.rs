//! Default compositions: every fused op in plain Burn ops.
//!
//! They run on any backend, are differentiable on `Autodiff`, and say what a kernel must compute. A composition calls
//! the smaller ops of [`FusedOps`](crate::FusedOps) where it can, so that on a backend with single kernels those are
//! reached even where the whole has none. No composition calls the op that it is the default of.
//!
//! Numeric policy: everything is computed in the activations' dtype (f32); weights of another dtype are converted
//! before they are multiplied.

pub mod activation;
pub mod attention;
pub mod attention_rotary;
pub mod embedding;
pub mod linear;
pub mod loss;
pub mod mlp;
pub mod moe;
pub mod norm;
pub mod optim;
pub mod rope;

mod attention_blocks;
mod routing;
pub(crate) mod rows;
