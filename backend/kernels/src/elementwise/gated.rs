//! The product in the middle of a gated MLP (Shazeer 2020, "GLU variants improve transformer").

use crate::ElementType;
use crate::math::{LaneOps, Unrolled, silu, silu_bf16};
use crate::rows::{GRAIN, Source, Target, UNROLL, by_dtype, load, share, spans, store, streams};
use crate::simd::{Isa, Kernel};
use crate::{Floats, FloatsMut, Launch, Storage};

/// `out[i] = silu(gate[i]) · up[i]`.
///
/// # Panics
/// If the lengths or the element types differ.
pub fn silu_mul(launch: Launch, gate: Floats<'_>, up: Floats<'_>, out: FloatsMut<'_>) {
    by_dtype!((gate: Floats, up: Floats, out: FloatsMut) => {
        run(launch, Source::new(gate), Source::new(up), Target::new(out));
    });
}

/// `gate[i] = silu(gate[i]) · up[i]`.
///
/// # Panics
/// As [`silu_mul`].
pub fn silu_mul_in_place(launch: Launch, gate: FloatsMut<'_>, up: Floats<'_>) {
    by_dtype!((gate: FloatsMut, up: Floats) => {
        let gate = Target::new(gate);
        run(launch, gate.source(), Source::new(up), gate);
    });
}

fn run<S: Storage>(launch: Launch, gate: Source<S>, up: Source<S>, out: Target<S>) {
    assert_eq!(gate.len(), out.len(), "elements of the gate and of the result");
    assert_eq!(up.len(), out.len(), "elements of up and of the result");
    let in_place = gate.start() == out.source().start();
    let stream = !in_place && streams(size_of::<S>() * out.len());
    share(launch, 3 * size_of::<S>() * out.len()).split(out.len(), GRAIN, |part| {
        let (gate, up, out, len) = (gate.part(&part), up.part(&part), out.part(&part), part.len());
        launch.tier.run(GatedElements { gate, up, out, len, stream });
    });
}

/// `len` elements; `gate` and `out` are the same or do not overlap.
struct GatedElements<S> {
    gate: *const S,
    up: *const S,
    out: *mut S,
    len: usize,
    stream: bool,
}

impl<S: Storage> Kernel for GatedElements<S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        if self.stream {
            self.run::<I, true>(isa);
            isa.fence();
        } else {
            self.run::<I, false>(isa);
        }
    }
}

/// `silu(gate) · up`, to what rounding to `S` leaves of it.
#[inline(always)]
fn multiply<I: LaneOps, S: Storage>(isa: I, gate: I::V, up: I::V) -> I::V {
    let open = if matches!(S::TYPE, ElementType::Bf16) { silu_bf16(isa, gate) } else { silu(isa, gate) };
    isa.mul(open, up)
}

impl<S: Storage> GatedElements<S> {
    #[inline(always)]
    fn run<I: Isa, const STREAM: bool>(&self, isa: I) {
        let Self { gate, up, out, len, .. } = *self;
        let span = spans::<I, S, STREAM>(isa, out, len);
        for at in (span.blocks..span.rest).step_by(UNROLL * I::LANES) {
            // SAFETY: `run` took the pointers from checked parts of `len` elements; a block ends at `rest` or before.
            unsafe {
                let gate = S::load_block::<I, UNROLL>(isa, gate.add(at));
                let up = S::load_block::<I, UNROLL>(isa, up.add(at));
                S::store_block_near::<I, UNROLL, STREAM>(isa, out.add(at), multiply::<_, S>(Unrolled(isa), gate, up));
            }
        }
        for (begin, end) in span.singles() {
            for at in (begin..end).step_by(I::LANES) {
                let n = I::LANES.min(end - at);
                // SAFETY: `run` took the pointers from checked parts of `len` elements; at + n ≤ len.
                unsafe {
                    let product = multiply::<_, S>(isa, load(isa, gate.add(at), n), load(isa, up.add(at), n));
                    store(isa, out.add(at), S::round_near(isa, product), n);
                }
            }
        }
    }
}
