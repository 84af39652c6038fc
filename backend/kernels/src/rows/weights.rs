//! Weights of a row, widened once for all rows.

use super::{UNROLL, load};
use crate::simd::{Isa, Kernel};
use crate::{Floats, Launch, Storage};
use std::borrow::Cow;

/// Weights `[d]` as f32, in the order in which [`Storage::load_block`] of rows of `S` has its lanes.
pub(crate) struct Widened<'a>(Cow<'a, [f32]>);

impl<'a> Widened<'a> {
    /// `weights` for rows of `S`. Borrowed where nothing has to be changed.
    pub(crate) fn new<S: Storage>(launch: Launch, weights: Floats<'a>) -> Self {
        let mut to = Vec::new();
        match weights {
            Floats::F32(from) if !S::SPLIT => return Self(Cow::Borrowed(from)),
            Floats::F32(from) => launch.tier.run(Widen { from, to: &mut to, split: S::SPLIT }),
            Floats::Bf16(from) => launch.tier.run(Widen { from, to: &mut to, split: S::SPLIT }),
            Floats::F16(from) => launch.tier.run(Widen { from, to: &mut to, split: S::SPLIT }),
        }
        Self(Cow::Owned(to))
    }

    /// The numbers.
    pub(crate) fn get(&self) -> &[f32] {
        &self.0
    }
}

struct Widen<'a, W> {
    from: &'a [W],
    to: &'a mut Vec<f32>,
    split: bool,
}

impl<W: Storage> Kernel for Widen<'_, W> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { from, to, split } = self;
        let len = from.len();
        to.reserve_exact(len);
        let (from, out) = (from.as_ptr(), to.as_mut_ptr());
        // A NaN with any low half would not survive the rounding of 16-bit stores.
        let canonical = |v| isa.select(isa.is_nan(v), isa.splat(f32::NAN), v);
        let pairs = len / (UNROLL * I::LANES) * (UNROLL * I::LANES);
        // SAFETY: both hold `len` elements; every register ends at `len` or before.
        unsafe {
            for at in (0..pairs).step_by(2 * I::LANES) {
                let pair = [W::load(isa, from.add(at)), W::load(isa, from.add(at + I::LANES))].map(canonical);
                let [first, second] = if split { isa.split(pair) } else { pair };
                isa.store(out.add(at), first);
                isa.store(out.add(at + I::LANES), second);
            }
            for at in (pairs..len).step_by(I::LANES) {
                let n = I::LANES.min(len - at);
                super::store(isa, out.add(at), canonical(load(isa, from.add(at), n)), n);
            }
            // Every element was written.
            to.set_len(len);
        }
    }
}
