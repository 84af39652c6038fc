//! Peak of multiply-adds: independent chains in registers, nothing from memory.

use super::run_together;
use crate::case::Dtype;
use crate::state::{Meter, State};
use kiln_kernels::simd::{Isa, Kernel, Tier};
use rayon::ThreadPool;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Chains that run beside each other: a multiply-add takes 4 cycles on every CPU since Skylake and Zen 3 and two begin
/// in each cycle, so 8 would do; 12 and two constants still fit the 16 registers of AVX2.
const CHAINS: usize = 12;

/// Turns of all chains in one try: about 6 ms.
const TURNS: usize = 4 << 20;

/// Before the tries all threads work for so long: a clock that was low needs some tens of milliseconds to rise.
const WARM: Duration = Duration::from_millis(150);

/// Tries go on for so long; the best counts: a peak is what the machine can do when nobody else disturbs.
const LONG: Duration = Duration::from_millis(500);

struct Chains {
    turns: usize,
}

impl Kernel for Chains {
    /// Lanes, so that the caller can count.
    type Out = usize;

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) -> usize {
        let (scale, step) = (isa.splat(black_box(0.999)), isa.splat(black_box(0.001)));
        // Chains begin with different numbers: equal ones would be computed once.
        let mut sums: [I::V; CHAINS] = core::array::from_fn(|i| isa.splat(black_box(i as f32)));
        for _ in 0..self.turns {
            for sum in &mut sums {
                *sum = isa.mul_add(*sum, scale, step);
            }
        }
        for sum in sums {
            black_box(isa.reduce_add(sum));
        }
        I::LANES
    }
}

/// The loop that finds the peak of an instruction set for operands of a dtype.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// Multiply-adds of f32; the portable tier multiplies and adds in two instructions.
    Fma(Tier),
    /// Dot products of pairs of bf16.
    #[cfg(target_arch = "x86_64")]
    Dots,
    /// Products of tiles of bf16.
    #[cfg(target_arch = "x86_64")]
    Tiles,
}

impl Arithmetic {
    /// The loop for `dtype` on `tier`: multiply-adds of f32 where bf16 has no instruction of its own.
    pub fn of(tier: Tier, dtype: Dtype) -> Self {
        #[cfg(target_arch = "x86_64")]
        match tier.to_string().as_str() {
            "avx512bf16" if dtype == Dtype::Bf16 && x86::has_dot() => return Self::Dots,
            // The tier exists only where the kernel gave permission to use the tiles.
            "amx" if dtype == Dtype::Bf16 && tier.is_available() => return Self::Tiles,
            _ => {}
        }
        let _ = dtype;
        Self::Fma(tier)
    }

