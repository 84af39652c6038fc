//! Registers of several instruction sets behind one small trait.
//!
//! An algorithm is written once, as a [`Kernel`] generic over [`Isa`], and compiled once for each instruction set:
//!
//! ```text
//! struct Scale<'a> { x: &'a mut [f32], by: f32 }
//! impl Kernel for Scale<'_> {
//!     type Out = ();
//!     #[inline(always)]
//!     fn call<I: Isa>(self, isa: I) { .. isa.load(..) .. isa.mul(..) .. }
//! }
//! Tier::best().run(Scale { x, by: 2.0 });
//! ```
//!
//! [`Isa::run`] is the only function with a `#[target_feature]`: the trampoline. Everything between it and the
//! intrinsics is `#[inline(always)]`, so that it is compiled with the features of the trampoline. A closure or an
//! un-inlined function in between loses them (3 to 5 times slower), so threads split the work outside of `run`, never
//! inside.
//!
//! A value of an `Isa` type proves that the CPU has the instructions: only its `detect` makes one.
//!
//! Instructions that multiply bf16 and sum f32 do nothing else, so they are no [`Isa`]: on the tiers that have them
//! (`Avx512Bf16`, `Amx`) every kernel runs on `Avx512`, and products of two bf16 matrices take the tokens of those
//! types. Where attention could take `vdpbf16ps` or f32 arithmetic, the measured rates decide (rates.rs).

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512bf16;
mod detect;
mod portable;
#[cfg(target_arch = "x86_64")]
mod rates;
mod register_tile;
#[doc(hidden)]
pub mod testing;
mod tier;

#[cfg(target_arch = "x86_64")]
pub use amx::{Amx, TILE_BYTES, Tiles};
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "x86_64")]
pub use avx512bf16::{Avx512Bf16, Bf16Kernel};
pub use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use rates::prefers_bf16_dots;
pub use register_tile::RegisterTile;
pub use tier::{IsaError, Tier, UnknownTier};

mod sealed {
    /// Only this module's instruction sets implement [`super::Isa`].
    pub trait Sealed {}
}

/// Work that one thread does with the registers of one instruction set.
pub trait Kernel {
    /// What it returns.
    type Out;
    /// Does the work. Implementations are `#[inline(always)]`.
    fn call<I: Isa>(self, isa: I) -> Self::Out;
}

