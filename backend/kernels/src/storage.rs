//! Element types in memory: how registers of f32 are loaded and stored; arithmetic is always f32.

use crate::ElementType;
use crate::simd::Isa;
use half::{bf16, f16};

/// An element type in memory.
pub trait Storage: Copy + Send + Sync + bytemuck::Pod + 'static {
    /// Which it is.
    const TYPE: ElementType;

    /// To f32, exactly.
    fn to_f32(self) -> f32;
    /// From f32, to nearest even.
    fn from_f32(x: f32) -> Self;
    /// Loads a register.
    /// # Safety
    /// `p` is readable for `LANES` elements.
    unsafe fn load<I: Isa>(isa: I, p: *const Self) -> I::V;
    /// Stores a register.
    /// # Safety
    /// `p` is writable for `LANES` elements.
    unsafe fn store<I: Isa>(isa: I, p: *mut Self, v: I::V);
    /// Loads `n < LANES` elements, the other lanes 0.
    /// # Safety
    /// `p` is readable for `n` elements.
    #[inline(always)]
    unsafe fn load_partial<I: Isa>(isa: I, p: *const Self, n: usize) -> I::V {
        let mut lanes = [Self::zeroed(); 16];
        debug_assert!(n < I::LANES && I::LANES <= 16);
        // SAFETY: `p` is readable for `n` elements (`# Safety` of `load_partial`); the array holds a whole register.
        unsafe {
            core::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            Self::load(isa, lanes.as_ptr())
        }
    }
    /// True where [`Storage::load_block`] splits pairs of registers.
    const SPLIT: bool = false;
    /// Loads `U` registers, an even number. Where [`Storage::SPLIT`] says so, each two of them hold the elements at
    /// even and at odd places: widening then moves no lane. Element-wise work and sums do not see the difference.
    /// # Safety
    /// `p` is readable for `U · LANES` elements.
    #[inline(always)]
    unsafe fn load_block<I: Isa, const U: usize>(isa: I, p: *const Self) -> [I::V; U] {
        let mut v = [isa.splat(0.0); U];
        for (i, v) in v.iter_mut().enumerate() {
            // SAFETY: `p` is readable for `U · LANES` elements (`# Safety` of `load_block`).
            *v = unsafe { Self::load(isa, p.add(i * I::LANES)) };
        }
        v
    }
    /// Stores what [`Storage::load_block`] loads. A NaN of a 16-bit type has zeros in its low half. With `STREAM` by
    /// non-temporal stores where type and instruction set can: [`Isa::fence`] comes after the last one.
    /// # Safety
    /// `p` is writable for `U · LANES` elements; for `STREAM` it is a multiple of 64.
    #[inline(always)]
    unsafe fn store_block<I: Isa, const U: usize, const STREAM: bool>(isa: I, p: *mut Self, v: [I::V; U]) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: `p` is writable for `U · LANES` elements; for `STREAM` it is a multiple of 64 (`# Safety` of
            // `store_block`).
            unsafe { Self::store(isa, p.add(i * I::LANES), v) };
        }
    }
    /// [`Storage::store_block`] of what [`Storage::round_near`] gives, in fewer instructions.
    /// # Safety
    /// As for [`Storage::store_block`].
    #[inline(always)]
    unsafe fn store_block_near<I: Isa, const U: usize, const STREAM: bool>(isa: I, p: *mut Self, v: [I::V; U]) {
        // SAFETY: `p` is writable for `U · LANES` elements; for `STREAM` it is a multiple of 64 (`# Safety` of
        // `Storage::store_block`).
        unsafe { Self::store_block::<I, U, STREAM>(isa, p, v) }
    }
    /// For results that are not exact themselves: rounded so that a store is exact, where an element halfway between
    /// two numbers may get either; or left to the store.
    #[inline(always)]
    fn round_near<I: Isa>(_isa: I, v: I::V) -> I::V {
        v
    }
    /// Stores the first `n < LANES` lanes.
    /// # Safety
    /// `p` is writable for `n` elements.
    #[inline(always)]
    unsafe fn store_partial<I: Isa>(isa: I, p: *mut Self, v: I::V, n: usize) {
        let mut lanes = [Self::zeroed(); 16];
        debug_assert!(n < I::LANES && I::LANES <= 16);
        // SAFETY: the array holds a whole register; `p` is writable for `n` elements (`# Safety` of `store_partial`).
        unsafe {
            Self::store(isa, lanes.as_mut_ptr(), v);
            core::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
}

impl Storage for f32 {
    const TYPE: ElementType = ElementType::F32;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }
    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, p: *const Self) -> I::V {
        // SAFETY: `p` is readable for `LANES` elements (`# Safety` of `Storage::load`).
        unsafe { isa.load(p) }
    }
    #[inline(always)]
    unsafe fn store<I: Isa>(isa: I, p: *mut Self, v: I::V) {
        // SAFETY: `p` is writable for `LANES` elements (`# Safety` of `Storage::store`).
        unsafe { isa.store(p, v) }
    }
    #[inline(always)]
    unsafe fn store_block<I: Isa, const U: usize, const STREAM: bool>(isa: I, p: *mut Self, v: [I::V; U]) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: `p` is writable for `U · LANES` elements; for `STREAM` it is a multiple of 64 (`# Safety` of
            // `Storage::store_block`).
            unsafe {
                let p = p.add(i * I::LANES);
                if STREAM { isa.stream(p, v) } else { isa.store(p, v) }
            }
        }
    }
    #[inline(always)]
    unsafe fn load_partial<I: Isa>(isa: I, p: *const Self, n: usize) -> I::V {
        // SAFETY: `p` is readable for `n` elements (`# Safety` of `Storage::load_partial`).
        unsafe { isa.load_partial(p, n) }
    }
    #[inline(always)]
    unsafe fn store_partial<I: Isa>(isa: I, p: *mut Self, v: I::V, n: usize) {
        // SAFETY: `p` is writable for `n` elements (`# Safety` of `Storage::store_partial`).
        unsafe { isa.store_partial(p, v, n) }
    }
}

