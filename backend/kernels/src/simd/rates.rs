//! What instructions reach on this CPU, measured once a process: `vdpbf16ps` has twice the rate of f32's multiply-adds
//! on some CPUs (AMD Zen 5: 4 a cycle and lane for 2) and half of it on others (Intel with AMX: 1 for 2), and no flag
//! tells which.

use super::Avx512Bf16;
use super::testing::assumed_bf16_dots;
use core::arch::asm;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Samples of each instruction, in turn; the fastest counts, as a thread may lose its core for a while.
const SAMPLES: usize = 12;

/// Turns of 16 instructions in a sample, each with a sum of its own, which is enough to hide a latency of 8 cycles: 0.5
/// to 2 µs.
const TURNS: usize = 256;

/// Multiply-adds by `vdpbf16ps` for one by `vfmadd` from which on pairs are multiplied as they are. At the same rate
/// they save half of the loads and the widening. (Granite Rapids has 0.51, Zen 5 about 2.)
const LEAST_RATIO: f64 = 0.75;

/// Whether kernels that could multiply bf16 by `vdpbf16ps` or widened to f32, with no other reason for either, do the
/// first. False where there is no such instruction.
///
/// It takes some 30 µs at its first call.
pub(crate) fn prefers_bf16_dots() -> bool {
    static PREFERS: OnceLock<bool> = OnceLock::new();
    assumed_bf16_dots().unwrap_or_else(|| {
        *PREFERS.get_or_init(|| Avx512Bf16::detect().is_some_and(|isa| bf16_dot_ratio(isa) >= LEAST_RATIO))
    })
}

/// Multiply-adds a second by `vdpbf16ps`, two in each lane, over those by `vfmadd`.
fn bf16_dot_ratio(isa: Avx512Bf16) -> f64 {
    let mut best = [Duration::MAX; 2];
    for _ in 0..SAMPLES {
        for (best, sample) in best.iter_mut().zip([time_fma, time_dots]) {
            *best = sample(isa).min(*best);
        }
    }
    let [fma, dots] = best.map(|time| time.as_secs_f64().max(1e-9));
    2.0 * fma / dots
}

/// Times [`TURNS`] of 16 instructions whose sums are `zmm0` to `zmm15`. Assembly, as builds for tests do not optimise.
macro_rules! time_instruction {
    ($name:ident, $instruction:literal) => {
        fn $name(_isa: Avx512Bf16) -> Duration {
            let begin = Instant::now();
            // SAFETY: an `Avx512Bf16` exists only where the CPU has both instructions; registers alone are touched, all
            // of them named.
            unsafe {
                asm!(
                    ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    "vpxord zmm\\i, zmm\\i, zmm\\i",
                    ".endr",
                    "vpxord zmm16, zmm16, zmm16",
                    "2:",
                    ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    concat!($instruction, " zmm\\i, zmm16, zmm16"),
                    ".endr",
                    "dec {turns}",
                    "jnz 2b",
                    turns = inout(reg) TURNS => _,
                    out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
                    out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                    out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _,
                    options(nomem, nostack),
                );
            }
            begin.elapsed()
        }
    };
}

time_instruction!(time_fma, "vfmadd231ps");
time_instruction!(time_dots, "vdpbf16ps");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_one_that_cpus_have() {
        if let Some(isa) = Avx512Bf16::detect() {
            let ratio = bf16_dot_ratio(isa);
            assert!((0.3..4.5).contains(&ratio), "{ratio}");
        }
    }
}
