//! Seeded inputs.

use crate::reference::Array;

/// A stream of numbers from a seed (SplitMix64; Steele, Lea and Flood 2014): the same on every machine.
#[derive(Debug, Clone)]
pub struct Sampler(u64);

impl Sampler {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Values in `[-1, 1)`, exact in bf16, f16 and f32: multiples of 1/128.
    pub fn draw(&mut self, shape: &[usize]) -> Array {
        let count = shape.iter().product();
        let data = (0..count).map(|_| (self.next() >> 56) as f64 / 128.0 - 1.0).collect();
        Array::new(shape, data)
    }

    /// Values around 1, for the weights of a norm.
    pub fn draw_gamma(&mut self, width: usize) -> Array {
        self.draw(&[width]).map(|value| 1.0 + value / 2.0)
    }

    /// Integers below `end`.
    pub fn draw_ids(&mut self, count: usize, end: usize) -> Vec<usize> {
        (0..count).map(|_| (self.next() % end as u64) as usize).collect()
    }
}