impl Storage for bf16 {
    const TYPE: ElementType = ElementType::Bf16;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        bf16::to_f32(self)
    }
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        bf16::from_f32(x)
    }
    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, p: *const Self) -> I::V {
        // SAFETY: `p` is readable for `LANES` elements (`# Safety` of `Storage::load`); bf16 is a transparent u16.
        unsafe { isa.load_bf16(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store<I: Isa>(isa: I, p: *mut Self, v: I::V) {
        // SAFETY: `p` is writable for `LANES` elements (`# Safety` of `Storage::store`); bf16 is a transparent u16.
        unsafe { isa.store_bf16(p.cast(), v) }
    }
    const SPLIT: bool = true;
    #[inline(always)]
    unsafe fn load_block<I: Isa, const U: usize>(isa: I, p: *const Self) -> [I::V; U] {
        let mut v = [isa.splat(0.0); U];
        for i in (0..U).step_by(2) {
            // SAFETY: `p` is readable for `U · LANES` elements (`# Safety` of `Storage::load_block`); bf16 is a
            // transparent u16.
            [v[i], v[i + 1]] = unsafe { isa.load_bf16_split(p.add(i * I::LANES).cast()) };
        }
        v
    }
    #[inline(always)]
    unsafe fn store_block<I: Isa, const U: usize, const STREAM: bool>(isa: I, p: *mut Self, v: [I::V; U]) {
        for i in (0..U).step_by(2) {
            // SAFETY: `p` is writable for `U · LANES` elements; for `STREAM` it is a multiple of 64 (`# Safety` of
            // `Storage::store_block`); bf16 is a transparent u16.
            unsafe { isa.store_bf16_split::<STREAM>(p.add(i * I::LANES).cast(), [v[i], v[i + 1]]) };
        }
    }
    #[inline(always)]
    unsafe fn store_block_near<I: Isa, const U: usize, const STREAM: bool>(isa: I, p: *mut Self, v: [I::V; U]) {
        for i in (0..U).step_by(2) {
            let both = isa.pair_bf16(isa.raise_bf16(v[i]), isa.raise_bf16(v[i + 1]));
            // SAFETY: `p` is writable for `U · LANES` elements; for `STREAM` it is a multiple of 64 (`# Safety` of
            // `Storage::store_block`); two registers of bf16 are the bytes of one of f32.
            unsafe {
                let p = p.add(i * I::LANES).cast();
                if STREAM { isa.stream(p, both) } else { isa.store(p, both) }
            }
        }
    }
    #[inline(always)]
    fn round_near<I: Isa>(isa: I, v: I::V) -> I::V {
        isa.odd_bf16(isa.raise_bf16(v))
    }
}

impl Storage for f16 {
    const TYPE: ElementType = ElementType::F16;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        f16::from_f32(x)
    }
    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, p: *const Self) -> I::V {
        // SAFETY: `p` is readable for `LANES` elements (`# Safety` of `Storage::load`); f16 is a transparent u16.
        unsafe { isa.load_f16(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store<I: Isa>(isa: I, p: *mut Self, v: I::V) {
        // SAFETY: `p` is writable for `LANES` elements (`# Safety` of `Storage::store`); f16 is a transparent u16.
        unsafe { isa.store_f16(p.cast(), v) }
    }
}
