//! Gradients of the rotation of heads, and of the RMS norm before it.
//!
//! With halves `a` and `b` of a head's gradient, the rotation goes back as `(a·cos + b·sin, b·cos - a·sin)`. Behind it
//! the norm of the head, whose input comes from memory once, with its reciprocal deviation computed again:
//! ```text
//! first pass     g = rotated back, into scratch memory;  Σ x²;  Σ g · gamma · x
//! second pass    n = x · rstd;  dx = rstd · (g · gamma - n · mean(g · gamma · n));  dgamma += g · n
//! ```
//! Sums over heads do not depend on the number of threads (rows/column_sums.rs).

use super::rotation::HeadAngles;
use super::{Angles, Heads};
use crate::Launch;
use crate::memory::PooledBytes;
use crate::norm::{RmsNorm, reciprocal_root};
use crate::rows::{AnySource, ColumnSums, GRAIN, RowReader, Source, Target, Widened, load, prefetch_elements, share, store};
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// f32 of a cache line.
const LINE: usize = 16;

/// In which order a result `[batch, heads, length, head_dim]` lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadOrder {
    /// As its shape says.
    HeadsFirst,
    /// `[batch, length, heads, head_dim]`, as a projection gives its heads.
    PositionsFirst,
}

impl HeadOrder {
    /// The order of a view.
    pub fn of(x: &Heads<'_>) -> Self {
        let [_, head, position] = x.strides;
        if x.heads > 1 && x.length > 1 && position > head { Self::PositionsFirst } else { Self::HeadsFirst }
    }

    /// From one sequence, head and position to the next, for heads like those of `x`.
    fn strides(self, x: &Heads<'_>) -> [usize; 3] {
        let Heads { heads, length, head_dim, .. } = *x;
        match self {
            Self::HeadsFirst => [heads * length * head_dim, length * head_dim, head_dim],
            Self::PositionsFirst => [heads * length * head_dim, head_dim, heads * head_dim],
        }
    }
}

/// Where the gradient of heads goes.
#[derive(Debug)]
pub struct HeadGrads<'a> {
    /// `[batch, heads, length, head_dim]` in `order`.
    pub x: &'a mut [f32],
    /// Of `x` in memory.
    pub order: HeadOrder,
}

/// Rotates the gradient `grad` back.
///
/// # Panics
/// If `head_dim` is odd or the lengths do not fit.
pub fn rope_backward(launch: Launch, grad: Heads<'_>, angles: Angles<'_>, to: HeadGrads<'_>) {
    grad.check();
    assert_eq!(grad.count(), to.x.len(), "elements of the gradient");
    let (angles, out, strides) = (HeadAngles::new(angles, &grad), Target::new(to.x), to.order.strides(&grad));
    let d = grad.head_dim;
    if out.len() == 0 {
        return;
    }
    let data = AnySource::new(grad.data);
    share(launch, 2 * size_of::<f32>() * out.len()).split(grad.rows(), GRAIN.div_ceil(d), |rows| {
        let mut scratch = Scratch::new([data, data], d);
        let ([reader, _], _) = scratch.readers();
        let walk = HeadWalk::new(launch, &grad, to.order, rows);
        let grad = HeadReader { reader, strides: grad.strides, d };
        launch.tier.run(RotateBack { walk, grad, angles, out, strides, d });
    });
}

