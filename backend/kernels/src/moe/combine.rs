//! The weighted sum of a token's experts.

use super::routing::Routing;
use crate::Launch;
use crate::rows::{Source, Target, load, share, store};
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// `out[t] = Σ weight[slot] · rows[place of slot]` over the ranks of each token, in their order.
pub(super) fn combine(launch: Launch, rows: &[f32], routing: &Routing, top_k: usize, out: &mut [f32]) {
    let tokens = routing.places.len() / top_k;
    let hidden = out.len() / tokens;
    let bytes = size_of_val(rows) + size_of_val(out);
    let (rows, out) = (Source::new(rows), Target::new(out));
    share(launch, bytes).split(tokens, 1, |tokens| {
        launch.tier.run(Combine { rows, out, routing, hidden, tokens });
    });
}

/// Tokens of one thread.
struct Combine<'a> {
    rows: Source<f32>,
    out: Target<f32>,
    routing: &'a Routing,
    hidden: usize,
    tokens: Range<usize>,
}

impl Kernel for Combine<'_> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { rows, out, routing, hidden, tokens } = self;
        for token in tokens {
            let slots = token * routing.top_k..(token + 1) * routing.top_k;
            let out = out.part(&(token * hidden..(token + 1) * hidden));
            for (rank, slot) in slots.enumerate() {
                let place = routing.places[slot];
                let row = rows.part(&(place * hidden..(place + 1) * hidden));
                let weight = isa.splat(routing.weights[slot]);
                for at in (0..hidden).step_by(I::LANES) {
                    let n = I::LANES.min(hidden - at);
                    // SAFETY: both parts were checked to hold a row, and no other thread has this token.
                    unsafe {
                        let x = load(isa, row.add(at), n);
                        let sum = match rank {
                            0 => isa.mul(weight, x),
                            _ => isa.mul_add(weight, x, load(isa, out.add(at), n)),
                        };
                        store(isa, out.add(at), sum, n);
                    }
                }
            }
        }
    }
}
