//! AMX with bf16: eight tiles of 16 rows x 64 bytes, and one instruction that multiplies two of them into a third.
//! Intel from Sapphire Rapids (2023).
//!
//! ```text
//! tdpbf16ps C, A, B      C [16][16] f32 += A [16][32] bf16 · B [32][16] bf16, B as 16 rows of 16 pairs
//! ```
//!
//! 8192 multiply-adds in 16 cycles. It rounds to nearest even, reads subnormals as zero and flushes subnormal sums to
//! zero whatever MXCSR says (Intel SDM, volume 2, TDPBF16PS). NaN and infinities propagate.
//!
//! Rust has no stable intrinsics for tiles, so the instructions are assembly. The compiler knows nothing of tile
//! registers, and nothing else in the process uses them: what one block leaves in them the next one finds, on the same
//! thread, between [`Amx::with_tiles`] and its end. Each block is volatile, so their order is that of the source.

use super::{Avx512Bf16, testing};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::marker::PhantomData;
use std::sync::OnceLock;

/// Proves AMX-TILE and AMX-BF16, the operating system's leave to use tiles, and AVX-512 BF16.
#[derive(Debug, Clone, Copy)]
pub struct Amx {
    base: Avx512Bf16,
}

/// Bytes of a tile: 16 rows of 64.
pub const TILE_BYTES: usize = 1024;

/// Tile registers, all of 16 rows x 64 bytes, on the thread that configured them.
#[derive(Debug)]
pub struct Tiles(PhantomData<*const ()>);

/// What LDTILECFG reads (Intel SDM, volume 1, 18.2).
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Every tile at its full size.
static FULL_TILES: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

impl Amx {
    /// `None` on a CPU or system without AMX-BF16. The first call asks Linux for leave to use tiles, for the whole
    /// process.
    pub fn detect() -> Option<Self> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        let base = Avx512Bf16::detect()?;
        (testing::assumes_amx() || *FOUND.get_or_init(|| cpu_has_tiles() && request_tiles())).then_some(Self { base })
    }

    /// The instruction set of everything that is no product of tiles.
    #[inline(always)]
    pub fn base(self) -> Avx512Bf16 {
        self.base
    }

    /// Calls `work` with tile registers, and frees them after it: a thread that holds none costs the system less at
    /// each switch.
    #[inline(always)]
    pub fn with_tiles<R>(self, work: impl FnOnce(&Tiles) -> R) -> R {
        /// Frees the tiles also where `work` panics.
        struct Release;
        impl Drop for Release {
            fn drop(&mut self) {
                // SAFETY: the value proves AMX.
                unsafe { asm!("tilerelease", options(nostack)) }
            }
        }
        // SAFETY: the value proves AMX; the configuration is one of palette 1.
        unsafe { asm!("ldtilecfg [{config}]", config = in(reg) &FULL_TILES, options(nostack, readonly)) }
        let _release = Release;
        work(&Tiles(PhantomData))
    }
}

impl Tiles {
    /// Tile `T` is zero.
    #[inline(always)]
    pub fn zero<const T: usize>(&self) {
        // SAFETY: tiles are configured.
        unsafe { asm!("tilezero tmm{t}", t = const T, options(nostack, nomem, preserves_flags)) }
    }

    /// Tile `T` is the 16 rows of 64 bytes at `p`, `stride` bytes apart.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    pub unsafe fn load<const T: usize>(&self, p: *const u8, stride: usize) {
        // SAFETY: tiles are configured; the `# Safety` clause of `Tiles::load`.
        unsafe {
            asm!("tileloadd tmm{t}, [{p} + {s}*1]", t = const T, p = in(reg) p, s = in(reg) stride,
                options(nostack, readonly, preserves_flags));
        }
    }

    /// The same by `tileloaddt1`: lines that come from L2 push nothing out of L1.
    ///
    /// # Safety
    /// As for [`Tiles::load`].
    #[inline(always)]
    pub unsafe fn load_t1<const T: usize>(&self, p: *const u8, stride: usize) {
        // SAFETY: tiles are configured; the `# Safety` clause of `Tiles::load`.
        unsafe {
            asm!("tileloaddt1 tmm{t}, [{p} + {s}*1]", t = const T, p = in(reg) p, s = in(reg) stride,
                options(nostack, readonly, preserves_flags));
        }
    }

    /// Stores tile `T` as 16 rows of 64 bytes at `p`, `stride` bytes apart.
    ///
    /// # Safety
    /// They are writable.
    #[inline(always)]
    pub unsafe fn store<const T: usize>(&self, p: *mut u8, stride: usize) {
        // SAFETY: tiles are configured; the `# Safety` clause of `Tiles::store`.
        unsafe {
            asm!("tilestored [{p} + {s}*1], tmm{t}", t = const T, p = in(reg) p, s = in(reg) stride,
                options(nostack, preserves_flags));
        }
    }

    /// Tile `C` += tile `A` · tile `B`.
    #[inline(always)]
    pub fn dot<const C: usize, const A: usize, const B: usize>(&self) {
        // SAFETY: tiles are configured; three different ones.
        unsafe {
            asm!("tdpbf16ps tmm{c}, tmm{a}, tmm{b}", c = const C, a = const A, b = const B,
                options(nostack, nomem, preserves_flags));
        }
    }
}

/// AMX-TILE and AMX-BF16 in the CPU, and tiles among the state that the system keeps for a thread.
fn cpu_has_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const TILE_STATES: u32 = 0b11 << 17;
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 has CPUID; XGETBV is read only where OSXSAVE says that it exists.
    unsafe {
        if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
            return false;
        }
        let features = __cpuid_count(7, 0).edx;
        let states: u32;
        asm!("xgetbv", in("ecx") 0, out("eax") states, out("edx") _, options(nostack, nomem, preserves_flags));
        features & AMX_BF16 != 0 && features & AMX_TILE != 0 && states & TILE_STATES == TILE_STATES
    }
}

/// Asks Linux (5.16 on) for leave to use tiles in this process.
#[cfg(target_os = "linux")]
fn request_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call takes two numbers and changes which registers the process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Other systems are not known to grant it.
#[cfg(not(target_os = "linux"))]
fn request_tiles() -> bool {
    false
}
