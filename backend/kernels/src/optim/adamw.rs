//! AdamW (Loshchilov and Hutter 2019, algorithm 2) as PyTorch computes it, in one pass.
//!
//! ```text
//! g ← g · grad_scale
//! m ← β₁·m + (1 - β₁)·g
//! v ← β₂·v + (1 - β₂)·g²
//! p ← p·(1 - lr·decay) - lr/(1 - β₁ᵗ) · m / (√v/√(1 - β₂ᵗ) + ε)
//! ```
//! An element is four numbers read and three written; elements do not know of each other, so nothing depends on the
//! number of threads.

use super::options::AdamW;
use super::step::{Factors, Moments, StepElements};
use crate::rows::{GRAIN, Source, Target, share};
use crate::{ElementType, Floats, FloatsMut, Launch, Storage};
use core::ops::Range;

/// A parameter, which the step changes. With its moments it is contiguous, in memory of its own.
#[derive(Debug)]
pub struct AdamWSlices<'a> {
    /// The parameter. In 16 bits it is rounded after the step: without a master copy, steps of less than half a unit in
    /// the last place are lost.
    pub parameter: FloatsMut<'a>,
    /// A copy of it in f32: the step changes the copy, and the parameter becomes what that rounds to.
    pub master: Option<&'a mut [f32]>,
    /// First moment.
    pub moment_1: &'a mut [f32],
    /// Second moment.
    pub moment_2: &'a mut [f32],
}

/// A gradient of a parameter.
#[derive(Debug, Clone, Copy)]
pub enum Gradient<'a> {
    /// A number for each element, of a type that [`Gradient::takes`].
    Dense(Floats<'a>),
    /// That of some rows of the parameter: all other elements have 0, which nobody stores.
    Rows {
        /// Numbers of the rows, in rising order.
        ids: &'a [usize],
        /// `[ids, hidden]`.
        data: &'a [f32],
        /// Elements of a row.
        hidden: usize,
    },
}

impl Gradient<'_> {
    /// Whether [`adamw`] takes a gradient of type `grad` for a parameter of type `parameter`.
    pub fn takes(grad: ElementType, parameter: ElementType) -> bool {
        grad == parameter || grad == ElementType::F32
    }
}

/// One step.
///
/// # Panics
/// If lengths do not fit, the gradient's type is not one that [`Gradient::takes`], or rows are not in rising order.
pub fn adamw(launch: Launch, options: AdamW, slices: AdamWSlices<'_>, grad: Gradient<'_>) {
    let AdamWSlices { parameter, master, moment_1, moment_2 } = slices;
    let len = parameter.len();
    assert_eq!([len; 2], [moment_1.len(), moment_2.len()], "elements of the moments");
    assert!(master.as_ref().is_none_or(|master| master.len() == len), "elements of the master copy");
    let how = Step {
        launch: share(launch, 7 * size_of::<f32>() * len),
        factors: Factors::new(options),
        master: master.map(Target::new),
        moments: [Target::new(moment_1), Target::new(moment_2)],
    };
    match (parameter, grad) {
        (FloatsMut::F32(p), Gradient::Dense(Floats::F32(g))) => how.dense(Target::new(p), g),
        (FloatsMut::Bf16(p), Gradient::Dense(Floats::F32(g))) => how.dense(Target::new(p), g),
        (FloatsMut::Bf16(p), Gradient::Dense(Floats::Bf16(g))) => how.dense(Target::new(p), g),
        (FloatsMut::F16(p), Gradient::Dense(Floats::F32(g))) => how.dense(Target::new(p), g),
        (FloatsMut::F16(p), Gradient::Dense(Floats::F16(g))) => how.dense(Target::new(p), g),
        (p, Gradient::Dense(g)) => panic!("a gradient of {:?} for a parameter of {:?}", g.dtype(), p.dtype()),
        (FloatsMut::F32(p), Gradient::Rows { ids, data, hidden }) => how.rows(Target::new(p), ids, data, hidden),
        (FloatsMut::Bf16(p), Gradient::Rows { ids, data, hidden }) => how.rows(Target::new(p), ids, data, hidden),
        (FloatsMut::F16(p), Gradient::Rows { ids, data, hidden }) => how.rows(Target::new(p), ids, data, hidden),
    }
}

/// A step of some parameter.
struct Step {
    launch: Launch,
    factors: Factors,
    master: Option<Target<f32>>,
    moments: [Target<f32>; 2],
}

impl Step {
    fn dense<P: Storage, G: Storage>(&self, parameter: Target<P>, grad: &[G]) {
        assert_eq!(parameter.len(), grad.len(), "elements of the gradient");
        let grad = Source::new(grad);
        self.launch.split(parameter.len(), GRAIN, |part| self.run(parameter, &part, Some(grad.part(&part))));
    }

    fn rows<P: Storage>(&self, parameter: Target<P>, ids: &[usize], data: &[f32], hidden: usize) {
        let rows = parameter.len().checked_div(hidden).unwrap_or(0);
        assert_eq!(rows * hidden, parameter.len(), "whole rows of {hidden}");
        assert_eq!(ids.len() * hidden, data.len(), "elements of {} rows of {hidden}", ids.len());
        assert!(ids.is_sorted_by(|a, b| a < b) && ids.last().is_none_or(|&id| id < rows), "rising rows of {rows}");
        let data = Source::new(data);
        self.launch.split(rows, GRAIN.div_ceil(hidden.max(1)), |part| {
            let mut next = part.start;
            let named = ids.partition_point(|&id| id < part.start)..ids.partition_point(|&id| id < part.end);
            for i in named {
                let id = ids[i];
                self.run::<P, f32>(parameter, &(next * hidden..id * hidden), None);
                let grad = data.part(&(i * hidden..(i + 1) * hidden));
                self.run(parameter, &(id * hidden..(id + 1) * hidden), Some(grad));
                next = id + 1;
            }
            self.run::<P, f32>(parameter, &(next * hidden..part.end * hidden), None);
        });
    }

    /// Elements `part`, whose gradients are at `grad`, or 0.
    fn run<P: Storage, G: Storage>(&self, parameter: Target<P>, part: &Range<usize>, grad: Option<*const G>) {
        let moments = Moments { first: self.moments[0].part(part), second: self.moments[1].part(part) };
        let step = StepElements {
            factors: self.factors,
            parameter: parameter.part(part),
            master: self.master.map(|master| master.part(part)),
            moments,
            grad,
            len: part.len(),
        };
        // SAFETY: `part` checked that the buffers hold these elements, which are this thread's alone; so do gradients,
        // by the checks of `dense` and `rows`.
        self.launch.tier.run(unsafe { step.checked() });
    }
}