/// Gradients of [`super::qk_norm_rope`] of one operand: of `x` from `grad`, that of the result, and of the norm's gamma.
///
/// # Panics
/// As [`rope_backward`], or if there is not one gamma for each element of a head.
pub fn norm_rope_backward(
    launch: Launch,
    norm: RmsNorm<'_>,
    [x, grad]: [Heads<'_>; 2],
    angles: Angles<'_>,
    to: HeadGrads<'_>,
    gamma: &mut [f32],
) {
    x.check();
    grad.check();
    let d = x.head_dim;
    assert_eq!(x.shape(), grad.shape(), "heads, positions and elements of x and of the gradient");
    assert_eq!(x.head_dim, grad.head_dim, "elements of a head of x and of the gradient");
    assert_eq!(x.count(), to.x.len(), "elements of the gradient");
    assert_eq!([d; 2], [norm.gamma.len(), gamma.len()], "elements of gamma and of its gradient");
    let (angles, out, strides) = (HeadAngles::new(angles, &x), Target::new(to.x), to.order.strides(&x));
    let widened = Widened::new::<f32>(launch, norm.gamma);
    let weights = Source::new(widened.get());
    let data = [AnySource::new(x.data), AnySource::new(grad.data)];
    let launch = share(launch, 3 * size_of::<f32>() * out.len());
    let mut sums = ColumnSums::new(if d == 0 { 0 } else { x.rows() }, d);
    sums.add_groups(launch, |rows, sums| {
        let mut scratch = Scratch::new(data, d);
        if rows.is_empty() {
            return;
        }
        let ([x_reader, grad_reader], rotated) = scratch.readers();
        launch.tier.run(NormRotateBack {
            walk: HeadWalk::new(launch, &x, to.order, rows),
            x: HeadReader { reader: x_reader, strides: x.strides, d },
            grad: HeadReader { reader: grad_reader, strides: grad.strides, d },
            angles,
            gamma: weights.part(&(0..d)),
            epsilon: norm.epsilon,
            rotated,
            out,
            strides,
            sums: sums.as_mut_ptr(),
            d,
        });
    });
    gamma.copy_from_slice(&bytemuck::cast_slice::<u8, f32>(sums.finish(launch).as_slice())[..d]);
}

/// Scratch memory of one thread: a row of each operand that is not f32, and a rotated row.
struct Scratch {
    memory: PooledBytes,
    operands: [AnySource; 2],
    d: usize,
}

impl Scratch {
    fn new(operands: [AnySource; 2], d: usize) -> Self {
        Self { memory: PooledBytes::take(3 * d * size_of::<f32>()), operands, d }
    }

    /// Readers of both operands, and the rotated row.
    fn readers(&mut self) -> ([RowReader; 2], *mut f32) {
        let (start, d) = (self.memory.as_mut_slice().as_mut_ptr().cast::<f32>(), self.d);
        let [a, b] = self.operands;
        // SAFETY: the memory holds three rows, of which each reader has its own.
        let readers = unsafe { [RowReader::new(a, start, d), RowReader::new(b, start.wrapping_add(d), d)] };
        (readers, start.wrapping_add(2 * d))
    }
}

/// Heads at positions, some of all, in the order in which their gradients lie in memory.
struct HeadWalk {
    order: HeadOrder,
    /// Sequences, heads, positions.
    shape: [usize; 3],
    rows: Range<usize>,
    /// Positions ahead of which operands are prefetched: their rows are too short for the hardware to see the next one
    /// coming. 0 for none.
    ahead: usize,
}

impl HeadWalk {
    fn new(launch: Launch, x: &Heads<'_>, order: HeadOrder, rows: Range<usize>) -> Self {
        // Four rows, or where all heads of a position lie before the next position, one position.
        let each = size_of::<f32>() * x.head_dim.max(1);
        let (own, each) = match order {
            HeadOrder::HeadsFirst => (4 * each, each),
            HeadOrder::PositionsFirst => (x.heads * each, x.heads * each),
        };
        let ahead = prefetch_elements::<u8>(launch, own).div_ceil(each);
        Self { order, shape: x.shape(), rows, ahead }
    }

    /// Sequence, head and position of the first row.
    fn first(&self) -> [usize; 3] {
        let ([_, heads, length], row) = (self.shape, self.rows.start);
        match self.order {
            HeadOrder::HeadsFirst => [row / length / heads, row / length % heads, row % length],
            HeadOrder::PositionsFirst => [row / heads / length, row % heads, row / heads % length],
        }
    }

    /// Those of the next row.
    #[inline(always)]
    fn next(&self, [mut batch, mut head, mut position]: [usize; 3]) -> [usize; 3] {
        let [_, heads, length] = self.shape;
        match self.order {
            HeadOrder::HeadsFirst => {
                position += 1;
                if position == length {
                    (position, head) = (0, head + 1);
                    if head == heads {
                        (head, batch) = (0, batch + 1);
                    }
                }
            }
            HeadOrder::PositionsFirst => {
                head += 1;
                if head == heads {
                    (head, position) = (0, position + 1);
                    if position == length {
                        (position, batch) = (0, batch + 1);
                    }
                }
            }
        }
        [batch, head, position]
    }
}

/// Rows of heads.
#[derive(Clone, Copy)]
struct HeadReader {
    reader: RowReader,
    strides: [usize; 3],
    d: usize,
}

impl HeadReader {
    /// A row, and a prefetch of that `ahead` positions further.
    #[inline(always)]
    fn read<I: Isa>(&self, isa: I, place: [usize; 3], ahead: usize) -> *const f32 {
        let row = self.reader.read(isa, offset(place, self.strides));
        if ahead > 0 {
            // Of rows of 16 bits too much by half, of what is not there anything.
            let next = row.wrapping_add(ahead * self.strides[2]);
            for at in (0..self.d).step_by(LINE) {
                isa.prefetch(next.wrapping_add(at).cast());
            }
        }
        row
    }
}

#[inline(always)]
fn offset([batch, head, position]: [usize; 3], strides: [usize; 3]) -> usize {
    batch * strides[0] + head * strides[1] + position * strides[2]
}

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
struct RotateBack {
    walk: HeadWalk,
    grad: HeadReader,
    angles: HeadAngles,
    out: Target<f32>,
    strides: [usize; 3],
    d: usize,
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
struct NormRotateBack {
    walk: HeadWalk,
    x: HeadReader,
    grad: HeadReader,
    angles: HeadAngles,
    /// d elements, as `rotated` and `sums`.
    gamma: *const f32,
    epsilon: f64,
    rotated: *mut f32,
    out: Target<f32>,
    strides: [usize; 3],
    sums: *mut f32,
    d: usize,
}

impl Kernel for NormRotateBack {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { gamma, rotated, sums, d, .. } = self;
        let half = d / 2;
        let mut place = self.walk.first();
        for _ in self.walk.rows.clone() {
            let x = self.x.read(isa, place, self.walk.ahead);
            let grad = self.grad.read(isa, place, self.walk.ahead);
            let angles = self.angles.of(place[0], place[2], half);
            let to = offset(place, self.strides);
            let out = self.out.part(&(to..to + d));
            let (mut squares, mut along) = ([isa.splat(0.0); 2], [isa.splat(0.0); 2]);
            for at in (0..half).step_by(I::LANES) {
                let n = I::LANES.min(half - at);
                // SAFETY: `read` and `of` checked that they hold d and half elements, gamma and `rotated` hold d;
                // at + n ≤ half.
                unsafe {
                    let both = rotate_back(isa, grad, angles, half, at, n);
                    for (i, g) in both.into_iter().enumerate() {
                        let at = i * half + at;
                        store(isa, rotated.add(at), g, n);
                        let x = load(isa, x.add(at), n);
                        squares[i] = isa.mul_add(x, x, squares[i]);
                        along[i] = isa.mul_add(isa.mul(g, load(isa, gamma.add(at), n)), x, along[i]);
                    }
                }
            }
            let rstd = reciprocal_root(isa.reduce_add(isa.add(squares[0], squares[1])), d, self.epsilon);
            let along = isa.reduce_add(isa.add(along[0], along[1])) * rstd / d as f32;
            let (rstd, along) = (isa.splat(rstd), isa.splat(along));
            for at in (0..d).step_by(I::LANES) {
                let n = I::LANES.min(d - at);
                // SAFETY: as above, and `part` checked the result; at + n ≤ d.
                unsafe {
                    let (g, gamma) = (load(isa, rotated.add(at), n), load(isa, gamma.add(at), n));
                    let normed = isa.mul(load(isa, x.add(at), n), rstd);
                    let across = isa.neg_mul_add(normed, along, isa.mul(g, gamma));
                    store(isa, out.add(at), isa.mul(across, rstd), n);
                    let sum = sums.add(at);
                    store(isa, sum, isa.mul_add(g, normed, load(isa, sum, n)), n);
                }
            }
            place = self.walk.next(place);
        }
    }
}
