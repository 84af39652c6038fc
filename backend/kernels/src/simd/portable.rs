//! The portable tier: registers of the `wide` crate, which picks the instructions at compile time (SSE2 on a plain
//! x86-64 build, NEON on aarch64, scalar elsewhere).

use super::{Isa, Kernel, RegisterTile, Tier, sealed};
use half::{bf16, f16};
use wide::{f32x8, i32x8, u32x8};

/// Every CPU has it.
#[derive(Debug, Clone, Copy)]
pub struct Portable(());

impl Portable {
    /// Always there.
    pub fn detect() -> Option<Self> {
        Some(Self(()))
    }
}

impl sealed::Sealed for Portable {}

// Without instructions for them, tails, halves and reductions of one register are dozens of scalar ones. They are
// functions of their own: inlined into each kernel they were a seventh of this tier's code.

/// Reads `n < 8` floats, the rest 0.
///
/// # Safety
/// `p` is readable for `n` floats.
#[inline(never)]
unsafe fn read_tail(p: *const f32, n: usize) -> f32x8 {
    let mut lanes = [0.0f32; 8];
    // SAFETY: `p` is readable for `n` floats by this function's contract, and the array holds 8.
    unsafe { core::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n.min(8)) };
    f32x8::from(lanes)
}

/// Writes the first `n < 8` lanes.
///
/// # Safety
/// `p` is writable for `n` floats.
#[inline(never)]
unsafe fn write_tail(p: *mut f32, v: f32x8, n: usize) {
    // SAFETY: `p` is writable for `n` floats by this function's contract, and the array holds 8.
    unsafe { core::ptr::copy_nonoverlapping(v.to_array().as_ptr(), p, n.min(8)) };
}

/// The largest lane.
#[inline(never)]
fn largest(a: f32x8) -> f32 {
    let lanes = a.to_array();
    lanes.into_iter().fold(lanes[0], |m, x| if x > m { x } else { m })
}

/// Widens 8 bf16.
///
/// # Safety
/// `p` is readable for 8 values.
#[inline(always)]
unsafe fn widen_bf16(p: *const u16) -> f32x8 {
    // SAFETY: `p` is readable for 8 values by this function's contract.
    let bits = unsafe { p.cast::<[u16; 8]>().read_unaligned() };
    bytemuck::cast(u32x8::from(bits.map(u32::from)) << 16)
}

/// Rounds to 8 bf16.
///
/// # Safety
/// `p` is writable for 8 values.
#[inline(never)]
unsafe fn narrow_bf16(p: *mut u16, v: f32x8) {
    let rounded = v.to_array().map(|x| bf16::from_f32(x).to_bits());
    // SAFETY: `p` is writable for 8 values by this function's contract.
    unsafe { p.cast::<[u16; 8]>().write_unaligned(rounded) };
}

/// Rounds to 16 bf16, those of `even` at even places.
///
/// # Safety
/// `p` is writable for 16 values.
#[inline(never)]
unsafe fn narrow_bf16_split(p: *mut u16, even: f32x8, odd: f32x8) {
    let [even, odd] = [even, odd].map(|v| v.to_array().map(|x| bf16::from_f32(x).to_bits()));
    let rounded: [u16; 16] = core::array::from_fn(|i| if i % 2 == 0 { even[i / 2] } else { odd[i / 2] });
    // SAFETY: `p` is writable for 16 values by this function's contract.
    unsafe { p.cast::<[u16; 16]>().write_unaligned(rounded) };
}

/// A function of its own for each kernel, as on the other tiers, so that a kernel that runs another one calls it.
#[inline(never)]
fn trampoline<K: Kernel>(isa: Portable, kernel: K) -> K::Out {
    kernel.call(isa)
}

/// Widens 8 f16, without F16C some hundred instructions.
///
/// # Safety
/// `p` is readable for 8 values.
#[inline(never)]
unsafe fn widen_f16(p: *const u16) -> f32x8 {
    // SAFETY: `p` is readable for 8 values (`# Safety` of `widen_f16`).
    f32x8::from(core::array::from_fn(|i| f16::from_bits(unsafe { p.add(i).read() }).to_f32()))
}

/// Rounds to 8 f16.
///
/// # Safety
/// `p` is writable for 8 values.
#[inline(never)]
unsafe fn narrow_f16(p: *mut u16, v: f32x8) {
    for (i, x) in v.to_array().into_iter().enumerate() {
        // SAFETY: `p` is writable for 8 values (`# Safety` of `narrow_f16`).
        unsafe { p.add(i).write(f16::from_f32(x).to_bits()) };
    }
}

