//! Bandwidth of memory beyond every cache: reading and copying, on buffers that are made once and serve the whole run.

use super::Bandwidth;
use kiln_kernels::memory::PoolBlock;
use kiln_kernels::simd::{Isa, Kernel, Tier};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Bytes of a buffer: 1.125 GiB. (The largest caches of servers are some 1 GiB, for all of their cores.)
const BYTES: usize = 9 * REGION;

/// Bytes that one pass reads: a few milliseconds. Passes take one region after the other.
pub const REGION: usize = 128 << 20;

/// Tries, of which the best counts: neighbours of a virtual machine take a fifth of the bandwidth for seconds at a
/// time.
const TRIES: usize = 5;

/// Bytes ahead of a read at which its line is asked for; 0 leaves it to the hardware. The best of these counts.
const AHEAD: [usize; 3] = [0, 4096, 8192];

/// Parts of a region for each thread: one that is disturbed leaves some of its own to others.
const PARTS: usize = 4;

/// How a pass moves bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Reads.
    Read,
    /// Copies by plain stores, which read the line that they write.
    Copy,
    /// Copies by non-temporal stores.
    Stream,
}

impl Way {
    /// In the order of the discriminants.
    const ALL: [Self; 3] = [Self::Read, Self::Copy, Self::Stream];

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Copy => "copy",
            Self::Stream => "copy, non-temporal",
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        cfg!(target_arch = "x86_64") || self != Self::Stream
    }

    /// Bytes that a pass over a region reads and writes.
    pub fn bytes(self) -> usize {
        if self == Self::Read { REGION } else { 2 * REGION }
    }
}

/// Two buffers out of every cache, on huge pages where the system gives them, as the buffers of the kernels are.
#[derive(Debug)]
pub struct Memory {
    from: PoolBlock,
    to: PoolBlock,
    /// Region of the next pass.
    next: usize,
    /// The best distance of prefetching of each [`Way`], bytes.
    ahead: [usize; 3],
}

impl Memory {
    /// 2.25 GiB, every page written once by the threads of `pool`.
    pub fn new(pool: &ThreadPool) -> Self {
        Self::of_bytes(pool, BYTES)
    }

    fn of_bytes(pool: &ThreadPool, bytes: usize) -> Self {
        let (mut from, mut to) = (PoolBlock::zeroed(bytes), PoolBlock::zeroed(bytes));
        let fill =
            |block: &mut PoolBlock, byte| block.as_mut_slice().par_chunks_mut(1 << 21).for_each(|x| x.fill(byte));
        pool.install(|| {
            fill(&mut from, 0x3f);
            fill(&mut to, 0);
        });
        Self { from, to, next: 0, ahead: [0; 3] }
    }

    /// One pass over the next region by the threads of the pool that this runs in. The widest registers of this CPU do
    /// it: that says what memory can do, whatever instruction set a kernel is held to.
    pub fn pass(&mut self, way: Way) {
        let tier = *Tier::available().last().expect("the portable tier is always there");
        let regions = (self.from.len() / REGION).max(1);
        let begin = self.next % regions * REGION;
        self.next += 1;
        let range = begin..(begin + REGION).min(self.from.len());
        let from = as_floats(&self.from.as_slice()[range.clone()]);
        let to = as_floats_mut(&mut self.to.as_mut_slice()[range]);
        // Multiples of a page, so that parts stay aligned.
        let part = from.len().div_ceil(PARTS * rayon::current_num_threads()).next_multiple_of(1024);
        let ahead = self.ahead[way as usize];
        match way {
            Way::Read => {
                let sum: f32 = from.par_chunks(part).map(|x| tier.run(Read { x, ahead })).sum();
                black_box(sum);
            }
            Way::Copy => (from.par_chunks(part).zip(to.par_chunks_mut(part)))
                .for_each(|(from, to)| tier.run(Copy { from, to, ahead })),
            Way::Stream => {
                (from.par_chunks(part).zip(to.par_chunks_mut(part))).for_each(|(from, to)| stream(from, to, ahead));
            }
        }
    }

    /// The best bandwidth of each way over both buffers by the threads of `pool`; passes use the best distance of
    /// prefetching from then on.
    pub fn measure(&mut self, pool: &ThreadPool) -> Bandwidth {
        let [read, copy, streaming] = Way::ALL.map(|way| {
            let tries = AHEAD.map(|ahead| (self.try_distance(pool, way, ahead), ahead));
            let best = tries.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are distances");
            self.ahead[way as usize] = best.1;
            best.0
        });
        Bandwidth { read, copy, copy_streaming: Way::Stream.is_available().then_some(streaming) }
    }

