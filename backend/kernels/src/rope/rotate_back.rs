//! The kernels: a head's gradient rotated back, and behind it that of the head's norm.

use super::head_walk::{HeadReader, HeadWalk, offset};
use super::rotation::HeadAngles;
use crate::norm::reciprocal_root;
use crate::rows::{Target, load, store};
use crate::simd::{Isa, Kernel};

/// Both halves of the gradient at elements `at ..` of each half, rotated back.
///
/// # Safety
/// `grad` holds `2 · half` elements, the angles `half`; at + n ≤ half.
#[inline(always)]
unsafe fn rotate_back<I: Isa>(
    isa: I,
    grad: *const f32,
    [cos, sin]: [*const f32; 2],
    half: usize,
    at: usize,
    n: usize,
) -> [I::V; 2] {
    // SAFETY: `grad` holds `2 · half` elements, the angles `half`; at + n ≤ half (`# Safety` of `rotate_back`).
    let (a, b, cos, sin) = unsafe {
        let (a, b) = (load(isa, grad.add(at), n), load(isa, grad.add(half + at), n));
        (a, b, load(isa, cos.add(at), n), load(isa, sin.add(at), n))
    };
    [isa.mul_add(a, cos, isa.mul(b, sin)), isa.neg_mul_add(a, sin, isa.mul(b, cos))]
}

/// Rows of one thread.
pub(super) struct RotateBack {
    pub(super) walk: HeadWalk,
    pub(super) grad: HeadReader,
    pub(super) angles: HeadAngles,
    pub(super) out: Target<f32>,
    pub(super) strides: [usize; 3],
    pub(super) d: usize,
}

impl Kernel for RotateBack {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let (d, half) = (self.d, self.d / 2);
        let mut place = self.walk.first();
        for _ in self.walk.rows.clone() {
            let grad = self.grad.read(isa, place, self.walk.ahead);
            let angles = self.angles.of(place[0], place[2], half);
            let to = offset(place, self.strides);
            let out = self.out.part(&(to..to + d));
            for at in (0..half).step_by(I::LANES) {
                let n = I::LANES.min(half - at);
                // SAFETY: `read`, `of` and `part` checked that they hold d and half elements; at + n ≤ half.
                unsafe {
                    let [a, b] = rotate_back(isa, grad, angles, half, at, n);
                    store(isa, out.add(at), a, n);
                    store(isa, out.add(half + at), b, n);
                }
            }
            place = self.walk.next(place);
        }
    }
}

/// Rows of one group.
pub(super) struct NormRotateBack {
    pub(super) walk: HeadWalk,
    pub(super) x: HeadReader,
    pub(super) grad: HeadReader,
    pub(super) angles: HeadAngles,
    /// d elements, as `rotated` and `sums`.
    pub(super) gamma: *const f32,
    pub(super) epsilon: f64,
    pub(super) rotated: *mut f32,
    pub(super) out: Target<f32>,
    pub(super) strides: [usize; 3],
    pub(super) sums: *mut f32,
    pub(super) d: usize,
}

impl Kernel for NormRotateBack {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let (d, half) = (self.d, self.d / 2);
        let mut place = self.walk.first();
        for _ in self.walk.rows.clone() {
            let x = self.x.read(isa, place, self.walk.ahead);
            let grad = self.grad.read(isa, place, self.walk.ahead);
            let head = Head { x, grad, angles: self.angles.of(place[0], place[2], half) };
            let to = offset(place, self.strides);
            let out = self.out.part(&(to..to + d));
            // SAFETY: `read`, `of` and `part` checked that they hold d and half elements; gamma, the rotated row and
            // the sums hold d, as `norm_rope_backward` made them.
            unsafe {
                let [squares, along] = self.rotate(isa, &head);
                let rstd = reciprocal_root(squares, d, self.epsilon);
                self.write(isa, &head, [rstd, along * rstd / d as f32], out);
            }
            place = self.walk.next(place);
        }
    }
}

/// Operands of one head at one position.
struct Head {
    x: *const f32,
    grad: *const f32,
    angles: [*const f32; 2],
}

