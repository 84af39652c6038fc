//! The sum of the squares of all elements: the norm of a gradient, for clipping.
//!
//! ```text
//! run        1024 elements, summed in f32 by four registers: 16 to 32 terms a lane
//! chunk      2¹⁶ elements, their runs added in f64
//! sum        the chunks, added in f64 in their order
//! ```
//! Runs and chunks follow from the number of elements alone, so the sum does not depend on the number of threads.

use crate::rows::{Source, UNROLL, by_dtype, load, prefetch_block, prefetch_elements, share};
use crate::simd::{Isa, Kernel};
use crate::{Floats, Launch, Storage};
use core::sync::atomic::{AtomicU64, Ordering};

/// Elements that one sum of f32 takes in.
const RUN: usize = 1024;

/// Elements of a chunk: a whole number of runs, and 256 KiB of f32, what a thread is worth.
const CHUNK: usize = 64 * RUN;

/// Bytes ahead of which elements are prefetched.
const AHEAD: usize = 8 << 10;

/// `Σ x²`. A run's sum is f32: from elements of about 5.7·10¹⁷ on, √(3.4·10³⁸ / 1024), it may be infinite, and with it
/// the whole; one below 10⁻²³ counts nothing. NaN stays NaN.
pub fn sum_of_squares(launch: Launch, x: Floats<'_>) -> f64 {
    let chunks: Vec<AtomicU64> = (0..x.len().div_ceil(CHUNK)).map(|_| AtomicU64::new(0)).collect();
    by_dtype!((x: Floats) => sum_chunks(launch, Source::new(x), &chunks));
    chunks.into_iter().map(|chunk| f64::from_bits(chunk.into_inner())).sum()
}

fn sum_chunks<S: Storage>(launch: Launch, x: Source<S>, chunks: &[AtomicU64]) {
    let ahead = prefetch_elements::<S>(launch, AHEAD / size_of::<S>());
    share(launch, size_of::<S>() * x.len()).split(chunks.len(), 1, |part| {
        for i in part {
            let own = i * CHUNK..((i + 1) * CHUNK).min(x.len());
            let sum = launch.tier.run(SumChunk { x: x.part(&own), len: own.len(), ahead });
            chunks[i].store(sum.to_bits(), Ordering::Relaxed);
        }
    });
}

struct SumChunk<S> {
    x: *const S,
    len: usize,
    /// Elements; 0 for none.
    ahead: usize,
}

impl<S: Storage> Kernel for SumChunk<S> {
    type Out = f64;

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) -> f64 {
        let Self { x, len, ahead } = self;
        let mut sum = 0.0;
        for begin in (0..len).step_by(RUN) {
            let end = (begin + RUN).min(len);
            let rest = begin + (end - begin) / (UNROLL * I::LANES) * (UNROLL * I::LANES);
            let mut squares = [isa.splat(0.0); UNROLL];
            // SAFETY: `sum_chunks` checked that there are `len` elements; a block ends at `rest` or before, and
            // at + n ≤ end ≤ len.
            unsafe {
                for at in (begin..rest).step_by(UNROLL * I::LANES) {
                    if ahead > 0 {
                        prefetch_block(isa, x.wrapping_add(at + ahead));
                    }
                    for (square, v) in squares.iter_mut().zip(S::load_block::<I, UNROLL>(isa, x.add(at))) {
                        *square = isa.mul_add(v, v, *square);
                    }
                }
                for at in (rest..end).step_by(I::LANES) {
                    let v = load(isa, x.add(at), I::LANES.min(end - at));
                    squares[0] = isa.mul_add(v, v, squares[0]);
                }
            }
            let [a, b, c, d] = squares;
            sum += f64::from(isa.reduce_add(isa.add(isa.add(a, b), isa.add(c, d))));
        }
        sum
    }
}
