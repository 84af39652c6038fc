//! AVX2 with FMA and F16C: 16 registers of 8 floats. Intel from Haswell (2013), AMD from Zen.

use super::{Isa, Kernel, RegisterTile, Tier, sealed};
use core::arch::x86_64::*;

/// Proves AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// `None` on a CPU without AVX2, FMA or F16C.
    pub fn detect() -> Option<Self> {
        let has =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

impl sealed::Sealed for Avx2 {}

/// The trampoline: what is inlined into it is compiled with these features. It is not inlined itself: a kernel inside
/// another would compete with it for registers (a register tile inlined into the loops around it: three quarters of its
/// speed).
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn trampoline<K: Kernel>(isa: Avx2, kernel: K) -> K::Out {
    kernel.call(isa)
}

/// No instruction, but one that keeps its place among its like.
#[inline]
#[target_feature(enable = "avx2")]
fn hold(mut v: __m256) -> __m256 {
    // SAFETY: empty.
    unsafe { core::arch::asm!("/* {0} */", inout(ymm_reg) v, options(nomem, nostack, preserves_flags)) };
    v
}

/// A mask whose first `n` lanes are set.
#[inline(always)]
fn first(n: usize) -> __m256i {
    const WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    debug_assert!(n <= 8);
    // SAFETY: AVX is proved by the callers' Avx2; n ≤ 8, so the 8 integers from 8 - n end within the window.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(8 - n).cast()) }
}

/// The high half of each lane is the bf16 nearest to it, ties to even; the low half is of no use. NaN: see
/// [`Isa::store_bf16_split`].
#[inline(always)]
fn round_to_bf16(v: __m256) -> __m256i {
    // SAFETY: AVX2 is proved by the callers' Avx2.
    unsafe {
        let bits = _mm256_castps_si256(v);
        // Half a unit in the last place kept, less one where that bit is even.
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd)
    }
}

