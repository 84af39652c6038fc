//! Rotary position embedding (Su et al. 2021, "RoFormer"), in the form that rotates halves, and with the RMS norm of
//! each head before it (QK-norm) in the same pass.
//!
//! ```text
//! y[i]       = x[i] · cos[i] - x[i + h] · sin[i]
//! y[i + h]   = x[i + h] · cos[i] + x[i] · sin[i]        h = head_dim / 2
//! ```

mod backward;
mod head_walk;
mod place;
mod rotate_back;
mod rotation;

pub use backward::{HeadGrads, norm_rope_backward, rope_backward};
pub use head_walk::HeadOrder;
pub use place::{Place, Placement, place_heads};

use super::norm::{Normed, RmsNorm};
use super::rows::{GRAIN, Source, Target, Widened, by_dtype, share};
use super::{Floats, FloatsMut, Launch, Storage};
use rotation::{Destination, HeadAngles, HeadNorm, HeadRows, Rotation, TypedHeads};

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
    pub(crate) fn count(&self) -> usize {
        self.batch * self.heads * self.length * self.head_dim
    }

    /// Sequences, heads and positions.
    fn shape(&self) -> [usize; 3] {
        [self.batch, self.heads, self.length]
    }

    /// Heads at positions of all sequences.
    fn rows(&self) -> usize {
        self.batch * self.heads * self.length
    }

    /// # Panics
    /// If the view reaches past the slice.
    pub(crate) fn check(&self) {
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
    by_dtype!((data: Floats, out: FloatsMut) => {
        let heads = TypedHeads { view: x, data: Source::new(data) };
        run(launch, None, heads, angles, Target::new(out));
    });
}

/// RMS norm of each head of `x` at each position with `norm`, then [`rope`]: `to` is
/// `[batch, heads, length, head_dim]`, its `rstd` `[batch, heads, length]`.
///
/// # Panics
/// As [`rope`], or if there is not one gamma for each element of a head.
pub fn qk_norm_rope(launch: Launch, norm: RmsNorm<'_>, x: Heads<'_>, angles: Angles<'_>, to: Normed<'_>) {
    let (data, Normed { out, rstd }) = (x.data, to);
    let norm = Some((norm, rstd.map(Target::new)));
    by_dtype!((data: Floats, out: FloatsMut) => {
        let heads = TypedHeads { view: x, data: Source::new(data) };
        run(launch, norm, heads, angles, Target::new(out));
    });
}

fn run<S: Storage>(
    launch: Launch,
    norm: Option<(RmsNorm<'_>, Option<Target<f32>>)>,
    heads: TypedHeads<'_, S>,
    angles: Angles<'_>,
    out: Target<S>,
) {
    let x = heads.view;
    assert_eq!(x.count(), out.len(), "elements of the result");
    let widened = norm.as_ref().map(|(RmsNorm { gamma, .. }, _)| Widened::new::<f32>(launch, *gamma));
    let norm = norm
        .zip(widened.as_ref())
        .map(|((RmsNorm { epsilon, .. }, rstd), gamma)| HeadNorm::new(Source::new(gamma.get()), epsilon, rstd, &x));
    let rotation = Rotation::new(norm, heads, Some(HeadAngles::new(angles, &x)), Destination::whole(out, x.length));
    if out.len() == 0 {
        return;
    }
    share(launch, 2 * size_of::<S>() * out.len()).split(rotation.rows(), GRAIN.div_ceil(x.head_dim), |part| {
        launch.tier.run(HeadRows { rotation: &rotation, rows: part });
    });
}
