//! Rotary position embedding (Su et al. 2021, "RoFormer"), in the form that rotates halves, and with the RMS norm of each head
//! before it (QK-norm) in the same pass.
//!
//! ```text
//! y[i]       = x[i] · cos[i] - x[i + h] · sin[i]
//! y[i + h]   = x[i + h] · cos[i] + x[i] · sin[i]        h = head_dim / 2
//! ```

use super::norm::{Normed, RmsNorm, reciprocal_root, sum_squares};
use super::rows::{GRAIN, Source, Target, Widened, by_dtype, load, share, store};
use super::{Floats, FloatsMut, Launch, Storage};
use crate::simd::{Isa, Kernel};

/// A strided view `[batch, heads, length, head_dim]` whose last dimension is contiguous.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    /// The elements; the view begins at the first one.
    pub data: Floats<'a>,
    /// Sequences.
    pub batch: usize,
    /// Heads of a sequence.
    pub heads: usize,
    /// Positions of a sequence.
    pub length: usize,
    /// Elements of a head at a position.
    pub head_dim: usize,
    /// From one sequence, head and position to the next, in elements. 0 repeats.
    pub strides: [usize; 3],
}

impl<'a> Heads<'a> {
    /// A view of a contiguous array of this shape.
    pub fn contiguous(data: Floats<'a>, [batch, heads, length, head_dim]: [usize; 4]) -> Self {
        let strides = [heads * length * head_dim, length * head_dim, head_dim];
        Self { data, batch, heads, length, head_dim, strides }
    }

    /// Number of elements that the view shows.
    pub(super) fn count(&self) -> usize {
        self.batch * self.heads * self.length * self.head_dim
    }

    /// # Panics
    /// If the view reaches past the slice.
    pub(super) fn check(&self) {
        if self.count() > 0 {
            let [batch, head, position] = self.strides;
            let last = (self.batch - 1) * batch + (self.heads - 1) * head + (self.length - 1) * position;
            assert!(last + self.head_dim <= self.data.len(), "{self:?} reaches past its slice");
        }
    }
}

/// Rotary angles, `[batch, length, head_dim / 2]`, or `[length, head_dim / 2]` for all sequences.
#[derive(Debug, Clone, Copy)]
pub struct Angles<'a> {
    /// Cosines.
    pub cos: &'a [f32],
    /// Sines.
    pub sin: &'a [f32],
}

/// Rotates each head of `x` into `out`, contiguous `[batch, heads, length, head_dim]`.
///
/// # Panics
/// If `head_dim` is odd, the lengths do not fit or the element types of `x` and `out` differ.
pub fn rope(launch: Launch, x: Heads<'_>, angles: Angles<'_>, out: FloatsMut<'_>) {
    let data = x.data;
    by_dtype!((data: Floats, out: FloatsMut) => run(launch, None, (x, Source::new(data)), angles, Target::new(out)));
}

/// RMS norm of each head of `x` at each position with `norm`, then [`rope`]: `to` is `[batch, heads, length, head_dim]`, its
/// `rstd` `[batch, heads, length]`.
///
/// # Panics
/// As [`rope`], or if there is not one gamma for each element of a head.
pub fn qk_norm_rope(launch: Launch, norm: RmsNorm<'_>, x: Heads<'_>, angles: Angles<'_>, to: Normed<'_>) {
    let (data, Normed { out, rstd }) = (x.data, to);
    let norm = Some((norm, rstd.map(Target::new)));
    by_dtype!((data: Floats, out: FloatsMut) => run(launch, norm, (x, Source::new(data)), angles, Target::new(out)));
}

