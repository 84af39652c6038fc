//! The loop over elements of an AdamW step.

use super::options::AdamW;
use crate::Storage;
use crate::rows::{load, store};
use crate::simd::{Isa, Kernel};

/// What every element is multiplied by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors {
    grad_scale: f32,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    rest_2: f32,
    /// `1 - lr·decay`.
    keep: f32,
    /// `lr/(1 - β₁ᵗ)`.
    step: f32,
    /// `1/√(1 - β₂ᵗ)`.
    correction: f32,
    epsilon: f32,
}

impl Factors {
    /// In f64, each rounded once.
    pub(super) fn new(options: AdamW) -> Self {
        let AdamW { learning_rate, beta_1, beta_2, epsilon, weight_decay, step, grad_scale } = options;
        // An i32 is enough for 2³¹ steps, and past them the corrections are 1 anyway.
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        Self {
            grad_scale: grad_scale as f32,
            beta_1: beta_1 as f32,
            rest_1: (1.0 - beta_1) as f32,
            beta_2: beta_2 as f32,
            rest_2: (1.0 - beta_2) as f32,
            keep: (1.0 - learning_rate * weight_decay) as f32,
            step: (learning_rate / (1.0 - beta_1.powi(exponent))) as f32,
            correction: (1.0 / (1.0 - beta_2.powi(exponent)).sqrt()) as f32,
            epsilon: epsilon as f32,
        }
    }
}

/// Both moments of the elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    pub(super) first: *mut f32,
    pub(super) second: *mut f32,
}

/// Elements of one thread.
pub(super) struct StepElements<P, G> {
    pub(super) factors: Factors,
    pub(super) parameter: *mut P,
    pub(super) master: Option<*mut f32>,
    pub(super) moments: Moments,
    /// None is 0 for each.
    pub(super) grad: Option<*const G>,
    pub(super) len: usize,
}

impl<P, G> StepElements<P, G> {
    /// The kernel.
    ///
    /// # Safety
    /// All that there is holds `len` elements, which nobody else reads or writes.
    pub(super) unsafe fn checked(self) -> Checked<P, G> {
        Checked(self)
    }
}

/// [`StepElements`] whose promise was given.
pub(super) struct Checked<P, G>(StepElements<P, G>);

impl<P: Storage, G: Storage> Kernel for Checked<P, G> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        match (self.0.grad, self.0.master) {
            (Some(grad), Some(master)) => self.0.run::<I, true, true>(isa, grad, master),
            (Some(grad), None) => self.0.run::<I, true, false>(isa, grad, core::ptr::null_mut()),
            (None, Some(master)) => self.0.run::<I, false, true>(isa, core::ptr::null(), master),
            (None, None) => self.0.run::<I, false, false>(isa, core::ptr::null(), core::ptr::null_mut()),
        }
    }
}

/// [`Factors`] in registers.
struct Registers<V> {
    grad_scale: V,
    beta_1: V,
    rest_1: V,
    beta_2: V,
    rest_2: V,
    keep: V,
    step: V,
    correction: V,
    epsilon: V,
}

impl<P: Storage, G: Storage> StepElements<P, G> {
    #[inline(always)]
    fn run<I: Isa, const GRAD: bool, const MASTER: bool>(&self, isa: I, grad: *const G, master: *mut f32) {
        let of = self.factors;
        let registers = Registers {
            grad_scale: isa.splat(of.grad_scale),
            beta_1: isa.splat(of.beta_1),
            rest_1: isa.splat(of.rest_1),
            beta_2: isa.splat(of.beta_2),
            rest_2: isa.splat(of.rest_2),
            keep: isa.splat(of.keep),
            step: isa.splat(of.step),
            correction: isa.splat(of.correction),
            epsilon: isa.splat(of.epsilon),
        };
        for at in (0..self.len).step_by(I::LANES) {
            let n = I::LANES.min(self.len - at);
            // SAFETY: all that there is holds `len` elements (`# Safety` of `StepElements::checked`); at + n ≤ len.
            unsafe {
                let (parameter, first, second) =
                    (self.parameter.add(at), self.moments.first.add(at), self.moments.second.add(at));
                let p = if MASTER { load(isa, master.add(at), n) } else { load(isa, parameter, n) };
                let g = if GRAD { load(isa, grad.add(at), n) } else { isa.splat(0.0) };
                let [p, m, v] = step::<I, GRAD>(isa, &registers, [p, load(isa, first, n), load(isa, second, n), g]);
                store(isa, first, m, n);
                store(isa, second, v, n);
                if MASTER {
                    store(isa, master.add(at), p, n);
                }
                store(isa, parameter, p, n);
            }
        }
    }
}

/// Parameter and moments after a step with the gradient `g`, which without `GRAD` is 0.
#[inline(always)]
fn step<I: Isa, const GRAD: bool>(isa: I, by: &Registers<I::V>, [p, m, v, g]: [I::V; 4]) -> [I::V; 3] {
    let (mut m, mut v) = (isa.mul(m, by.beta_1), isa.mul(v, by.beta_2));
    if GRAD {
        let g = isa.mul(g, by.grad_scale);
        m = isa.mul_add(g, by.rest_1, m);
        v = isa.mul_add(isa.mul(g, by.rest_2), g, v);
    }
    let deviation = isa.mul_add(isa.sqrt(v), by.correction, by.epsilon);
    let update = isa.div(isa.mul(m, by.step), deviation);
    [isa.sub(isa.mul(p, by.keep), update), m, v]
}
