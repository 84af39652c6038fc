//! AVX-512 F, BW, DQ and VL: 32 registers of 16 floats and mask registers. Intel from Skylake-SP (2017), AMD from Zen
//! 4.

use super::{Isa, Kernel, RegisterTile, Table, Tier, sealed};
use core::arch::x86_64::*;

/// Proves AVX-512 F, BW, DQ and VL.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// `None` on a CPU without AVX-512 F, BW, DQ or VL.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        has.then_some(Self(()))
    }
}

impl sealed::Sealed for Avx512 {}

/// The trampoline: what is inlined into it is compiled with these features. It is not inlined itself: a kernel inside
/// another would compete with it for registers (a register tile inlined into the loops around it: three quarters of its
/// speed).
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn trampoline<K: Kernel>(isa: Avx512, kernel: K) -> K::Out {
    kernel.call(isa)
}

/// No instruction, but one that keeps its place among its like.
#[inline]
#[target_feature(enable = "avx512f")]
fn hold(mut v: __m512) -> __m512 {
    // SAFETY: empty.
    unsafe { core::arch::asm!("/* {0} */", inout(zmm_reg) v, options(nomem, nostack, preserves_flags)) };
    v
}

/// A mask whose first `n` lanes are set.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

/// The high half of each lane is the bf16 nearest to it, ties to even; the low half is of no use. NaN: see
/// [`Isa::store_bf16_split`].
#[inline(always)]
fn round_to_bf16(v: __m512) -> __m512i {
    // SAFETY: AVX-512 is proved by the callers' Avx512.
    unsafe {
        let bits = _mm512_castps_si512(v);
        // Half a unit in the last place kept, less one where that bit is even.
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd)
    }
}

