//! Gradients of the rotation of heads, and of the RMS norm before it.
//!
//! With halves `a` and `b` of a head's gradient, the rotation goes back as `(a·cos + b·sin, b·cos - a·sin)`. Behind it
//! the norm of the head, whose input comes from memory once, with its reciprocal deviation computed again:
//! ```text
//! first pass     g = rotated back, into scratch memory;  Σ x²;  Σ g · gamma · x
//! second pass    n = x · rstd;  dx = rstd · (g · gamma - n · mean(g · gamma · n));  dgamma += g · n
//! ```
//! Sums over heads do not depend on the number of threads (rows/column_sums.rs).

use super::head_walk::{HeadOrder, HeadReader, HeadWalk};
use super::rotate_back::{NormRotateBack, RotateBack};
use super::rotation::HeadAngles;
use super::{Angles, Heads};
use crate::Launch;
use crate::memory::PooledBytes;
use crate::norm::RmsNorm;
use crate::rows::{AnySource, ColumnSums, GRAIN, RowReader, Source, Target, Widened, share};

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

/// Gradients of [`super::qk_norm_rope`] of one operand: of `x` from `grad`, that of the result, and of the norm's
/// gamma.
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