impl NormRotateBack {
    /// The first pass: `Σ x²` and `Σ g · gamma · x`.
    ///
    /// # Safety
    /// The head's operands hold d elements, its angles half of that.
    #[inline(always)]
    unsafe fn rotate<I: Isa>(&self, isa: I, head: &Head) -> [f32; 2] {
        let half = self.d / 2;
        let whole = half / I::LANES * I::LANES;
        let mut sums = [[isa.splat(0.0); 2]; 2];
        // SAFETY: the head's operands hold d elements (`# Safety` of `rotate`); a register ends at `half` or before.
        unsafe {
            for at in (0..whole).step_by(I::LANES) {
                sums = self.rotate_register(isa, head, at, I::LANES, sums);
            }
            if whole < half {
                sums = self.rotate_register(isa, head, whole, half - whole, sums);
            }
        }
        let [squares, along] = sums;
        let (squares, along) = (isa.add(squares[0], squares[1]), isa.add(along[0], along[1]));
        [isa.reduce_add(squares), isa.reduce_add(along)]
    }

    /// # Safety
    /// As for [`NormRotateBack::rotate`]; at + n ≤ half, n ≤ LANES.
    #[inline(always)]
    unsafe fn rotate_register<I: Isa>(
        &self,
        isa: I,
        head: &Head,
        at: usize,
        n: usize,
        [mut squares, mut along]: [[I::V; 2]; 2],
    ) -> [[I::V; 2]; 2] {
        let half = self.d / 2;
        // SAFETY: operands hold d elements, and at + n ≤ half (`# Safety` of `rotate_register`).
        unsafe {
            let both = rotate_back(isa, head.grad, head.angles, half, at, n);
            for (i, g) in both.into_iter().enumerate() {
                let at = i * half + at;
                store(isa, self.rotated.add(at), g, n);
                let x = load(isa, head.x.add(at), n);
                squares[i] = isa.mul_add(x, x, squares[i]);
                along[i] = isa.mul_add(isa.mul(g, load(isa, self.gamma.add(at), n)), x, along[i]);
            }
        }
        [squares, along]
    }

    /// The second pass; `numbers` are `rstd` and `mean(g · gamma · n)`.
    ///
    /// # Safety
    /// As for [`NormRotateBack::rotate`]; `out` holds d elements.
    #[inline(always)]
    unsafe fn write<I: Isa>(&self, isa: I, head: &Head, numbers: [f32; 2], out: *mut f32) {
        let d = self.d;
        let whole = d / I::LANES * I::LANES;
        let [rstd, along] = numbers;
        let numbers = [isa.splat(rstd), isa.splat(along)];
        // SAFETY: all hold d elements (`# Safety` of `write`); a register ends at `d` or before.
        unsafe {
            for at in (0..whole).step_by(I::LANES) {
                self.write_register(isa, head, numbers, out, at, I::LANES);
            }
            if whole < d {
                self.write_register(isa, head, numbers, out, whole, d - whole);
            }
        }
    }

    /// # Safety
    /// As for [`NormRotateBack::write`]; at + n ≤ d, n ≤ LANES.
    #[inline(always)]
    unsafe fn write_register<I: Isa>(
        &self,
        isa: I,
        head: &Head,
        [rstd, along]: [I::V; 2],
        out: *mut f32,
        at: usize,
        n: usize,
    ) {
        // SAFETY: all hold d elements, and at + n ≤ d (`# Safety` of `write_register`).
        unsafe {
            let (g, gamma) = (load(isa, self.rotated.add(at), n), load(isa, self.gamma.add(at), n));
            let normed = isa.mul(load(isa, head.x.add(at), n), rstd);
            let across = isa.neg_mul_add(normed, along, isa.mul(g, gamma));
            store(isa, out.add(at), isa.mul(across, rstd), n);
            let sum = self.sums.add(at);
            store(isa, sum, isa.mul_add(g, normed, load(isa, sum, n)), n);
        }
    }
}
