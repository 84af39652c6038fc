//! Words of a weight, and how A is read for them.

use crate::Storage;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::registers::load_up_to;
use crate::simd::{Isa, PANEL};
use core::marker::PhantomData;
use half::bf16;

/// Sums of each row of W, which do not wait for each other: where there are 32 registers.
#[inline(always)]
const fn sums_a_row<I: Isa>() -> usize {
    if I::LANES == PANEL { 2 } else { 1 }
}

/// How words of W are multiplied, and the layout of A for it.
pub(in crate::gemm) trait Words<I: Isa>: Copy {
    /// Steps of A that a word is multiplied by in registers of their own: 2 where its halves are widened.
    const STEPS: usize;

    /// Bytes of a row of W.
    fn row_bytes(depth: usize) -> usize;

    /// `LANES` numbers of row `i` of A from number `at` on (steps of the depth, or pairs of them), 0 where there are
    /// none.
    ///
    /// # Safety
    /// Row `i` is readable.
    unsafe fn load_left(self, isa: I, i: usize, at: usize) -> I::V;

    /// Adds the products of words `w` with their steps of A. `parity` alternates between 0 and 1.
    fn add(self, isa: I, parity: usize, w: I::V, a: [I::V; 2], sums: &mut [I::V; 2]);
}

/// Weights of type `W` against floats of any type.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct FloatWords<W> {
    a: RawMatrix,
    depth: usize,
    weight: PhantomData<W>,
}

impl<W> FloatWords<W> {
    /// Rows of A, as deep as the weight.
    pub(in crate::gemm) fn new(a: RawMatrix, depth: usize) -> Self {
        Self { a, depth, weight: PhantomData }
    }
}

/// An element type of weights that are broadcast by words.
pub(in crate::gemm) trait WordElement: Storage {
    /// Elements in a word.
    const IN_WORD: usize = size_of::<f32>() / size_of::<Self>();

    /// The words as f32: each of its elements.
    fn widen<I: Isa>(isa: I, words: I::V) -> [I::V; 2];
}

impl WordElement for f32 {
    #[inline(always)]
    fn widen<I: Isa>(_isa: I, words: I::V) -> [I::V; 2] {
        [words; 2]
    }
}

impl WordElement for bf16 {
    #[inline(always)]
    fn widen<I: Isa>(isa: I, words: I::V) -> [I::V; 2] {
        [isa.even_bf16(words), isa.odd_bf16(words)]
    }
}

impl<I: Isa, W: WordElement> Words<I> for FloatWords<W> {
    const STEPS: usize = W::IN_WORD;

    fn row_bytes(depth: usize) -> usize {
        depth * size_of::<W>()
    }

    #[inline(always)]
    unsafe fn load_left(self, isa: I, i: usize, at: usize) -> I::V {
        let have = self.depth.saturating_sub(at).min(I::LANES);
        let RawMatrix { data, col_stride, .. } = self.a.from(i, at);
        // SAFETY: by the `# Safety` clause of `Words::load_left`, `have` elements of the row exist.
        unsafe {
            match data {
                RawFloats::F32(from) => load_strided(isa, from, col_stride, have),
                RawFloats::Bf16(from) => load_strided(isa, from, col_stride, have),
                RawFloats::F16(from) => load_strided(isa, from, col_stride, have),
            }
        }
    }

    #[inline(always)]
    fn add(self, isa: I, parity: usize, w: I::V, a: [I::V; 2], sums: &mut [I::V; 2]) {
        let w = W::widen(isa, w);
        let parity = parity % sums_a_row::<I>();
        sums[parity] = isa.mul_add(w[0], a[0], sums[parity]);
        if W::IN_WORD == 2 {
            let parity = (parity + 1) % sums_a_row::<I>();
            sums[parity] = isa.mul_add(w[1], a[1], sums[parity]);
        }
    }
}

/// `have ≤ LANES` elements, `stride` apart; the other lanes are 0.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load_strided<I: Isa, S: Storage>(isa: I, from: *const S, stride: isize, have: usize) -> I::V {
    // SAFETY: the `# Safety` clause of `load_strided`; the array holds a register.
    unsafe {
        if stride == 1 {
            return load_up_to(isa, from, have);
        }
        let mut some = [0.0f32; PANEL];
        for (p, x) in some.iter_mut().enumerate().take(have) {
            *x = from.wrapping_offset(p as isize * stride).read().to_f32();
        }
        isa.load(some.as_ptr())
    }
}
