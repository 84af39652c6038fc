//! A hash for cached plans: a lookup happens at each product, and the standard library's, which withstands chosen
//! keys, takes as long as a product of 16 x 16 x 16 takes its arithmetic.

use core::hash::{BuildHasherDefault, Hasher};

/// Builds [`WordHasher`]s.
pub(super) type WordHash = BuildHasherDefault<WordHasher>;

/// Each word is added, multiplied by an odd constant (2⁶⁴ over the golden ratio) and its high half mixed into the low
/// one.
#[derive(Debug, Default)]
pub(super) struct WordHasher(u64);

impl WordHasher {
    fn mix(&mut self, word: u64) {
        let product = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, x: u8) {
        self.mix(x.into());
    }

    fn write_u32(&mut self, x: u32) {
        self.mix(x.into());
    }

    fn write_u64(&mut self, x: u64) {
        self.mix(x);
    }

    fn write_usize(&mut self, x: usize) {
        self.mix(x as u64);
    }

    fn write_isize(&mut self, x: isize) {
        self.mix(x as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::BuildHasher;
    use std::collections::HashSet;

    /// Shapes of models differ in few bits: all of them fall into different places of a table of 2¹⁶ but for what
    /// chance makes meet.
    #[test]
    fn near_keys_fall_apart() {
        let sizes = || (0..64usize).map(|i| 64 * i);
        let keys: Vec<(usize, usize)> = sizes().flat_map(|n| sizes().map(move |k| (n, k))).collect();
        let places: HashSet<u64> = keys.iter().map(|key| WordHash::default().hash_one(key) & 0xffff).collect();
        // 4096 keys that are thrown at random meet 126 times.
        assert!(places.len() > 3850, "{}", places.len());
    }
}
