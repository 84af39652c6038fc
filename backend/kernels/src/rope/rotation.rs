//! The kernel: heads at positions, normalised, rotated and stored one after the other.

use super::{Angles, Heads};
use crate::Storage;
use crate::norm::{reciprocal_root, sum_squares};
use crate::rows::{Source, Target, load, store};
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// The norm before the rotation.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadNorm {
    /// d elements.
    gamma: Source<f32>,
    epsilon: f64,
    rstd: Option<Target<f32>>,
}

impl HeadNorm {
    /// A norm of the heads of `x`; registers hold neighbours whatever the type, as those of f32 do.
    ///
    /// # Panics
    /// If there is not one gamma for each element, or not one rstd for each head and position.
    pub(super) fn new(gamma: Source<f32>, epsilon: f64, rstd: Option<Target<f32>>, x: &Heads<'_>) -> Self {
        assert_eq!(x.head_dim, gamma.len(), "one gamma for each element of a head");
        let rows = x.batch * x.heads * x.length;
        assert!(rstd.is_none_or(|rstd| rstd.len() == rows), "one rstd a head and position");
        Self { gamma, epsilon, rstd }
    }
}

/// The angles of the rotation.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadAngles {
    cos: Source<f32>,
    sin: Source<f32>,
    /// From one sequence to the next.
    stride: usize,
}

impl HeadAngles {
    /// Angles of the positions of `x`.
    ///
    /// # Panics
    /// If `head_dim` is odd or the lengths do not fit.
    pub(super) fn new(angles: Angles<'_>, x: &Heads<'_>) -> Self {
        let Angles { cos, sin } = angles;
        assert!(x.head_dim.is_multiple_of(2), "an even head_dim, not {}", x.head_dim);
        let each = x.length * (x.head_dim / 2);
        assert!(cos.len() == each || cos.len() == x.batch * each, "{} cosines", cos.len());
        assert_eq!(cos.len(), sin.len(), "cosines and sines");
        let stride = if cos.len() == each { 0 } else { each };
        Self { cos: Source::new(cos), sin: Source::new(sin), stride }
    }

    /// Cosines and sines of a sequence at a position, `half` of each; checked.
    #[inline(always)]
    pub(super) fn of(&self, batch: usize, position: usize, half: usize) -> [*const f32; 2] {
        let angle = batch * self.stride + position * half;
        [self.cos.part(&(angle..angle + half)), self.sin.part(&(angle..angle + half))]
    }
}

/// [`Heads`] of a known element type.
#[derive(Debug, Clone, Copy)]
pub(super) struct TypedHeads<'a, S> {
    pub(super) view: Heads<'a>,
    pub(super) data: Source<S>,
}

/// Where rows go: positions `start ..` of a contiguous `[batch, heads, capacity, head_dim]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination<T> {
    pub(super) out: Target<T>,
    pub(super) capacity: usize,
    pub(super) start: usize,
}

impl<T> Destination<T> {
    /// All of `out`, for `length` positions.
    pub(super) fn whole(out: Target<T>, length: usize) -> Self {
        Self { out, capacity: length, start: 0 }
    }
}

/// All rows: heads at positions, in the order of the result.
pub(super) struct Rotation<S, T> {
    norm: Option<HeadNorm>,
    angles: Option<HeadAngles>,
    x: Source<S>,
    strides: [usize; 3],
    batch: usize,
    heads: usize,
    length: usize,
    d: usize,
    to: Destination<T>,
}

impl<S, T> Rotation<S, T> {
    /// Rows of `x` with what is done to them. Without angles they are stored as they are: there is no norm then.
    ///
    /// # Panics
    /// If the view reaches past its slice, or the destination has no room.
    pub(super) fn new(
        norm: Option<HeadNorm>,
        TypedHeads { view: x, data }: TypedHeads<'_, S>,
        angles: Option<HeadAngles>,
        to: Destination<T>,
    ) -> Self {
        x.check();
        assert!(norm.is_none() || angles.is_some(), "a norm comes before a rotation");
        assert!(to.start + x.length <= to.capacity, "{} positions from {} of {}", x.length, to.start, to.capacity);
        assert_eq!(x.batch * x.heads * to.capacity * x.head_dim, to.out.len(), "elements of the destination");
        let Heads { batch, heads, length, head_dim: d, strides, .. } = x;
        Self { norm, angles, x: data, strides, batch, heads, length, d, to }
    }