impl Isa for Portable {
    type V = f32x8;
    type M = f32x8;
    const LANES: usize = 8;
    // 16 registers of 4 floats on SSE2: 3 x 16 would need 12 accumulators and 4 for B; 2 x 16 leaves room for the
    // product.
    const TILE: RegisterTile = RegisterTile::Rows2;
    const PANELS: usize = 1;
    const TIER: Tier = Tier::Portable;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        trampoline(self, kernel)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> f32x8 {
        f32x8::splat(x)
    }
    #[inline(always)]
    fn add(self, a: f32x8, b: f32x8) -> f32x8 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x8, b: f32x8) -> f32x8 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x8, b: f32x8) -> f32x8 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x8, b: f32x8) -> f32x8 {
        a / b
    }
    #[inline(always)]
    fn mul_add(self, a: f32x8, b: f32x8, c: f32x8) -> f32x8 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn max(self, a: f32x8, b: f32x8) -> f32x8 {
        b.simd_lt(a).select(a, b)
    }
    #[inline(always)]
    fn min(self, a: f32x8, b: f32x8) -> f32x8 {
        a.simd_lt(b).select(a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: f32x8) -> f32x8 {
        a.sqrt()
    }
    #[inline(always)]
    fn round(self, a: f32x8) -> f32x8 {
        a.round()
    }
    #[inline(always)]
    fn abs(self, a: f32x8) -> f32x8 {
        a.abs()
    }
    #[inline(always)]
    fn copysign(self, magnitude: f32x8, sign: f32x8) -> f32x8 {
        let bit = f32x8::splat(-0.0);
        (magnitude & !bit) | (sign & bit)
    }
    #[inline(always)]
    fn pow2(self, n: f32x8) -> f32x8 {
        let exponent: i32x8 = (n.trunc_int() + i32x8::splat(127)) << 23;
        bytemuck::cast(exponent)
    }
    #[inline(always)]
    fn lt(self, a: f32x8, b: f32x8) -> f32x8 {
        a.simd_lt(b)
    }
    #[inline(always)]
    fn is_nan(self, a: f32x8) -> f32x8 {
        a.is_nan()
    }
    #[inline(always)]
    fn select(self, mask: f32x8, yes: f32x8, no: f32x8) -> f32x8 {
        mask.select(yes, no)
    }
    #[inline(always)]
    fn reduce_add(self, a: f32x8) -> f32 {
        a.reduce_add()
    }
    #[inline(always)]
    fn reduce_max(self, a: f32x8) -> f32 {
        largest(a)
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [f32x8; 16]) {
        let mut square = [f32x8::splat(0.0); 8];
        square.copy_from_slice(&rows[..8]);
        rows[..8].copy_from_slice(&f32x8::transpose(square));
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32x8 {
        // SAFETY: `p` is readable for 8 floats by the trait's contract.
        f32x8::from(unsafe { p.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32x8) {
        // SAFETY: `p` is writable for `LANES` floats; it need not be aligned (`# Safety` of `Isa::store`).
        unsafe { p.cast::<[f32; 8]>().write_unaligned(v.to_array()) };
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> f32x8 {
        // SAFETY: `p` is readable for `n` floats by the trait's contract.
        unsafe { read_tail(p, n) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: f32x8, n: usize) {
        // SAFETY: `p` is writable for `n` floats by the trait's contract.
        unsafe { write_tail(p, v, n) };
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> f32x8 {
        // SAFETY: `p` is readable for 8 values by the trait's contract.
        unsafe { widen_bf16(p) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: f32x8) {
        // SAFETY: `p` is writable for 8 values by the trait's contract.
        unsafe { narrow_bf16(p, v) };
    }
    #[inline(always)]
    unsafe fn store_bf16_split<const STREAM: bool>(self, p: *mut u16, [even, odd]: [f32x8; 2]) {
        // SAFETY: `p` is writable for 16 values by the trait's contract.
        unsafe { narrow_bf16_split(p, even, odd) };
    }
    #[inline(always)]
    fn raise_bf16(self, a: f32x8) -> f32x8 {
        let bits: i32x8 = bytemuck::cast(a);
        bytemuck::cast(bits + i32x8::splat(0x8000))
    }
    #[inline(always)]
    fn split(self, [a, b]: [f32x8; 2]) -> [f32x8; 2] {
        let (a, b) = (a.to_array(), b.to_array());
        let place = |i: usize| if i < 8 { a[i] } else { b[i - 8] };
        [0, 1].map(|odd| f32x8::from(core::array::from_fn(|i| place(2 * i + odd))))
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> f32x8 {
        // SAFETY: `p` is readable for `LANES` 16-bit values (`# Safety` of `Isa::load_f16`): 8 values.
        unsafe { widen_f16(p) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: f32x8) {
        // SAFETY: `p` is writable for `LANES` 16-bit values (`# Safety` of `Isa::store_f16`): 8 values.
        unsafe { narrow_f16(p, v) }
    }
    #[inline(always)]
    unsafe fn splat_two(self, p: *const f32) -> f32x8 {
        // SAFETY: `p` is readable for two floats; it need not be aligned (`# Safety` of `Isa::splat_two`).
        let [even, odd] = unsafe { p.cast::<[f32; 2]>().read_unaligned() };
        f32x8::from([even, odd, even, odd, even, odd, even, odd])
    }
    #[inline(always)]
    fn even_bf16(self, pairs: f32x8) -> f32x8 {
        let bits: i32x8 = bytemuck::cast(pairs);
        bytemuck::cast(bits << 16)
    }
    #[inline(always)]
    fn odd_bf16(self, pairs: f32x8) -> f32x8 {
        let bits: i32x8 = bytemuck::cast(pairs);
        bytemuck::cast(bits & i32x8::splat(0xffff_0000_u32 as i32))
    }
    #[inline(always)]
    fn pair_bf16(self, even: f32x8, odd: f32x8) -> f32x8 {
        let (even, odd): (u32x8, u32x8) = (bytemuck::cast(even), bytemuck::cast(odd));
        bytemuck::cast((even >> 16) | (odd & u32x8::splat(0xffff_0000)))
    }
    #[inline(always)]
    fn prefetch(self, _p: *const u8) {}
}
