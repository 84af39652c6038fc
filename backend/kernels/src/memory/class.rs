//! Size classes: four to each doubling.

/// The smallest class, bytes.
const SMALLEST: usize = 256;

/// Classes to each doubling: at most a fifth of a block is not used.
const STEPS: usize = 4;

/// A size class, by number. Classes of 256 bytes to 2⁴⁷ bytes; nothing larger is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Class(usize);

impl Class {
    /// Number of classes.
    pub(super) const COUNT: usize = 40 * STEPS;

    /// The smallest class that holds `bytes`; `None` beyond the largest.
    pub(super) fn of(bytes: usize) -> Option<Self> {
        if bytes <= SMALLEST {
            return Some(Self(0));
        }
        // The doubling that `bytes` lies in: 2^doubling < bytes ≤ 2^(doubling + 1).
        let doubling = (bytes - 1).ilog2() as usize;
        let step = 1usize << (doubling - STEPS.ilog2() as usize);
        let steps = (bytes - (1 << doubling)).div_ceil(step);
        let index = (doubling - SMALLEST.ilog2() as usize) * STEPS + steps;
        (index < Self::COUNT).then_some(Self(index))
    }

    /// Bytes of its blocks, a multiple of a cache line.
    pub(super) fn bytes(self) -> usize {
        let base = SMALLEST << (self.0 / STEPS);
        base + base / STEPS * (self.0 % STEPS)
    }

    /// Its number, below [`Class::COUNT`].
    pub(super) fn index(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_fits_its_class_and_no_smaller_one() {
        let around = |size: usize| [size - 1, size, size + 1];
        for bytes in (8..40).flat_map(|power| (4..9).flat_map(move |fifth| around((1usize << power) / 4 * fifth))) {
            let class = Class::of(bytes).unwrap();
            assert!(class.bytes() >= bytes, "{bytes}: {}", class.bytes());
            assert!(class.bytes().is_multiple_of(64));
            if class.0 > 0 {
                assert!(Class(class.0 - 1).bytes() < bytes, "{bytes}: {}", class.bytes());
            }
            assert!(bytes <= SMALLEST || class.bytes() * 4 <= bytes * 5 + 4, "{bytes}: {}", class.bytes());
        }
    }

    #[test]
    fn extremes() {
        assert_eq!(Class::of(0).map(Class::bytes), Some(256));
        assert_eq!(Class::of(256).map(Class::bytes), Some(256));
        assert_eq!(Class::of(257).map(Class::bytes), Some(320));
        assert_eq!(Class::of(usize::MAX), None);
        assert!(Class(Class::COUNT - 1).bytes() > 1 << 46);
    }
}
