//! The numbers of an AdamW step.

/// The numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// `lr`.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
    /// What gradients are multiplied by first: less than 1 where they are clipped.
    pub grad_scale: f64,
}
