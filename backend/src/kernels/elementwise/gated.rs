//! The product in the middle of a gated MLP (Shazeer 2020, "GLU variants improve transformer").

use crate::kernels::math::silu;
use crate::kernels::rows::{GRAIN, Source, Target, by_dtype, share};
use crate::kernels::{Floats, FloatsMut, Launch, Storage};
use crate::simd::{Isa, Kernel};

/// `out[i] = silu(gate[i]) · up[i]`.
///
/// # Panics
/// If the lengths or the element types differ.
pub fn silu_mul(launch: Launch, gate: Floats<'_>, up: Floats<'_>, out: FloatsMut<'_>) {
    by_dtype!((gate: Floats, up: Floats, out: FloatsMut) => {
        run(launch, Source::new(gate), Source::new(up), Target::new(out));
    });
}

/// `gate[i] = silu(gate[i]) · up[i]`.
///
/// # Panics
/// As [`silu_mul`].
pub fn silu_mul_in_place(launch: Launch, gate: FloatsMut<'_>, up: Floats<'_>) {
    by_dtype!((gate: FloatsMut, up: Floats) => {
        let gate = Target::new(gate);
        run(launch, gate.source(), Source::new(up), gate);
    });
}

/// `out[r, j] = silu(gate_up[r, j]) · gate_up[r, width + j]` for `gate_up` `[rows, 2 · width]` and `out` `[rows, width]`.
///
/// # Panics
/// If the lengths do not fit or the element types differ.
pub fn silu_mul_packed(launch: Launch, gate_up: Floats<'_>, width: usize, out: FloatsMut<'_>) {
    fn rows<S: Storage>(launch: Launch, gate_up: Source<S>, width: usize, out: Target<S>) {
        assert_eq!(gate_up.len(), 2 * out.len(), "elements of gate and up together");
        if out.len() == 0 {
            return;
        }
        assert!(width > 0 && out.len().is_multiple_of(width), "rows of {width} in {} elements", out.len());
        share(launch, 3 * size_of::<S>() * out.len()).split(out.len() / width, GRAIN.div_ceil(width), |part| {
            let gate = gate_up.part(&(2 * part.start * width..2 * part.end * width));
            let out = out.part(&(part.start * width..part.end * width));
            // SAFETY: within the checked part: width ≤ 2 · width elements.
            let up = unsafe { gate.add(width) };
            launch.tier.run(Gated { gate, up, stride: 2 * width, out, width, rows: part.len() });
        });
    }
    by_dtype!((gate_up: Floats, out: FloatsMut) => rows(launch, Source::new(gate_up), width, Target::new(out)));
}

fn run<S: Storage>(launch: Launch, gate: Source<S>, up: Source<S>, out: Target<S>) {
    assert_eq!(gate.len(), out.len(), "elements of the gate and of the result");
    assert_eq!(up.len(), out.len(), "elements of up and of the result");
    share(launch, 3 * size_of::<S>() * out.len()).split(out.len(), GRAIN, |part| {
        let (gate, up, out, width) = (gate.part(&part), up.part(&part), out.part(&part), part.len());
        launch.tier.run(Gated { gate, up, stride: width, out, width, rows: 1 });
    });
}

/// `rows` rows of `width`; those of `gate` and `up` begin every `stride` elements, those of `out` every `width`.
struct Gated<S> {
    gate: *const S,
    up: *const S,
    stride: usize,
    out: *mut S,
    width: usize,
    rows: usize,
}

impl<S: Storage> Kernel for Gated<S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let whole = self.width / I::LANES * I::LANES;
        let left = self.width - whole;
        for row in 0..self.rows {
            // SAFETY: the callers took the pointers from parts checked to hold these rows.
            let (gate, up, out) = unsafe {
                (self.gate.add(row * self.stride), self.up.add(row * self.stride), self.out.add(row * self.width))
            };
            for i in (0..whole).step_by(I::LANES) {
                // SAFETY: i + LANES ≤ width.
                unsafe {
                    let gated = isa.mul(silu(isa, S::load(isa, gate.add(i))), S::load(isa, up.add(i)));
                    S::store(isa, out.add(i), gated);
                }
            }
            if left > 0 {
                // SAFETY: left < LANES elements are left.
                unsafe {
                    let gate = S::load_partial(isa, gate.add(whole), left);
                    let gated = isa.mul(silu(isa, gate), S::load_partial(isa, up.add(whole), left));
                    S::store_partial(isa, out.add(whole), gated, left);
                }
            }
        }
    }
}