    /// Their number.
    pub(super) fn rows(&self) -> usize {
        self.batch * self.heads * self.length
    }
}

/// Rows of one thread.
pub(super) struct HeadRows<'a, S, T> {
    pub(super) rotation: &'a Rotation<S, T>,
    pub(super) rows: Range<usize>,
}

impl<S: Storage, T: Storage> Kernel for HeadRows<'_, S, T> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        match (self.rotation.norm.is_some(), self.rotation.angles.is_some()) {
            (true, _) => self.run::<I, true, true>(isa),
            (false, true) => self.run::<I, false, true>(isa),
            (false, false) => self.run::<I, false, false>(isa),
        }
    }
}

impl<S: Storage, T: Storage> HeadRows<'_, S, T> {
    #[inline(always)]
    fn run<I: Isa, const NORM: bool, const ROTATE: bool>(self, isa: I) {
        let all = self.rotation;
        let (d, half) = (all.d, all.d / 2);
        let mut position = self.rows.start % all.length;
        let mut head = self.rows.start / all.length % all.heads;
        let mut batch = self.rows.start / all.length / all.heads;
        for row in self.rows {
            let at = batch * all.strides[0] + head * all.strides[1] + position * all.strides[2];
            let x = all.x.part(&(at..at + d));
            let to = ((batch * all.heads + head) * all.to.capacity + all.to.start + position) * d;
            let out = all.to.out.part(&(to..to + d));
            if ROTATE && let Some(source) = all.angles {
                let [cos, sin] = source.of(batch, position, half);
                let (mut rstd, mut gamma) = (1.0, core::ptr::null());
                if NORM && let Some(norm) = all.norm {
                    gamma = norm.gamma.part(&(0..d));
                    // SAFETY: the part was checked to hold d elements.
                    rstd = reciprocal_root(unsafe { sum_squares(isa, x, d) }, d, norm.epsilon);
                    if let Some(to) = norm.rstd {
                        // SAFETY: the part was checked to hold the element, and no other thread has this row.
                        unsafe { to.part(&(row..row + 1)).write(rstd) };
                    }
                }
                // SAFETY: the parts were checked to hold d and half elements; gamma holds d for NORM.
                unsafe { rotate::<I, S, T, NORM>(isa, x, out, half, HeadFactors { rstd, gamma, cos, sin }) };
            } else {
                for i in (0..d).step_by(I::LANES) {
                    let n = I::LANES.min(d - i);
                    // SAFETY: i + n ≤ d, and the parts were checked to hold d elements.
                    unsafe { store(isa, out.add(i), load(isa, x.add(i), n), n) };
                }
            }
            position += 1;
            if position == all.length {
                (position, head) = (0, head + 1);
                if head == all.heads {
                    (head, batch) = (0, batch + 1);
                }
            }
        }
    }
}

/// What one head at one position is multiplied by.
#[derive(Clone, Copy)]
struct HeadFactors {
    rstd: f32,
    gamma: *const f32,
    cos: *const f32,
    sin: *const f32,
}

/// One head at one position.
///
/// # Safety
/// `x` is readable and `out` writable for `2 · half` elements, the angles for `half`; with `NORM` gamma holds
/// `2 · half`.
#[inline(always)]
unsafe fn rotate<I: Isa, S: Storage, T: Storage, const NORM: bool>(
    isa: I,
    x: *const S,
    out: *mut T,
    half: usize,
    HeadFactors { rstd, gamma, cos, sin }: HeadFactors,
) {
    let (rstd, zero) = (isa.splat(rstd), isa.splat(0.0));
    for i in (0..half).step_by(I::LANES) {
        let n = I::LANES.min(half - i);
        // SAFETY: by the `# Safety` clause of `rotate`, i + n ≤ half.
        unsafe {
            let (mut first, mut second) = (load(isa, x.add(i), n), load(isa, x.add(half + i), n));
            if NORM {
                first = isa.mul(isa.mul(first, rstd), load(isa, gamma.add(i), n));
                second = isa.mul(isa.mul(second, rstd), load(isa, gamma.add(half + i), n));
            }
            let (cos, sin) = (load(isa, cos.add(i), n), load(isa, sin.add(i), n));
            let minus = isa.sub(zero, isa.mul(second, sin));
            store(isa, out.add(i), isa.mul_add(first, cos, minus), n);
            store(isa, out.add(half + i), isa.mul_add(second, cos, isa.mul(first, sin)), n);
        }
    }
}