// SAFETY of every block below: an `Avx512` value exists only on a CPU with the four extensions (`detect`), and pointers
// are what the callers of the unsafe methods promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Isa for Avx512 {
    type V = __m512;
    type M = __mmask16;
    const LANES: usize = 16;
    // 14 x 32: 28 accumulators, 2 of B, 1 broadcast of A.
    const TILE: RegisterTile = RegisterTile::Rows14;
    const PANELS: usize = 2;
    const TIER: Tier = Tier::Avx512;
    const LOOKS_UP: bool = true;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        unsafe { trampoline(self, kernel) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn neg_mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn copysign(self, magnitude: __m512, sign: __m512) -> __m512 {
        unsafe {
            let bit = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(bit, magnitude), _mm512_and_ps(bit, sign))
        }
    }
    #[inline(always)]
    fn pow2(self, n: __m512) -> __m512 {
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    fn mul_pow2(self, a: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(a, n) }
    }
    #[inline(always)]
    fn lookup<const BELOW: u32>(self, table: &Table, a: __m512) -> __m512 {
        unsafe {
            let lanes = _mm512_srli_epi32::<BELOW>(_mm512_castps_si512(a));
            _mm512_permutexvar_ps(lanes, _mm512_load_ps(table.0.as_ptr()))
        }
    }
    #[inline(always)]
    fn div_near(self, a: __m512, b: __m512) -> __m512 {
        unsafe {
            // 14 bits of the reciprocal, then one Newton step of the quotient: 4 instructions for the divider's 16
            // cycles.
            let reciprocal = _mm512_rcp14_ps(b);
            let quotient = _mm512_mul_ps(a, reciprocal);
            _mm512_fmadd_ps(_mm512_fnmadd_ps(b, quotient, a), reciprocal, quotient)
        }
    }
    #[inline(always)]
    fn div_coarse(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, _mm512_rcp14_ps(b)) }
    }
    #[inline(always)]
    fn hold(self, a: __m512) -> __m512 {
        unsafe { hold(a) }
    }
    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn is_nan(self, a: __m512) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(mask, no, yes) }
    }
    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    fn reduce_add_each(self, rows: &[__m512; 16]) -> __m512 {
        unsafe {
            // Four registers at a time: lanes of each quarter are the sums of theirs.
            let mut fours = [_mm512_setzero_ps(); 4];
            for (four, rows) in fours.iter_mut().zip(rows.chunks_exact(4)) {
                let add_two = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (a, b) = (add_two(rows[0], rows[1]), add_two(rows[2], rows[3]));
                // [a0 a1 b0 b1] + [a2 a3 b2 b3]
                *four =
                    _mm512_add_ps(_mm512_shuffle_ps::<0b01_00_01_00>(a, b), _mm512_shuffle_ps::<0b11_10_11_10>(a, b));
            }
            let add_quarters =
                |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            add_quarters(add_quarters(fours[0], fours[1]), add_quarters(fours[2], fours[3]))
        }
    }
    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(a) }
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [__m512; 16]) {
        unsafe {
            // 4 x 4 within each quarter: quarter `q` of register `4 g + c` becomes column `4 q + c` of rows `4 g ..`.
            for g in [0, 4, 8, 12] {
                let (r0, r1, r2, r3) = (rows[g], rows[g + 1], rows[g + 2], rows[g + 3]);
                let (lo01, hi01) = (_mm512_unpacklo_ps(r0, r1), _mm512_unpackhi_ps(r0, r1));
                let (lo23, hi23) = (_mm512_unpacklo_ps(r2, r3), _mm512_unpackhi_ps(r2, r3));
                rows[g] = _mm512_shuffle_ps::<0b01_00_01_00>(lo01, lo23);
                rows[g + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(lo01, lo23);
                rows[g + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(hi01, hi23);
                rows[g + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(hi01, hi23);
            }
            // 4 x 4 of the quarters: even and odd quarters of two registers, twice.
            for c in 0..4 {
                let (u0, u1, u2, u3) = (rows[c], rows[4 + c], rows[8 + c], rows[12 + c]);
                let (even01, odd01) = (_mm512_shuffle_f32x4::<0x88>(u0, u1), _mm512_shuffle_f32x4::<0xdd>(u0, u1));
                let (even23, odd23) = (_mm512_shuffle_f32x4::<0x88>(u2, u3), _mm512_shuffle_f32x4::<0xdd>(u2, u3));
                rows[c] = _mm512_shuffle_f32x4::<0x88>(even01, even23);
                rows[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd01, odd23);
                rows[8 + c] = _mm512_shuffle_f32x4::<0xdd>(even01, even23);
                rows[12 + c] = _mm512_shuffle_f32x4::<0xdd>(odd01, odd23);
            }
        }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(first(n), p) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: __m512, n: usize) {
        unsafe { _mm512_mask_storeu_ps(p, first(n), v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: __m512) {
        unsafe {
            let bits = _mm512_castps_si512(v);
            // Nearest even: add half a unit in the last place kept, less one where that bit is even.
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            // The sum could carry a NaN's mantissa away: set its quiet bit instead.
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            let high = _mm512_srli_epi32::<16>(_mm512_mask_blend_epi32(self.is_nan(v), rounded, quiet));
            _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(high));
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_split(self, p: *const u16) -> [__m512; 2] {
        unsafe {
            let both = _mm512_loadu_si512(p.cast());
            let odd = _mm512_and_si512(both, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(both)), _mm512_castsi512_ps(odd)]
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_split<const STREAM: bool>(self, p: *mut u16, [even, odd]: [__m512; 2]) {
        unsafe {
            let (even, odd) = (round_to_bf16(even), round_to_bf16(odd));
            // mask ? odd : even >> 16
            let mask = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            let both = _mm512_ternarylogic_epi32::<0xca>(mask, odd, _mm512_srli_epi32::<16>(even));
            if STREAM { _mm512_stream_si512(p.cast(), both) } else { _mm512_storeu_si512(p.cast(), both) }
        }
    }
    #[inline(always)]
    fn raise_bf16(self, a: __m512) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(0x8000))) }
    }
    #[inline(always)]
    fn split(self, [a, b]: [__m512; 2]) -> [__m512; 2] {
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_or_si512(even, _mm512_set1_epi32(1));
            [_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b)]
        }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_stream_ps(p, v) }
    }
    #[inline(always)]
    fn fence(self) {
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: __m512) {
        unsafe {
            let half = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v);
            _mm256_storeu_si256(p.cast(), half);
        }
    }
    #[inline(always)]
    unsafe fn splat_two(self, p: *const f32) -> __m512 {
        unsafe { _mm512_castpd_ps(_mm512_set1_pd(p.cast::<f64>().read_unaligned())) }
    }
    #[inline(always)]
    fn even_bf16(self, pairs: __m512) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(pairs))) }
    }
    #[inline(always)]
    fn odd_bf16(self, pairs: __m512) -> __m512 {
        unsafe {
            let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(pairs), high))
        }
    }
    #[inline(always)]
    fn pair_bf16(self, even: __m512, odd: __m512) -> __m512 {
        unsafe {
            let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(even));
            _mm512_castsi512_ps(_mm512_mask_blend_epi16(0xaaaa_aaaa, low, _mm512_castps_si512(odd)))
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
