//! Heads of a projection, each written once to where attention reads it: rotated queries into scratch memory, rotated
//! keys and values behind the positions of a cache.

use super::rotation::{Destination, HeadAngles, HeadNorm, HeadRows, Rotation, TypedHeads};
use super::{Angles, Heads};
use crate::norm::RmsNorm;
use crate::rows::{GRAIN, Source, Target, Widened, share};
use crate::{ElementType, Floats, FloatsMut, Launch, Storage};
use core::ops::Range;
use half::{bf16, f16};

/// Where heads go: positions `start ..` of a contiguous `[batch, heads, capacity, head_dim]`.
#[derive(Debug)]
pub struct Place<'a> {
    /// All positions.
    pub data: FloatsMut<'a>,
    /// Their number.
    pub capacity: usize,
    /// The first that is written.
    pub start: usize,
}

/// Heads, what is done to them, and where they go.
#[derive(Debug)]
pub struct Placement<'a> {
    /// What is read.
    pub x: Heads<'a>,
    /// Of each head at each position, before the rotation.
    pub norm: Option<RmsNorm<'a>>,
    /// Of the rotation; none stores the heads as they are, rounded where the place is of another type.
    pub angles: Option<Angles<'a>>,
    /// What is written.
    pub to: Place<'a>,
}

impl Placement<'_> {
    /// Whether [`place_heads`] takes these element types: heads of f32 go anywhere, others to their own type.
    pub fn takes(x: ElementType, to: ElementType) -> bool {
        x == to || x == ElementType::F32
    }
}

/// Does all of `placements`, rows shared out to threads.
///
/// # Panics
/// If lengths do not fit, a norm has no rotation, `head_dim` of a rotation is odd, or not [`Placement::takes`].
pub fn place_heads<const N: usize>(launch: Launch, placements: [Placement<'_>; N]) {
    let norms = placements.each_ref().map(|placement| {
        placement.norm.map(|RmsNorm { gamma, epsilon }| (Widened::new::<f32>(launch, gamma), epsilon))
    });
    let mut norms = norms.iter();
    let jobs = placements.map(|Placement { x, angles, to, .. }| {
        let norm = norms.next().and_then(|norm| norm.as_ref());
        let norm = norm.map(|(gamma, epsilon)| HeadNorm::new(Source::new(gamma.get()), *epsilon, None, &x));
        PlacementJob::new(norm, x, angles.map(|angles| HeadAngles::new(angles, &x)), to)
    });
    let rows: usize = jobs.iter().map(PlacementJob::rows).sum();
    if rows == 0 {
        return;
    }
    let width = jobs.iter().map(|job| job.width).max().unwrap_or(1);
    share(launch, jobs.iter().map(|job| job.bytes).sum()).split(rows, GRAIN.div_ceil(width.max(1)), |part| {
        let mut first = 0;
        for job in &jobs {
            let end = first + job.rows();
            let own = part.start.clamp(first, end) - first..part.end.clamp(first, end) - first;
            if !own.is_empty() {
                job.run(launch, own);
            }
            first = end;
        }
    });
}

/// A placement of checked operands.
struct PlacementJob {
    rotation: AnyRotation,
    /// Elements of a row.
    width: usize,
    /// Read and written.
    bytes: usize,
}

/// A rotation of any types that [`Placement::takes`].
enum AnyRotation {
    F32(Rotation<f32, f32>),
    Bf16(Rotation<bf16, bf16>),
    F16(Rotation<f16, f16>),
    ToBf16(Rotation<f32, bf16>),
    ToF16(Rotation<f32, f16>),
}

/// What a rotation has beside its slices.
struct Factors<'a> {
    norm: Option<HeadNorm>,
    angles: Option<HeadAngles>,
    view: Heads<'a>,
    capacity: usize,
    start: usize,
}

impl Factors<'_> {
    fn rotation<S: Storage, T: Storage>(self, data: &[S], out: &mut [T]) -> Rotation<S, T> {
        let to = Destination { out: Target::new(out), capacity: self.capacity, start: self.start };
        Rotation::new(self.norm, TypedHeads { view: self.view, data: Source::new(data) }, self.angles, to)
    }
}

impl PlacementJob {
    fn new(norm: Option<HeadNorm>, x: Heads<'_>, angles: Option<HeadAngles>, to: Place<'_>) -> Self {
        let Place { data, capacity, start } = to;
        let sizes = x.data.dtype().size() + data.dtype().size();
        let how = Factors { norm, angles, view: x, capacity, start };
        let rotation = match (x.data, data) {
            (Floats::F32(s), FloatsMut::F32(t)) => AnyRotation::F32(how.rotation(s, t)),
            (Floats::Bf16(s), FloatsMut::Bf16(t)) => AnyRotation::Bf16(how.rotation(s, t)),
            (Floats::F16(s), FloatsMut::F16(t)) => AnyRotation::F16(how.rotation(s, t)),
            (Floats::F32(s), FloatsMut::Bf16(t)) => AnyRotation::ToBf16(how.rotation(s, t)),
            (Floats::F32(s), FloatsMut::F16(t)) => AnyRotation::ToF16(how.rotation(s, t)),
            (s, t) => panic!("heads of {:?} have no way into {:?}", s.dtype(), t.dtype()),
        };
        Self { rotation, width: x.head_dim, bytes: sizes * x.count() }
    }

    fn rows(&self) -> usize {
        match &self.rotation {
            AnyRotation::F32(x) => x.rows(),
            AnyRotation::Bf16(x) => x.rows(),
            AnyRotation::F16(x) => x.rows(),
            AnyRotation::ToBf16(x) => x.rows(),
            AnyRotation::ToF16(x) => x.rows(),
        }
    }

    fn run(&self, launch: Launch, rows: Range<usize>) {
        match &self.rotation {
            AnyRotation::F32(rotation) => launch.tier.run(HeadRows { rotation, rows }),
            AnyRotation::Bf16(rotation) => launch.tier.run(HeadRows { rotation, rows }),
            AnyRotation::F16(rotation) => launch.tier.run(HeadRows { rotation, rows }),
            AnyRotation::ToBf16(rotation) => launch.tier.run(HeadRows { rotation, rows }),
            AnyRotation::ToF16(rotation) => launch.tier.run(HeadRows { rotation, rows }),
        }
    }
}
