//! The gradient of an activation's argument.

use super::Buffer;
use super::column_sums::{ROWS_PER_SUM, Sums};
use crate::math::{Activation, LaneOps, Unrolled, slope};
use crate::rows::{GRAIN, Source, Target, UNROLL, load, share, store};
use crate::simd::{Isa, Kernel};
use crate::{Launch, Storage};

/// `grad[i] · activation'(x[i])`.
///
/// # Panics
/// If the lengths differ.
pub fn activation_backward(launch: Launch, activation: Activation, x: &[f32], grad: Buffer<'_>) {
    let (x, (grad, out)) = (Source::new(x), grad.ends());
    assert_eq!(x.len(), out.len(), "elements of the argument and of the gradient");
    share(launch, 3 * size_of::<f32>() * out.len()).split(out.len(), GRAIN, |part| {
        let rows = Rows { x: x.part(&part), grad: grad.part(&part), out: out.part(&part), width: 0, count: 1 };
        launch.tier.run(Differentiate { activation, rows, columns: part.len(), sums: None });
    });
}

/// [`activation_backward`] of rows as long as `sums`, which get the sum of the results over all rows: the gradient of a
/// bias before the activation.
///
/// Sums are added up by blocks of rows, in an order that does not depend on the number of threads.
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
pub fn activation_backward_with_sums(
    launch: Launch,
    activation: Activation,
    x: &[f32],
    grad: Buffer<'_>,
    sums: &mut [f32],
) {
    let (x, (grad, out)) = (Source::new(x), grad.ends());
    let width = sums.len();
    let count = out.len().checked_div(width).unwrap_or(0);
    assert_eq!([x.len(), out.len()], [count * width; 2], "elements of rows of {width}");
    let sums = Target::new(sums);
    share(launch, 3 * size_of::<f32>() * out.len()).split(width, GRAIN, |part| {
        // Rows are checked as a whole: from the first row's columns to the last one's.
        let span = match count {
            0 => part.start..part.start,
            count => part.start..(count - 1) * width + part.end,
        };
        let rows = match count {
            0 => Rows { x: core::ptr::null(), grad: core::ptr::null(), out: core::ptr::null_mut(), width, count },
            _ => Rows { x: x.part(&span), grad: grad.part(&span), out: out.part(&span), width, count },
        };
        let mut sums = Sums::new(sums, part.clone());
        launch.tier.run(Differentiate { activation, rows, columns: part.len(), sums: Some(&mut sums) });
    });
}

/// `count` rows, `width` apart. `grad` and `out` are the same or do not overlap.
#[derive(Clone, Copy)]
struct Rows {
    x: *const f32,
    grad: *const f32,
    out: *mut f32,
    width: usize,
    count: usize,
}

/// The first `columns` of each row.
struct Differentiate<'a> {
    activation: Activation,
    rows: Rows,
    columns: usize,
    sums: Option<&'a mut Sums>,
}

impl Kernel for Differentiate<'_> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        // A constant activation in each loop.
        match self.activation {
            Activation::GeluTanh => self.run(isa, Activation::GeluTanh),
            Activation::GeluErf => self.run(isa, Activation::GeluErf),
            Activation::Silu => self.run(isa, Activation::Silu),
        }
    }
}

#[inline(always)]
fn multiply<I: LaneOps>(isa: I, activation: Activation, x: I::V, grad: I::V) -> I::V {
    isa.mul(grad, slope(isa, activation, x))
}

impl Differentiate<'_> {
    #[inline(always)]
    fn run<I: Isa>(self, isa: I, activation: Activation) {
        let Self { rows: Rows { x, grad, out, width, count }, columns, mut sums, .. } = self;
        let blocks = columns / (UNROLL * I::LANES) * UNROLL * I::LANES;
        for row in 0..count {
            let (x, grad, out) =
                (x.wrapping_add(row * width), grad.wrapping_add(row * width), out.wrapping_add(row * width));
            let block = sums.as_mut().map_or(core::ptr::null_mut(), |sums| sums.block());
            for at in (0..blocks).step_by(UNROLL * I::LANES) {
                // SAFETY: the callers took the pointers from checked parts that hold `columns` elements in each row; a
                // block ends at `columns` or before. The block of sums has as many.
                unsafe {
                    let (x, grad) = (f32::load_block(isa, x.add(at)), f32::load_block(isa, grad.add(at)));
                    let product = multiply(Unrolled::<_, UNROLL>(isa), activation, x, grad);
                    f32::store_block::<I, UNROLL, false>(isa, out.add(at), product);
                    if !block.is_null() {
                        let sum = Unrolled(isa).add(f32::load_block(isa, block.add(at)), product);
                        f32::store_block::<I, UNROLL, false>(isa, block.add(at), sum);
                    }
                }
            }
            for at in (blocks..columns).step_by(I::LANES) {
                let n = I::LANES.min(columns - at);
                // SAFETY: the callers took the pointers from checked parts that hold `columns` elements in each row;
                // at + n ≤ columns. The block of sums has as many.
                unsafe {
                    let product = multiply(isa, activation, load(isa, x.add(at), n), load(isa, grad.add(at), n));
                    store(isa, out.add(at), product, n);
                    if !block.is_null() {
                        store(isa, block.add(at), isa.add(load(isa, block.add(at), n), product), n);
                    }
                }
            }
            if let Some(sums) = &mut sums
                && ((row + 1).is_multiple_of(ROWS_PER_SUM) || row + 1 == count)
            {
                sums.close();
            }
        }
    }
}
