//! What the backward passes of layers compute besides products: derivatives of activations, sums over rows, and the
//! gradient of a loss.
//!
//! Each reads its operands once and writes once, in place where the caller gives a buffer away. All are f32, as
//! gradients are.
//!
//! ```text
//! activation.rs     g · activation'(x), and its sum over the rows beside it
//! column_sums.rs    Σ g over the rows: the gradient of a bias
//! gated.rs          both factors of silu(gate) ⊙ up, and the product again
//! cross_entropy.rs  rows of logits: log-sum-exp, loss, and their gradient in place
//! head.rs           the loss of a language model's head by chunks of positions, with its gradients
//! ```

mod activation;
mod buffer;
mod column_sums;
mod cross_entropy;
mod gated;
mod head;

pub use activation::{activation_backward, activation_backward_with_sums};
pub use buffer::Buffer;
pub use column_sums::column_sums;
pub use cross_entropy::{RowLoss, cross_entropy};
pub use gated::silu_mul_backward;
pub(crate) use gated::split_gradient;
pub use head::{Head, HeadGradients, HeadLoss, head_cross_entropy};
