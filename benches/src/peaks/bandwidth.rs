//! Bandwidth: reading and copying, beyond the caches and within them.

use super::Bandwidth;
use burn_kiln::simd::{Isa, Kernel, Tier};
use rayon::ThreadPool;
use rayon::prelude::*;
use serde::Serialize;
use std::hint::black_box;
use std::time::Instant;

/// Floats of a buffer beyond every cache: 1.125 GiB. (The largest caches of servers are some 1 GiB, for all of their cores.)
const FLOATS: usize = (1 << 28) + (1 << 25);

/// Tries, of which the best counts: neighbours of a virtual machine take a fifth of the bandwidth for seconds at a time.
const TRIES: usize = 9;

/// Bytes ahead of a read at which its line is asked for; 0 leaves it to the hardware. The best of these counts.
const AHEAD: [usize; 3] = [0, 4096, 8192];

/// Sum of a slice; reading is all that takes time.
struct Read<'a> {
    x: &'a [f32],
    ahead: usize,
}

impl Kernel for Read<'_> {
    type Out = f32;

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) -> f32 {
        const REGISTERS: usize = 8;
        let mut sums = [isa.splat(0.0); REGISTERS];
        for chunk in self.x.chunks_exact(REGISTERS * I::LANES) {
            let p = chunk.as_ptr();
            for line in 0..(REGISTERS * I::LANES).div_ceil(16) * usize::from(self.ahead > 0) {
                isa.prefetch(p.cast::<u8>().wrapping_add(self.ahead + 64 * line));
            }
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the chunk has REGISTERS · LANES floats.
                *sum = isa.add(*sum, unsafe { isa.load(p.add(i * I::LANES)) });
            }
        }
        sums.into_iter().map(|sum| isa.reduce_add(sum)).sum()
    }
}

/// Copies a slice by plain loads and stores.
struct Copy<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Copy<'_> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        const REGISTERS: usize = 4;
        let step = REGISTERS * I::LANES;
        for (from, to) in self.from.chunks_exact(step).zip(self.to.chunks_exact_mut(step)) {
            for i in 0..REGISTERS {
                // SAFETY: both chunks have REGISTERS · LANES floats.
                unsafe { isa.store(to.as_mut_ptr().add(i * I::LANES), isa.load(from.as_ptr().add(i * I::LANES))) };
            }
        }
    }
}

/// Copies past the caches. The slices are equally long and `to` begins at a multiple of 16 bytes.
#[cfg(target_arch = "x86_64")]
fn stream(from: &[f32], to: &mut [f32]) {
    use core::arch::x86_64::{_mm_loadu_ps, _mm_sfence, _mm_stream_ps};
    assert!(from.len() == to.len() && to.as_ptr().addr().is_multiple_of(16));
    for (from, to) in from.chunks_exact(16).zip(to.chunks_exact_mut(16)) {
        for i in [0, 4, 8, 12] {
            // SAFETY: SSE2 is part of x86-64; both chunks have 16 floats, and `to` stays aligned to 16 bytes.
            unsafe { _mm_stream_ps(to.as_mut_ptr().add(i), _mm_loadu_ps(from.as_ptr().add(i))) };
        }
    }
    // SAFETY: orders the stores above before what the caller does next.
    unsafe { _mm_sfence() };
}

/// Bytes a second of the best of some tries.
fn rate(bytes: usize, mut work: impl FnMut()) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..TRIES {
        let begin = Instant::now();
        work();
        best = best.max(bytes as f64 / begin.elapsed().as_secs_f64());
    }
    best / 1e9
}

/// Floats a thread works on at one time: a multiple of a page, so that parts stay aligned.
fn part(len: usize, threads: usize) -> usize {
    len.div_ceil(threads).next_multiple_of(1024)
}

/// Reading and copying of more than 1 GiB by the threads of `pool`. The widest registers of this CPU do it: that says what memory can
/// do, whatever instruction set a kernel is held to.
pub fn measure_bandwidth(pool: &ThreadPool) -> Bandwidth {
    let tier = *Tier::available().last().expect("the portable tier is always there");
    let part = part(FLOATS, pool.current_num_threads());
    pool.install(|| {
        let mut from = vec![0.0_f32; FLOATS];
        // Written once, so that every page exists.
        from.par_chunks_mut(part).for_each(|x| x.fill(1.0));
        let bytes = size_of_val(from.as_slice());
        let read = |ahead| {
            rate(bytes, || {
                let sum: f32 = from.par_chunks(part).map(|x| tier.run(Read { x, ahead })).sum();
                black_box(sum);
            })
        };
        let read = AHEAD.map(read).into_iter().fold(0.0, f64::max);
        let mut to = vec![0.0_f32; FLOATS];
        to.par_chunks_mut(part).for_each(|x| x.fill(2.0));
        let copy = rate(2 * bytes, || {
            (from.par_chunks(part).zip(to.par_chunks_mut(part))).for_each(|(from, to)| tier.run(Copy { from, to }));
        });
        #[cfg(target_arch = "x86_64")]
        let copy_streaming = Some(rate(2 * bytes, || {
            (from.par_chunks(part).zip(to.par_chunks_mut(part))).for_each(|(from, to)| stream(from, to));
        }));
        #[cfg(not(target_arch = "x86_64"))]
        let copy_streaming = None;
        black_box(&to);
        Bandwidth { read, copy, copy_streaming }
    })
}

/// A copy whose source and destination together stay in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CachedCopy {
    /// Bytes of source and destination of all threads.
    pub bytes: usize,
    /// GB/s, read and written.
    pub gbytes: f64,
}

/// Copies of 16 KiB to 16 MiB by the threads of `pool`, each its own part again and again.
pub fn measure_cached_copy(pool: &ThreadPool) -> Vec<CachedCopy> {
    let tier = *Tier::available().last().expect("the portable tier is always there");
    let threads = pool.current_num_threads();
    let measure = |bytes: usize| {
        let floats = (bytes / 8 / threads).next_multiple_of(256);
        let repeats = ((64 << 20) / bytes).max(4);
        let mut rates = vec![0.0; threads];
        for _ in 0..3 {
            let once = pool.broadcast(|_| {
                let (from, mut to) = (vec![1.0_f32; floats], vec![0.0_f32; floats]);
                rate(8 * floats * repeats, || {
                    for _ in 0..repeats {
                        tier.run(Copy { from: black_box(&from), to: black_box(&mut to) });
                    }
                })
            });
            for (best, rate) in rates.iter_mut().zip(once) {
                *best = f64::max(*best, rate);
            }
        }
        CachedCopy { bytes, gbytes: rates.iter().sum() }
    };
    [16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20].map(measure).into()
}