/// An instruction set: operations on one register of f32. A value proves that the CPU has it.
///
/// Comparisons and [`Isa::max`] / [`Isa::min`] follow x86: a comparison with NaN is false, and `max` and `min` give the
/// second operand when either is NaN.
pub trait Isa: Copy + Send + Sync + sealed::Sealed + 'static {
    /// One register of f32.
    type V: Copy;
    /// One mask, a truth value a lane.
    type M: Copy;
    /// Floats a register.
    const LANES: usize;
    /// The register tile of a matrix product; its columns are [`crate::simd::PANEL`] times [`Isa::PANELS`].
    const TILE: RegisterTile;
    /// Rows of the register tile.
    const MR: usize = Self::TILE.rows();
    /// Panels of B beside each other in the register tile.
    const PANELS: usize;
    /// The tier that this is.
    const TIER: Tier;
    /// True where [`Isa::lookup`] is an instruction, and [`Isa::mul_pow2_low`] takes any n for the integer below it.
    const LOOKS_UP: bool = false;

    /// Runs `kernel` compiled for this instruction set.
    fn run<K: Kernel>(self, kernel: K) -> K::Out;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::V;
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the instruction set has FMA.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a · b`, rounded once where the instruction set has FMA.
    #[inline(always)]
    fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        self.sub(c, self.mul(a, b))
    }
    /// `a > b ? a : b`.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a < b ? a : b`.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// Nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// Magnitude.
    fn abs(self, a: Self::V) -> Self::V;
    /// Magnitude of `magnitude` with the sign of `sign`.
    fn copysign(self, magnitude: Self::V, sign: Self::V) -> Self::V;
    /// `2ⁿ` for an integral `n` of -126 ..= 127; anything else gives a meaningless number.
    fn pow2(self, n: Self::V) -> Self::V;
    /// `a · 2ⁿ` for an integral `n` of -252 ..= 254, rounded once where the result is subnormal and `a` is 1/2 ..= 2.
    #[inline(always)]
    fn mul_pow2(self, a: Self::V, n: Self::V) -> Self::V {
        // Two factors, as one register of f32 holds no 2⁻¹⁵⁰; the first product is exact.
        let half = self.round(self.mul(n, self.splat(0.5)));
        self.mul(self.mul(a, self.pow2(half)), self.pow2(self.sub(n, half)))
    }
    /// The same for `n` of -163 ..= 58: where only small numbers may come out, one scale is enough.
    #[inline(always)]
    fn mul_pow2_low(self, a: Self::V, n: Self::V) -> Self::V {
        self.mul_pow2(a, n)
    }
    /// For each lane the entry of `table` that 4 bits of `a` number, those above the last `BELOW`.
    #[inline(always)]
    fn lookup<const BELOW: u32>(self, table: &Table, a: Self::V) -> Self::V {
        const { assert!(Self::LANES <= 16) };
        let mut lanes = [0.0; 16];
        // SAFETY: the array holds a whole register.
        unsafe {
            self.store(lanes.as_mut_ptr(), a);
            for lane in &mut lanes {
                *lane = table.0[(lane.to_bits() >> BELOW) as usize % 16];
            }
            self.load(lanes.as_ptr())
        }
    }
    /// `a / b` within 1 ulp where 2⁻¹⁰⁰ ≤ |b| ≤ 2¹⁰⁰ and the quotient is not subnormal; without the divider where that
    /// is faster.
    #[inline(always)]
    fn div_near(self, a: Self::V, b: Self::V) -> Self::V {
        self.div(a, b)
    }
    /// `a / b` as [`Isa::div_near`], within a relative 2⁻¹³·⁹: for results of 16 bits.
    #[inline(always)]
    fn div_coarse(self, a: Self::V, b: Self::V) -> Self::V {
        self.div_near(a, b)
    }
    /// `a`, which the compiler may neither compute later than what is held after it nor earlier than what is held
    /// before: it otherwise puts independent chains one behind the other, to save registers.
    #[inline(always)]
    fn hold(self, a: Self::V) -> Self::V {
        a
    }
    /// `a < b`.
    fn lt(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a ≠ a`.
    fn is_nan(self, a: Self::V) -> Self::M;
    /// `mask ? yes : no`.
    fn select(self, mask: Self::M, yes: Self::V, no: Self::V) -> Self::V;
    /// Sum of the lanes, pairwise.
    fn reduce_add(self, a: Self::V) -> f32;
    /// Lane `i` is the sum of the lanes of register `i`, of the first `LANES`.
    #[inline(always)]
    fn reduce_add_each(self, rows: &[Self::V; 16]) -> Self::V {
        let mut sums = [0.0; 16];
        for (sum, &row) in sums.iter_mut().zip(&rows[..Self::LANES]) {
            *sum = self.reduce_add(row);
        }
        // SAFETY: the array holds a whole register.
        unsafe { self.load(sums.as_ptr()) }
    }
    /// Largest lane; unspecified when one is NaN.
    fn reduce_max(self, a: Self::V) -> f32;
    /// Transposes the square of the first `LANES` registers: lane `j` of register `i` becomes lane `i` of register `j`.
    /// The other registers of the array are scratch.
    fn transpose(self, rows: &mut [Self::V; 16]);

    /// # Safety
    /// `p` is readable for `LANES` floats.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` is writable for `LANES` floats; it need not be aligned.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// The first `n < LANES` floats, the other lanes 0.
    /// # Safety
    /// `p` is readable for `n` floats.
    unsafe fn load_partial(self, p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n < LANES` lanes.
    /// # Safety
    /// `p` is writable for `n` floats.
    unsafe fn store_partial(self, p: *mut f32, v: Self::V, n: usize);
    /// Widens `LANES` bf16.
    /// # Safety
    /// `p` is readable for `LANES` 16-bit values.
    unsafe fn load_bf16(self, p: *const u16) -> Self::V;
    /// Rounds to bf16, nearest even; NaN stays NaN.
    /// # Safety
    /// `p` is writable for `LANES` 16-bit values.
    unsafe fn store_bf16(self, p: *mut u16, v: Self::V);
    /// Widens `2 · LANES` bf16: those at even places, then those at odd ones, as [`Isa::split`] orders them. No lane
    /// moves.
    /// # Safety
    /// `p` is readable for `2 · LANES` 16-bit values.
    #[inline(always)]
    unsafe fn load_bf16_split(self, p: *const u16) -> [Self::V; 2] {
        // SAFETY: `p` is readable for `2 · LANES` 16-bit values (`# Safety` of `load_bf16_split`).
        unsafe { self.split([self.load_bf16(p), self.load_bf16(p.add(Self::LANES))]) }
    }
    /// Rounds to bf16 what [`Isa::load_bf16_split`] reads. A NaN must have 0 in its low 16 bits, as NaN that arithmetic
    /// makes and those of bf16 operands have. `STREAM` makes it a non-temporal store where the instruction set has one.
    /// # Safety
    /// `p` is writable for `2 · LANES` 16-bit values; for `STREAM` it is a multiple of 64.
    unsafe fn store_bf16_split<const STREAM: bool>(self, p: *mut u16, v: [Self::V; 2]);
    /// A number whose high half is the bf16 nearest to `a`, of two the one farther from 0. NaN: as for
    /// [`Isa::store_bf16_split`].
    fn raise_bf16(self, a: Self::V) -> Self::V;
    /// The lanes at even places of two registers behind each other, and those at odd places.
    fn split(self, v: [Self::V; 2]) -> [Self::V; 2];
    /// A non-temporal store where the instruction set has one: [`Isa::fence`] before others may read it.
    /// # Safety
    /// `p` is writable for `LANES` floats and a multiple of 64.
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: Self::V) {
        // SAFETY: `p` is writable for `LANES` floats and a multiple of 64 (`# Safety` of `stream`).
        unsafe { self.store(p, v) }
    }
    /// Orders what was streamed before what comes after.
    #[inline(always)]
    fn fence(self) {}
    /// Widens `LANES` f16.
    /// # Safety
    /// `p` is readable for `LANES` 16-bit values.
    unsafe fn load_f16(self, p: *const u16) -> Self::V;
    /// Rounds to f16, nearest even.
    /// # Safety
    /// `p` is writable for `LANES` 16-bit values.
    unsafe fn store_f16(self, p: *mut u16, v: Self::V);
    /// Widens the even bf16 of `LANES` pairs: the low half of each lane.
    fn even_bf16(self, pairs: Self::V) -> Self::V;
    /// Widens the odd bf16 of `LANES` pairs: the high half of each lane.
    fn odd_bf16(self, pairs: Self::V) -> Self::V;
    /// Pairs of the high halves of `even` and `odd`: the inverse of [`Isa::even_bf16`] and [`Isa::odd_bf16`], bit for
    /// bit.
    fn pair_bf16(self, even: Self::V, odd: Self::V) -> Self::V;
    /// Lanes alternate between the two floats at `p`.
    /// # Safety
    /// `p` is readable for two floats; it need not be aligned.
    unsafe fn splat_two(self, p: *const f32) -> Self::V;
    /// Prefetches the cache line at `p`. Any address is allowed.
    fn prefetch(self, p: *const u8);
}

/// What [`Isa::lookup`] looks up: a register of AVX-512.
#[derive(Debug)]
#[repr(align(64))]
pub struct Table(pub [f32; 16]);

/// Columns of one packed panel of B: a whole number of registers on every tier (portable and AVX2: two of 8, AVX-512:
/// one of 16), so that one packed layout serves them all.
pub const PANEL: usize = 16;
