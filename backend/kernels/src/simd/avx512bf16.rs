//! AVX-512 BF16: `vdpbf16ps` multiplies 32 pairs of bf16 and adds each two neighbouring products to a lane of f32.
//! Intel from Cooper Lake (2020), AMD from Zen 4.
//!
//! The instruction rounds after each of its two additions, to nearest even; it reads subnormal bf16 as zero and flushes
//! sums that are subnormal to zero, whatever MXCSR says (Intel SDM, volume 2, VDPBF16PS). NaN and infinities propagate.

use super::{Avx512, Isa};
use core::arch::x86_64::*;

/// Proves AVX-512 F, BW, DQ, VL and BF16.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Bf16 {
    base: Avx512,
}

/// Work that one thread does with `vdpbf16ps`.
pub trait Bf16Kernel {
    /// What it returns.
    type Out;
    /// Does the work. Implementations are `#[inline(always)]`.
    fn call(self, isa: Avx512Bf16) -> Self::Out;
}

/// The trampoline: what is inlined into it is compiled with these features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
#[inline(never)]
fn trampoline<K: Bf16Kernel>(isa: Avx512Bf16, kernel: K) -> K::Out {
    kernel.call(isa)
}

impl Avx512Bf16 {
    /// `None` on a CPU without AVX-512 or its BF16 extension.
    pub fn detect() -> Option<Self> {
        let base = Avx512::detect()?;
        is_x86_feature_detected!("avx512bf16").then_some(Self { base })
    }

    /// The instruction set of everything else.
    #[inline(always)]
    pub fn base(self) -> Avx512 {
        self.base
    }

    /// Runs `kernel` compiled for this instruction set.
    #[inline(always)]
    pub fn run<K: Bf16Kernel>(self, kernel: K) -> K::Out {
        // SAFETY: a value exists only on a CPU with the features (`detect`).
        unsafe { trampoline(self, kernel) }
    }

    /// `sum + a.even · b.even + a.odd · b.odd` for each lane of two bf16.
    #[inline(always)]
    pub fn dot(self, sum: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: a value exists only on a CPU with the features; both types are 512 bits, every pattern valid.
        unsafe {
            let (a, b) = (core::mem::transmute::<__m512, __m512bh>(a), core::mem::transmute::<__m512, __m512bh>(b));
            _mm512_dpbf16_ps(sum, a, b)
        }
    }

    /// 32 neighbours, 16 in each register, as pairs: rounded to nearest even; what is subnormal becomes zero.
    #[inline(always)]
    pub fn round_neighbours(self, [first, second]: [__m512; 2]) -> __m512 {
        // SAFETY: a value exists only on a CPU with the features; both types are 512 bits, every pattern valid.
        unsafe { core::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(second, first)) }
    }

    /// Pairs of `even` and `odd`, rounded to nearest even; what is subnormal becomes zero.
    #[inline(always)]
    pub fn round_pair(self, even: __m512, odd: __m512) -> __m512 {
        /// Word `2 i` is word `i` of `even`, word `2 i + 1` word `i` of `odd`.
        const INTERLEAVE: [u16; 32] = {
            let mut words = [0; 32];
            let mut i = 0;
            while i < 16 {
                words[2 * i] = i as u16;
                words[2 * i + 1] = 16 + i as u16;
                i += 1;
            }
            words
        };
        // SAFETY: a value exists only on a CPU with the features; the types are 512 bits, every pattern valid.
        unsafe {
            let halves = core::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(odd, even));
            let order = _mm512_loadu_si512(INTERLEAVE.as_ptr().cast());
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves))
        }
    }

    /// `a · 2^⌊x⌋`, and exactly 0 where x < `LEAST`: a result that is subnormal takes 200 cycles on Intel.
    #[inline(always)]
    pub fn scale_or_zero<const LEAST: i32>(self, a: __m512, x: __m512) -> __m512 {
        // SAFETY: a value exists only on a CPU with the features.
        unsafe {
            // A NaN is not less.
            let counts = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(LEAST as f32));
            _mm512_maskz_scalef_ps(counts, a, x)
        }
    }

    /// `x - ⌊x⌋`, and 0 for infinities.
    #[inline(always)]
    pub fn fraction(self, x: __m512) -> __m512 {
        // SAFETY: a value exists only on a CPU with the features. 1: rounded down, to whole numbers; 8: no exceptions.
        unsafe { _mm512_reduce_ps::<{ 1 | 8 }>(x) }
    }

    /// The first `n ≤ 32` words of 16 bits at `p`, the others 0.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    pub unsafe fn load_words(self, p: *const u16, n: usize) -> __m512 {
        debug_assert!(n <= 32);
        // SAFETY: a value exists only on a CPU with the features; lanes beyond `n` are not read (`# Safety` of
        // `Avx512Bf16::load_words`).
        unsafe { _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(((1u64 << n) - 1) as u32, p.cast())) }
    }

    /// Pairs of a word of `even` and one of `odd`, from the first half of each quarter of a register and from the
    /// second: lane `4 q + i` is of word `8 q + i`, or of word `8 q + 4 + i`.
    #[inline(always)]
    pub fn interleave_words(self, even: __m512, odd: __m512) -> [__m512; 2] {
        // SAFETY: a value exists only on a CPU with the features.
        unsafe {
            let (even, odd) = (_mm512_castps_si512(even), _mm512_castps_si512(odd));
            let (low, high) = (_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd));
            [_mm512_castsi512_ps(low), _mm512_castsi512_ps(high)]
        }
    }

    /// All lanes the pair at `p`.
    ///
    /// # Safety
    /// `p` is readable.
    #[inline(always)]
    pub unsafe fn splat_pair(self, p: *const u32) -> __m512 {
        // SAFETY: `p` is readable (`# Safety` of `Avx512Bf16::splat_pair`).
        self.base.splat(f32::from_bits(unsafe { p.read_unaligned() }))
    }
}
