//! The gradients of both factors of `silu(gate) ⊙ up`.

use super::Buffer;
use crate::math::{LaneOps, Unrolled, silu_and_slope};
use crate::rows::{GRAIN, UNROLL, load, share, store};
use crate::simd::{Isa, Kernel};
use crate::{Launch, Storage};

/// With `h = silu(gate) ⊙ up` and its gradient `dh`: `gate` becomes `dh ⊙ up ⊙ silu'(gate)`, `up` becomes `dh ⊙
/// silu(gate)`, and `dh` becomes `h`, which the gradient of the next matrix needs. One pass over three buffers, and one
/// exponential.
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul_backward(launch: Launch, gate: Buffer<'_>, up: Buffer<'_>, dh: Buffer<'_>) {
    let [gate, up, dh] = [gate, up, dh].map(Buffer::ends);
    let len = gate.1.len();
    assert_eq!([up.1.len(), dh.1.len()], [len; 2], "elements of the gate, of what it opens and of the gradient");
    share(launch, 6 * size_of::<f32>() * len).split(len, GRAIN, |part| {
        let from = [gate.0, up.0, dh.0].map(|x| x.part(&part));
        let to = [gate.1, up.1, dh.1].map(|x| x.part(&part));
        launch.tier.run(SplitElements { from, to, len: part.len() });
    });
}

/// The gradients of the gate and of up, and the product again.
#[inline(always)]
pub(crate) fn split_gradient<I: LaneOps>(isa: I, [gate, up, dh]: [I::V; 3]) -> [I::V; 3] {
    let [open, slope] = silu_and_slope(isa, gate);
    [isa.mul(isa.mul(dh, up), slope), isa.mul(dh, open), isa.mul(open, up)]
}

/// `len` elements of each; a source and its target are the same or do not overlap, and no others do.
struct SplitElements {
    from: [*const f32; 3],
    to: [*mut f32; 3],
    len: usize,
}

impl Kernel for SplitElements {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { from: [gate, up, dh], to, len } = self;
        let blocks = len / (UNROLL * I::LANES) * UNROLL * I::LANES;
        for at in (0..blocks).step_by(UNROLL * I::LANES) {
            // SAFETY: `silu_mul_backward` took the pointers from checked parts of `len` elements; a block ends at `len`
            // or before.
            unsafe {
                let operands = [
                    f32::load_block(isa, gate.add(at)),
                    f32::load_block(isa, up.add(at)),
                    f32::load_block(isa, dh.add(at)),
                ];
                let results = split_gradient(Unrolled::<_, UNROLL>(isa), operands);
                f32::store_block::<I, UNROLL, false>(isa, to[0].add(at), results[0]);
                f32::store_block::<I, UNROLL, false>(isa, to[1].add(at), results[1]);
                f32::store_block::<I, UNROLL, false>(isa, to[2].add(at), results[2]);
            }
        }
        for at in (blocks..len).step_by(I::LANES) {
            let n = I::LANES.min(len - at);
            // SAFETY: `silu_mul_backward` took the pointers from checked parts of `len` elements; at + n ≤ len.
            unsafe {
                let operands = [load(isa, gate.add(at), n), load(isa, up.add(at), n), load(isa, dh.add(at), n)];
                let results = split_gradient(isa, operands);
                store(isa, to[0].add(at), results[0], n);
                store(isa, to[1].add(at), results[1], n);
                store(isa, to[2].add(at), results[2], n);
            }
        }
    }
}
