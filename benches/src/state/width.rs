//! How many instructions a core takes a cycle at this moment.

use crate::peaks::run_together;
use rayon::ThreadPool;

/// `nop`s a cycle of each thread of a pool, at one moment; empty where they cannot be counted.
pub type Widths = Vec<f64>;

/// Tries of both loops in turn, 4 µs each at 4 GHz: 40 µs. A time slice that ends, or an interrupt, spoils one or two.
const TRIES: usize = 5;

/// The widths of the threads of `pool`, which all run at this moment.
pub fn measure_widths(pool: &ThreadPool) -> Widths {
    let widths = std::sync::Mutex::new(Widths::new());
    run_together(
        pool,
        || (),
        |()| {
            if let Some(width) = measure_width() {
                widths.lock().unwrap_or_else(|held| held.into_inner()).push(width);
            }
            0.0
        },
    );
    widths.into_inner().unwrap_or_else(|held| held.into_inner())
}

/// `nop`s a cycle of the core that this runs on; `None` where no cycles can be counted.
///
/// The median of the tries over the shortest time of the chain: clocks don't rise within 40 µs, and nothing makes a
/// chain shorter than it is.
pub(super) fn measure_width() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        let tries = [(); TRIES].map(|()| (x86::time_nops(), x86::time_chain()));
        let cycle = tries.iter().map(|(_, chain)| chain / x86::CHAIN_CYCLES).fold(f64::INFINITY, f64::min);
        let mut widths = tries.map(|(nops, _)| x86::NOPS * cycle / nops);
        widths.sort_by(f64::total_cmp);
        Some(widths[TRIES / 2]).filter(|width| width.is_finite() && *width > 0.0)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = TRIES;
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::asm;
    use std::time::Instant;

    /// Turns of 120 `nop`s.
    const NOP_TURNS: u32 = 800;

    /// Turns of 120 multiplications.
    const CHAIN_TURNS: u32 = 45;

    /// `nop`s of a try.
    pub const NOPS: f64 = 120.0 * NOP_TURNS as f64;

    /// Cycles of a try: `imul` of 32 bits has a latency of 3 on Intel since the Pentium Pro (Gracemont too) and on AMD
    /// since Zen (Fog, "Instruction tables"). Additions would not do: Golden Cove adds constants without executing
    /// anything.
    pub const CHAIN_CYCLES: f64 = 3.0 * 120.0 * CHAIN_TURNS as f64;

    /// Seconds of [`NOPS`].
    #[inline(never)]
    pub fn time_nops() -> f64 {
        let begin = Instant::now();
        // SAFETY: a loop of `nop`s; the counter is the only register that is written.
        unsafe {
            asm!("2:", ".rept 120", "nop", ".endr", "dec {turns:e}", "jnz 2b", turns = inout(reg) NOP_TURNS => _,
                options(nomem, nostack));
        }
        begin.elapsed().as_secs_f64()
    }

    /// Seconds of [`CHAIN_CYCLES`].
    #[inline(never)]
    pub fn time_chain() -> f64 {
        let begin = Instant::now();
        // SAFETY: multiplies a register by itself; it and the counter are the only ones that are written.
        unsafe {
            asm!(
                "2:", ".rept 120", "imul {x:e}, {x:e}", ".endr", "dec {turns:e}", "jnz 2b",
                x = inout(reg) 3_u32 => _,
                turns = inout(reg) CHAIN_TURNS => _,
                options(nomem, nostack),
            );
        }
        begin.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_is_gauged() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads can be started");
        let widths = measure_widths(&pool);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(widths.len(), 2);
            // Tests run beside others: nothing is known of the state, but no core takes more than 8 a cycle.
            assert!(widths.iter().all(|width| *width > 0.0), "{widths:?}");
        } else {
            assert!(widths.is_empty());
        }
    }
}
