//! What lies between the products: scores to weights, and gradients of weights to gradients of scores.

use super::super::exponent::power_of_two;
use crate::math::tanh;
use crate::simd::{Isa, Kernel};

/// A panel of rows against `keys` keys, `[keys][stride]` of which `width` floats are the panel's.
#[derive(Debug, Clone, Copy)]
pub(super) struct PanelTile {
    pub(super) keys: usize,
    pub(super) stride: usize,
    pub(super) width: usize,
}

/// `p = 2^(score - lse)`, `ds = p · (dp - δ)`, times the slope of the soft cap where there is one.
pub(super) struct Weights {
    tile: PanelTile,
    p: *mut f32,
    ds: *mut f32,
    slopes: Option<*const f32>,
    sums: [*const f32; 2],
}

impl Weights {
    /// Of scores in `p` and gradients of weights in `ds`; `sums` are `[lse, δ]` of the rows.
    ///
    /// # Safety
    /// All are readable, `p` and `ds` writable for the tile, until it has run.
    pub(super) unsafe fn new(
        tile: PanelTile,
        [p, ds]: [*mut f32; 2],
        slopes: Option<*const f32>,
        sums: [*const f32; 2],
    ) -> Self {
        Self { tile, p, ds, slopes, sums }
    }

    /// # Safety
    /// As for [`Weights::new`]; the panel has `REGS` registers.
    #[inline(always)]
    unsafe fn run<I: Isa, const REGS: usize>(self, isa: I) {
        let Self { tile: PanelTile { keys, stride, .. }, p, ds, slopes, sums } = self;
        let (mut lse, mut delta) = ([isa.splat(0.0); REGS], [isa.splat(0.0); REGS]);
        // SAFETY: all are readable, `p` and `ds` writable for the tile (`# Safety` of `Weights::new`).
        unsafe {
            for g in 0..REGS {
                lse[g] = isa.load(sums[0].add(g * I::LANES));
                delta[g] = isa.load(sums[1].add(g * I::LANES));
            }
            for key in 0..keys {
                for g in 0..REGS {
                    let at = key * stride + g * I::LANES;
                    let weight = power_of_two(isa, isa.sub(isa.load(p.add(at)), lse[g]));
                    let mut grad = isa.mul(weight, isa.sub(isa.load(ds.add(at)), delta[g]));
                    if let Some(slopes) = slopes {
                        grad = isa.mul(grad, isa.load(slopes.add(at)));
                    }
                    isa.store(p.add(at), weight);
                    isa.store(ds.add(at), grad);
                }
            }
        }
    }
}

impl Kernel for Weights {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        // SAFETY: promised by whoever made it; panels have up to three registers.
        unsafe {
            match self.tile.width / I::LANES {
                3 => self.run::<I, 3>(isa),
                2 => self.run::<I, 2>(isa),
                _ => self.run::<I, 1>(isa),
            }
        }
    }
}

/// `1 - tanh(x)²`, the slope of the soft cap, of products `x` that are divided by it.
pub(super) struct Slopes {
    tile: PanelTile,
    x: *const f32,
    slopes: *mut f32,
}

impl Slopes {
    /// # Safety
    /// `x` is readable, `slopes` writable for the tile, until it has run.
    pub(super) unsafe fn new(tile: PanelTile, x: *const f32, slopes: *mut f32) -> Self {
        Self { tile, x, slopes }
    }
}

impl Kernel for Slopes {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let PanelTile { keys, stride, width } = self.tile;
        for key in 0..keys {
            for column in (0..width).step_by(I::LANES) {
                let at = key * stride + column;
                // SAFETY: `x` is readable, `slopes` writable for the tile (`# Safety` of `Slopes::new`).
                unsafe {
                    let t = tanh(isa, isa.load(self.x.add(at)));
                    isa.store(self.slopes.add(at), isa.neg_mul_add(t, t, isa.splat(1.0)));
                }
            }
        }
    }
}
