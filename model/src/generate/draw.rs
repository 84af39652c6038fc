//! Random numbers that a seed fixes, and the token that a number picks.
//!
//! ```text
//! key    the seed's 8 bytes, little-endian, and 24 zeros; nonce 0, counter from 0
//! x      the next 8 bytes of ChaCha20's key stream, little-endian
//! u      (x >> 11) · 2⁻⁵³                                  within 0..1
//! token  the first, by id, whose weight and those before it sum to more than u · (sum of all weights)
//! ```
//!
//! All in f64 and in order, so that neither threads nor versions of a library change a draw; `exp` of the weights is
//! the platform's, whose last bit moves a draw with a probability of about 2⁻⁵⁰. Source of ChaCha20: RFC 8439, section
//! 2.4 (with a 64-bit counter, as originally by Bernstein).

use super::Candidate;
use super::candidates::sum_weights;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of draws.
#[derive(Debug, Clone)]
pub(super) struct Draws {
    seed: u64,
    stream: ChaCha20Rng,
}

impl Draws {
    /// The stream of `seed`, or of one from the operating system.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(rand::random);
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self { seed, stream: ChaCha20Rng::from_seed(key) }
    }

    /// The seed.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The next number, within 0..1.
    pub(super) fn next(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        (self.stream.next_u64() >> 11) as f64 * STEP
    }
}

/// The token that `number` picks; `None` of none.
pub(super) fn pick(candidates: &[Candidate], number: f64) -> Option<u32> {
    let target = number * sum_weights(candidates);
    let mut sum = 0.0;
    let found = candidates.iter().find(|candidate| {
        sum += candidate.weight;
        sum > target
    });
    // The product may have been rounded up to the whole sum.
    found.or(candidates.last()).map(|candidate| candidate.token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_key_stream() {
        // RFC 8439, A.1, test vector 1: key, nonce and counter 0 give 76 b8 e0 ad a0 f1 3d 90 40 5d 6a e5 53 86 bd 28.
        let mut draws = Draws::new(Some(0));
        for word in [0x903d_f1a0_ade0_b876_u64, 0x28bd_8653_e56a_5d40] {
            assert_eq!(draws.next(), (word >> 11) as f64 / 9_007_199_254_740_992.0);
        }
    }

    #[test]
    fn a_number_picks_by_cumulative_weight() {
        let candidates = [(3, 0.5), (4, 1.0), (9, 0.5)].map(|(token, weight)| Candidate { token, weight });
        let picked = [0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999].map(|number| pick(&candidates, number).unwrap());
        assert_eq!(picked, [3, 3, 4, 4, 9, 9]);
        assert_eq!(pick(&candidates, 1.0), Some(9));
        assert_eq!(pick(&[], 0.5), None);
    }

    #[test]
    fn without_a_seed_streams_differ() {
        assert_ne!(Draws::new(None).seed(), Draws::new(None).seed());
    }
}
