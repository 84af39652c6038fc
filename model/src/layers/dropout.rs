//! Dropout whose masks follow from numbers that are given, not from a generator that is used up.
//!
//! ```text
//! mask_i = 0              where u_i < p        u_i = the i-th number of SplitMix64(seed of the layer, pass), in [0, 1)
//!          1 / (1 - p)    elsewhere
//! ```
//!
//! The same pass gives the same masks: a layer that is computed again for its gradients drops what it dropped before,
//! and a run that is resumed at step `n` goes on as if it had never stopped. Source: "Dropout" (Srivastava and others
//! 2014), scaled while training.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Values of a mask that one task makes.
const CHUNK: usize = 1 << 14;

/// The increment of SplitMix64 (Steele, Lea and Flood 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Which pass the dropout of a model is in; none, and nothing is dropped. Clones of a model share it.
#[derive(Debug, Clone, Default)]
pub struct DropoutPass(Arc<AtomicU64>);

impl DropoutPass {
    /// Starts pass number `pass`: layers drop by its masks until the guard goes.
    ///
    /// Give each forward pass of a training run a number of its own, and the forward pass that is run again for the
    /// same gradients the same number.
    pub fn begin(&self, pass: u64) -> DropoutGuard {
        self.0.store(pass.wrapping_add(1), Ordering::Relaxed);
        DropoutGuard(self.clone())
    }

    /// The pass under way.
    pub fn current(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// Ends a pass of dropout when it is dropped.
#[derive(Debug)]
#[must_use = "dropout ends with it"]
pub struct DropoutGuard(DropoutPass);

impl Drop for DropoutGuard {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Relaxed);
    }
}

/// Dropout of one layer's input.
#[derive(Debug, Clone, Default)]
pub struct Dropout {
    /// The share of values that is dropped, in [0, 1).
    pub probability: f64,
    /// The layer's own; layers of the same seed drop the same places.
    pub seed: u64,
    /// The model's.
    pub pass: DropoutPass,
}

impl Dropout {
    /// `x` with its dropped values 0 and the others larger, while a pass is under way.
    pub(super) fn forward<B: Backend, const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let pass = self.pass.current().filter(|_| self.probability > 0.0);
        let Some(pass) = pass else { return x };
        let mask = self.mask(pass, x.shape().num_elements());
        let mask = Tensor::from_data(TensorData::new(mask, x.shape()), &x.device());
        x * mask
    }

    fn mask(&self, pass: u64, count: usize) -> Vec<f32> {
        let key = mix(mix(self.seed).wrapping_add(pass));
        let kept = (1.0 / (1.0 - self.probability)) as f32;
        // The 53 bits of a number below it are dropped.
        let threshold = (self.probability * (1u64 << 53) as f64) as u64;
        let mut mask = vec![0.0; count];
        mask.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            for (i, value) in values.iter_mut().enumerate() {
                let counter = (chunk * CHUNK + i) as u64;
                let number = mix(key.wrapping_add(counter.wrapping_mul(GOLDEN))) >> 11;
                *value = if number < threshold { 0.0 } else { kept };
            }
        });
        mask
    }
}

/// The output function of SplitMix64.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    fn ones(dropout: &Dropout) -> Vec<f32> {
        let x = Tensor::<Flex, 2>::ones([100, 1000], &Default::default());
        dropout.forward(x).into_data().to_vec().unwrap()
    }

    #[test]
    fn a_pass_drops_its_share_and_the_same_again() {
        let dropout = Dropout { probability: 0.25, seed: 3, pass: DropoutPass::default() };
        assert!(ones(&dropout).iter().all(|&x| x == 1.0), "no pass, no dropout");
        let guard = dropout.pass.begin(7);
        let first = ones(&dropout);
        assert_eq!(first, ones(&dropout));
        let dropped = first.iter().filter(|&&x| x == 0.0).count() as f64 / first.len() as f64;
        // Deviation of a share of 100,000: 0.0014.
        assert!((dropped - 0.25).abs() < 0.007, "{dropped}");
        assert!(first.iter().all(|&x| x == 0.0 || x == 4.0 / 3.0));
        let other_layer = Dropout { seed: 4, ..dropout.clone() };
        assert_ne!(first, ones(&other_layer));
        drop(guard);
        let guard = dropout.pass.begin(8);
        assert_ne!(first, ones(&dropout), "another pass");
        drop(guard);
        assert!(dropout.pass.current().is_none());
    }
}