fn run<S: Storage>(
    launch: Launch,
    norm: Option<(RmsNorm<'_>, Option<Target<f32>>)>,
    (x, data): (Heads<'_>, Source<S>),
    angles: Angles<'_>,
    out: Target<S>,
) {
    let (d, rows) = (x.head_dim, x.batch * x.heads * x.length);
    x.check();
    assert!(d.is_multiple_of(2), "an even head_dim, not {d}");
    assert_eq!(x.count(), out.len(), "elements of the result");
    let half = d / 2;
    let each = x.length * half;
    let angle_stride = if angles.cos.len() == each { 0 } else { each };
    assert!(angles.cos.len() == each || angles.cos.len() == x.batch * each, "{} cosines", angles.cos.len());
    assert_eq!(angles.cos.len(), angles.sin.len(), "cosines and sines");
    let widened = norm.as_ref().map(|(RmsNorm { gamma, .. }, rstd)| {
        assert_eq!(d, gamma.len(), "one gamma for each element of a head");
        assert!(rstd.is_none_or(|rstd| rstd.len() == rows), "one rstd a head and position");
        // Here registers hold neighbours whatever the type, as those of f32 do.
        Widened::new::<f32>(launch, *gamma)
    });
    let norm = norm.zip(widened.as_ref()).map(|((RmsNorm { epsilon, .. }, rstd), gamma)| HeadNorm {
        gamma: Source::new(gamma.get()).part(&(0..d)),
        epsilon,
        rstd,
    });
    if out.len() == 0 {
        return;
    }
    let rotation = Rotation {
        norm,
        x: data,
        strides: x.strides,
        heads: x.heads,
        length: x.length,
        d,
        cos: Source::new(angles.cos),
        sin: Source::new(angles.sin),
        angle_stride,
        out,
    };
    share(launch, 2 * size_of::<S>() * out.len()).split(rows, GRAIN.div_ceil(d), |part| {
        launch.tier.run(Part { rotation: &rotation, rows: part });
    });
}

/// The norm before the rotation.
#[derive(Debug, Clone, Copy)]
struct HeadNorm {
    /// d elements.
    gamma: *const f32,
    epsilon: f64,
    rstd: Option<Target<f32>>,
}

// SAFETY: the pointer is to weights that are only read and outlive the work; the rest is Sync.
unsafe impl Sync for HeadNorm {}

/// All rows: heads at positions, in the order of the result.
struct Rotation<S> {
    norm: Option<HeadNorm>,
    x: Source<S>,
    strides: [usize; 3],
    heads: usize,
    length: usize,
    d: usize,
    cos: Source<f32>,
    sin: Source<f32>,
    angle_stride: usize,
    out: Target<S>,
}

/// Rows of one thread.
struct Part<'a, S> {
    rotation: &'a Rotation<S>,
    rows: core::ops::Range<usize>,
}

impl<S: Storage> Kernel for Part<'_, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        match self.rotation.norm {
            Some(norm) => self.run::<I, true>(isa, norm),
            None => self.run::<I, false>(isa, HeadNorm { gamma: core::ptr::null(), epsilon: 0.0, rstd: None }),
        }
    }
}

impl<S: Storage> Part<'_, S> {
    #[inline(always)]
    fn run<I: Isa, const NORM: bool>(self, isa: I, norm: HeadNorm) {
        let all = self.rotation;
        let (d, half) = (all.d, all.d / 2);
        let mut position = self.rows.start % all.length;
        let mut head = self.rows.start / all.length % all.heads;
        let mut batch = self.rows.start / all.length / all.heads;
        for row in self.rows {
            let at = batch * all.strides[0] + head * all.strides[1] + position * all.strides[2];
            let angle = batch * all.angle_stride + position * half;
            let x = all.x.part(&(at..at + d));
            let out = all.out.part(&(row * d..(row + 1) * d));
            let (cos, sin) = (all.cos.part(&(angle..angle + half)), all.sin.part(&(angle..angle + half)));
            let mut rstd = 1.0;
            if NORM {
                // SAFETY: the part was checked to hold d elements.
                rstd = reciprocal_root(unsafe { sum_squares(isa, x, d) }, d, norm.epsilon);
                if let Some(to) = norm.rstd {
                    // SAFETY: the part was checked to hold the element, and no other thread has this row.
                    unsafe { to.part(&(row..row + 1)).write(rstd) };
                }
            }
            let rstd = isa.splat(rstd);
            let zero = isa.splat(0.0);
            for i in (0..half).step_by(I::LANES) {
                let n = I::LANES.min(half - i);
                // SAFETY: i + n ≤ half, and the parts were checked to hold d and half elements; gamma holds d for NORM.
                unsafe {
                    let (mut first, mut second) = (load(isa, x.add(i), n), load(isa, x.add(half + i), n));
                    if NORM {
                        first = isa.mul(isa.mul(first, rstd), load(isa, norm.gamma.add(i), n));
                        second = isa.mul(isa.mul(second, rstd), load(isa, norm.gamma.add(half + i), n));
                    }
                    let (cos, sin) = (load(isa, cos.add(i), n), load(isa, sin.add(i), n));
                    let minus = isa.sub(zero, isa.mul(second, sin));
                    store(isa, out.add(i), isa.mul_add(first, cos, minus), n);
                    store(isa, out.add(half + i), isa.mul_add(second, cos, isa.mul(first, sin)), n);
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