    /// GB/s of the best of some tries, each over the whole buffers.
    fn try_distance(&mut self, pool: &ThreadPool, way: Way, ahead: usize) -> f64 {
        self.ahead[way as usize] = ahead;
        let regions = (self.from.len() / REGION).max(1);
        let mut best = 0.0_f64;
        for _ in 0..if way.is_available() { TRIES } else { 0 } {
            let begin = Instant::now();
            pool.install(|| (0..regions).for_each(|_| self.pass(way)));
            best = best.max((regions * way.bytes()) as f64 / begin.elapsed().as_secs_f64());
        }
        best / 1e9
    }
}

fn as_floats(bytes: &[u8]) -> &[f32] {
    // SAFETY: any four bytes are a float.
    unsafe { bytes.align_to::<f32>() }.1
}

fn as_floats_mut(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: any four bytes are a float, and the other way round.
    unsafe { bytes.align_to_mut::<f32>() }.1
}

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
            ask_for(isa, p, REGISTERS * I::LANES, self.ahead);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the chunk has REGISTERS · LANES floats.
                *sum = isa.add(*sum, unsafe { isa.load(p.add(i * I::LANES)) });
            }
        }
        sums.into_iter().map(|sum| isa.reduce_add(sum)).sum()
    }
}

/// Copies a slice by plain loads and stores.
pub(super) struct Copy<'a> {
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut [f32],
    /// Distance of prefetching, bytes; 0 is none.
    pub(super) ahead: usize,
}

impl Kernel for Copy<'_> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        const REGISTERS: usize = 4;
        let step = REGISTERS * I::LANES;
        for (from, to) in self.from.chunks_exact(step).zip(self.to.chunks_exact_mut(step)) {
            ask_for(isa, from.as_ptr(), step, self.ahead);
            for i in 0..REGISTERS {
                // SAFETY: both chunks have REGISTERS · LANES floats.
                unsafe { isa.store(to.as_mut_ptr().add(i * I::LANES), isa.load(from.as_ptr().add(i * I::LANES))) };
            }
        }
    }
}

/// Asks for the lines of `floats` floats `ahead` bytes behind `p`, if that is any distance.
#[inline(always)]
fn ask_for<I: Isa>(isa: I, p: *const f32, floats: usize, ahead: usize) {
    for line in 0..floats.div_ceil(16) * usize::from(ahead > 0) {
        isa.prefetch(p.cast::<u8>().wrapping_add(ahead + 64 * line));
    }
}

/// Copies past the caches. The slices are equally long and `to` begins at a multiple of 16 bytes.
#[cfg(target_arch = "x86_64")]
fn stream(from: &[f32], to: &mut [f32], ahead: usize) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_loadu_ps, _mm_prefetch, _mm_sfence, _mm_stream_ps};
    assert!(from.len() == to.len() && to.as_ptr().addr().is_multiple_of(16));
    for (from, to) in from.chunks_exact(16).zip(to.chunks_exact_mut(16)) {
        if ahead > 0 {
            // SAFETY: a prefetch reads nothing, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.as_ptr().cast::<i8>().wrapping_add(ahead)) };
        }
        for i in [0, 4, 8, 12] {
            // SAFETY: SSE2 is part of x86-64; both chunks have 16 floats, and `to` stays aligned to 16 bytes.
            unsafe { _mm_stream_ps(to.as_mut_ptr().add(i), _mm_loadu_ps(from.as_ptr().add(i))) };
        }
    }
    // SAFETY: orders the stores above before what the caller does next.
    unsafe { _mm_sfence() };
}

/// No other architecture has such stores here: [`Way::is_available`] says so.
#[cfg(not(target_arch = "x86_64"))]
fn stream(from: &[f32], to: &mut [f32], _ahead: usize) {
    to.copy_from_slice(from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_copy_everything() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads can be started");
        for way in [Way::Copy, Way::Stream] {
            for ahead in AHEAD {
                let mut memory = Memory::of_bytes(&pool, 3 << 20);
                memory.ahead = [ahead; 3];
                pool.install(|| memory.pass(way));
                assert!(memory.to.as_slice().iter().all(|&byte| byte == 0x3f), "{way:?} {ahead}");
            }
        }
    }

    #[test]
    fn reads_see_every_number() {
        let x: Vec<f32> = (0..4096).map(|i| i as f32).collect();
        for tier in Tier::available() {
            assert_eq!(tier.run(Read { x: &x, ahead: 4096 }), 4096.0 * 4095.0 / 2.0, "{tier}");
        }
    }
}
