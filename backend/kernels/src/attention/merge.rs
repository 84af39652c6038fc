//! Merging of sums over parts of the keys.

use super::decode_softmax::Running;
use super::partials::SharedPartials;
use super::unit::Unit;
use crate::Storage;
use crate::simd::{Isa, Kernel};

/// Merges the sums of a unit's splits and writes its result:
///
/// ```text
/// m = max m_s,   l = Σ l_s · 2^(m_s - m),   O = Σ O_s · 2^(m_s - m)
/// ```
pub(super) struct Merge<'a, S> {
    pub(super) unit: Unit<'a, S>,
    pub(super) blocks: SharedPartials,
    /// Index of the first split's block.
    pub(super) first: usize,
    pub(super) splits: usize,
}

impl<S: Storage> Kernel for Merge<'_, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let columns = self.blocks.columns();
        let into = self.blocks.of(self.first).running(columns);
        // SAFETY: blocks were made for the rows of a unit, and no thread works on them any more.
        unsafe {
            for split in 1..self.splits {
                let from = self.blocks.of(self.first + split).running(columns);
                for row in 0..self.unit.span.rows() {
                    merge_row(isa, into, from, row);
                }
            }
            self.unit.write(isa, into);
        }
    }
}

/// Adds the sums of `from` to those of `into`.
///
/// # Safety
/// Both hold the row.
#[inline(always)]
unsafe fn merge_row<I: Isa>(isa: I, into: Running, from: Running, row: usize) {
    // SAFETY: both hold the row (`# Safety` of `merge_row`); columns are a whole number of registers.
    unsafe {
        let (a, b) = (*into.max.add(row), *from.max.add(row));
        let max = if b > a { b } else { a };
        // Where neither saw anything both factors are 0, and so are the sums.
        let shift = max.max(f32::MIN);
        let (of_a, of_b) = ((a - shift).exp2(), (b - shift).exp2());
        *into.max.add(row) = max;
        *into.sum.add(row) = *into.sum.add(row) * of_a + *from.sum.add(row) * of_b;
        let (of_a, of_b) = (isa.splat(of_a), isa.splat(of_b));
        let (to, from) = (into.out.add(row * into.columns), from.out.add(row * from.columns));
        for at in (0..into.columns).step_by(I::LANES) {
            let sum = isa.mul_add(isa.load(from.add(at)), of_b, isa.mul(isa.load(to.add(at)), of_a));
            isa.store(to.add(at), sum);
        }
    }
}