// SAFETY of every block below: an `Avx2` value exists only on a CPU with AVX2, FMA and F16C (`detect`), and pointers
// are what the callers of the unsafe methods promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Isa for Avx2 {
    type V = __m256;
    type M = __m256;
    const LANES: usize = 8;
    // 6 x 16: 12 accumulators, 2 of B, 1 broadcast of A; 12 ≥ 2 FMA a cycle x 5 cycles of latency.
    const TILE: RegisterTile = RegisterTile::Rows6;
    const PANELS: usize = 1;
    const TIER: Tier = Tier::Avx2;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Out {
        unsafe { trampoline(self, kernel) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn neg_mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn copysign(self, magnitude: __m256, sign: __m256) -> __m256 {
        unsafe {
            let bit = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign))
        }
    }
    #[inline(always)]
    fn pow2(self, n: __m256) -> __m256 {
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    fn mul_pow2(self, a: __m256, n: __m256) -> __m256 {
        unsafe {
            // Two factors, as no f32 is 2⁻¹⁵⁰; the first product is exact.
            let n = _mm256_cvtps_epi32(n);
            let half = _mm256_srai_epi32::<1>(n);
            let scale = |n| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127))));
            _mm256_mul_ps(_mm256_mul_ps(a, scale(half)), scale(_mm256_sub_epi32(n, half)))
        }
    }
    #[inline(always)]
    fn mul_pow2_low(self, a: __m256, n: __m256) -> __m256 {
        unsafe {
            // In 1.5 · 2²³ + i the low bits are the integer i: here the exponent of 2ⁿ⁺⁶⁴, which is normal.
            let biased = _mm256_add_ps(n, _mm256_set1_ps(12_582_912.0 + 127.0 + 64.0));
            let scale = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(biased)));
            _mm256_mul_ps(_mm256_mul_ps(a, scale), _mm256_set1_ps(1.0 / 18_446_744_073_709_551_616.0))
        }
    }
    #[inline(always)]
    fn hold(self, a: __m256) -> __m256 {
        unsafe { hold(a) }
    }
    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn is_nan(self, a: __m256) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a) }
    }
    #[inline(always)]
    fn select(self, mask: __m256, yes: __m256, no: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(no, yes, mask) }
    }
    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn reduce_add_each(self, rows: &[__m256; 16]) -> __m256 {
        unsafe {
            // Four registers at a time: lanes of each half are the sums of theirs.
            let mut fours = [_mm256_setzero_ps(); 2];
            for (four, rows) in fours.iter_mut().zip(rows.chunks_exact(4)) {
                let add_two = |a, b| _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let (a, b) = (add_two(rows[0], rows[1]), add_two(rows[2], rows[3]));
                // [a0 a1 b0 b1] + [a2 a3 b2 b3]
                *four =
                    _mm256_add_ps(_mm256_shuffle_ps::<0b01_00_01_00>(a, b), _mm256_shuffle_ps::<0b11_10_11_10>(a, b));
            }
            let [a, b] = fours;
            _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
        }
    }
    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [__m256; 16]) {
        unsafe {
            // 4 x 4 within each half register: half `h` of register `4 g + c` becomes column `4 h + c` of rows `4 g
            // ..`.
            for g in [0, 4] {
                let (r0, r1, r2, r3) = (rows[g], rows[g + 1], rows[g + 2], rows[g + 3]);
                let (lo01, hi01) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
                let (lo23, hi23) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
                rows[g] = _mm256_shuffle_ps::<0b01_00_01_00>(lo01, lo23);
                rows[g + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(lo01, lo23);
                rows[g + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(hi01, hi23);
                rows[g + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(hi01, hi23);
            }
            // 2 x 2 of the halves.
            for c in 0..4 {
                let (top, bottom) = (rows[c], rows[4 + c]);
                rows[c] = _mm256_permute2f128_ps::<0x20>(top, bottom);
                rows[4 + c] = _mm256_permute2f128_ps::<0x31>(top, bottom);
            }
        }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(p, first(n)) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: __m256, n: usize) {
        unsafe { _mm256_maskstore_ps(p, first(n), v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> __m256 {
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut u16, v: __m256) {
        unsafe {
            let bits = _mm256_castps_si256(v);
            // Nearest even: add half a unit in the last place kept, less one where that bit is even.
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            // The sum could carry a NaN's mantissa away: set its quiet bit instead.
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(high, high));
            _mm_storeu_si128(p.cast(), _mm256_castsi256_si128(packed));
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_split(self, p: *const u16) -> [__m256; 2] {
        unsafe {
            let both = _mm256_loadu_si256(p.cast());
            let odd = _mm256_and_si256(both, _mm256_set1_epi32(0xffff_0000_u32 as i32));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(both)), _mm256_castsi256_ps(odd)]
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_split<const STREAM: bool>(self, p: *mut u16, [even, odd]: [__m256; 2]) {
        unsafe {
            let (even, odd) = (round_to_bf16(even), round_to_bf16(odd));
            let both = _mm256_blend_epi16::<0b1010_1010>(_mm256_srli_epi32::<16>(even), odd);
            if STREAM { _mm256_stream_si256(p.cast(), both) } else { _mm256_storeu_si256(p.cast(), both) }
        }
    }
    #[inline(always)]
    fn raise_bf16(self, a: __m256) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(0x8000))) }
    }
    #[inline(always)]
    fn split(self, [a, b]: [__m256; 2]) -> [__m256; 2] {
        unsafe {
            let order = |v| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v)));
            [order(_mm256_shuffle_ps::<0b10_00_10_00>(a, b)), order(_mm256_shuffle_ps::<0b11_01_11_01>(a, b))]
        }
    }
    #[inline(always)]
    unsafe fn stream(self, p: *mut f32, v: __m256) {
        unsafe { _mm256_stream_ps(p, v) }
    }
    #[inline(always)]
    fn fence(self) {
        unsafe { _mm_sfence() }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: __m256) {
        unsafe { _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)) }
    }
    #[inline(always)]
    unsafe fn splat_two(self, p: *const f32) -> __m256 {
        unsafe { _mm256_castpd_ps(_mm256_set1_pd(p.cast::<f64>().read_unaligned())) }
    }
    #[inline(always)]
    fn even_bf16(self, pairs: __m256) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(pairs))) }
    }
    #[inline(always)]
    fn odd_bf16(self, pairs: __m256) -> __m256 {
        unsafe { _mm256_and_ps(pairs, _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32))) }
    }
    #[inline(always)]
    fn pair_bf16(self, even: __m256, odd: __m256) -> __m256 {
        unsafe {
            let low = _mm256_srli_epi32::<16>(_mm256_castps_si256(even));
            _mm256_castsi256_ps(_mm256_blend_epi16::<0xaa>(low, _mm256_castps_si256(odd)))
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