    /// The instruction.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fma(_) => "fma",
            #[cfg(target_arch = "x86_64")]
            Self::Dots => "vdpbf16ps",
            #[cfg(target_arch = "x86_64")]
            Self::Tiles => "tdpbf16ps",
        }
    }

    /// Runs `turns` of the loop on every thread of `pool` at one moment: FLOP of all, and the time.
    pub fn run(self, pool: &ThreadPool, turns: usize) -> (f64, Duration) {
        run_together(pool, || (), |()| self.run_here(black_box(turns)))
    }

    /// FLOP of `turns` of the loop, after running them.
    fn run_here(self, turns: usize) -> f64 {
        match self {
            Self::Fma(tier) => 2.0 * (CHAINS * tier.run(Chains { turns }) * turns) as f64,
            #[cfg(target_arch = "x86_64")]
            Self::Dots => {
                assert!(x86::has_dot());
                // SAFETY: `has_dot` found the instructions.
                unsafe { x86::run_dots(turns) };
                // Two products and two sums a lane.
                4.0 * (x86::DOT_CHAINS * 16 * turns) as f64
            }
            #[cfg(target_arch = "x86_64")]
            Self::Tiles => {
                // A turn of tiles takes 64 cycles, one of the other loops 6 to 10.
                let turns = (turns / 16).max(1);
                // SAFETY: `of` chooses tiles only for a tier that is available.
                unsafe { x86::run_tiles(turns) };
                4.0 * 2.0 * (16 * 16 * 32 * turns) as f64
            }
        }
    }

    /// The best rate of some tries over all threads of `pool` in each state of its cores, GFLOP/s.
    pub fn measure(self, pool: &ThreadPool, meter: &mut Meter) -> BTreeMap<State, f64> {
        let begin = Instant::now();
        let mut best = BTreeMap::new();
        let mut before = meter.read();
        while begin.elapsed() < WARM + LONG {
            let (flop, time) = self.run(pool, TURNS);
            let after = meter.read();
            let highest = best.entry(meter.state(&before, &after)).or_insert(0.0_f64);
            *highest = highest.max(flop / time.as_secs_f64() / 1e9);
            before = after;
        }
        best
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::asm;

    /// Chains of dot products: they take 5 to 6 cycles, and two begin in each.
    pub const DOT_CHAINS: usize = 16;

    pub fn has_dot() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
    }

    /// Sixteen chains a turn. In assembly: the compiler keeps an array of so many sums in memory, which halves the
    /// rate.
    ///
    /// # Safety
    /// [`has_dot`].
    pub unsafe fn run_dots(turns: usize) {
        // SAFETY: the caller promises the instructions; every register that is written is named.
        unsafe {
            asm!(
                // Pairs of 1 and 0.
                "vpbroadcastd zmm31, {ones:e}",
                "vpxord zmm0, zmm0, zmm0",
                "vpxord zmm1, zmm1, zmm1",
                "vpxord zmm2, zmm2, zmm2",
                "vpxord zmm3, zmm3, zmm3",
                "vpxord zmm4, zmm4, zmm4",
                "vpxord zmm5, zmm5, zmm5",
                "vpxord zmm6, zmm6, zmm6",
                "vpxord zmm7, zmm7, zmm7",
                "vpxord zmm8, zmm8, zmm8",
                "vpxord zmm9, zmm9, zmm9",
                "vpxord zmm10, zmm10, zmm10",
                "vpxord zmm11, zmm11, zmm11",
                "vpxord zmm12, zmm12, zmm12",
                "vpxord zmm13, zmm13, zmm13",
                "vpxord zmm14, zmm14, zmm14",
                "vpxord zmm15, zmm15, zmm15",
                "2:",
                "vdpbf16ps zmm0, zmm31, zmm31",
                "vdpbf16ps zmm1, zmm31, zmm31",
                "vdpbf16ps zmm2, zmm31, zmm31",
                "vdpbf16ps zmm3, zmm31, zmm31",
                "vdpbf16ps zmm4, zmm31, zmm31",
                "vdpbf16ps zmm5, zmm31, zmm31",
                "vdpbf16ps zmm6, zmm31, zmm31",
                "vdpbf16ps zmm7, zmm31, zmm31",
                "vdpbf16ps zmm8, zmm31, zmm31",
                "vdpbf16ps zmm9, zmm31, zmm31",
                "vdpbf16ps zmm10, zmm31, zmm31",
                "vdpbf16ps zmm11, zmm31, zmm31",
                "vdpbf16ps zmm12, zmm31, zmm31",
                "vdpbf16ps zmm13, zmm31, zmm31",
                "vdpbf16ps zmm14, zmm31, zmm31",
                "vdpbf16ps zmm15, zmm31, zmm31",
                "dec {turns}",
                "jnz 2b",
                ones = in(reg) 0x3f80_u32,
                turns = inout(reg) turns.max(1) => _,
                out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                out("zmm31") _,
                options(nostack, nomem),
            );
        }
    }

    /// `LDTILECFG`'s operand: palette 1, eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct TileConfig([u8; 64]);

    /// Four products of tiles a turn, of zeros: C in tiles 0 to 3, A in 4 and 5, B in 6 and 7, as a kernel has them.
    ///
    /// # Safety
    /// The CPU has AMX-BF16 and the process may use it.
    pub unsafe fn run_tiles(turns: usize) {
        let mut config = TileConfig([0; 64]);
        config.0[0] = 1;
        for tile in 0..8 {
            config.0[16 + 2 * tile] = 64;
            config.0[48 + tile] = 16;
        }
        // SAFETY: the caller promises the instructions; the configuration is valid; the tiles are released at the end,
        // and nothing else of this process uses them across calls.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {turns}",
                "jnz 2b",
                "tilerelease",
                config = in(reg) &config,
                turns = inout(reg) turns.max(1) => _,
                options(nostack),
            );
        }
    }
}
