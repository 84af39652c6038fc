//! What element-wise kernels use of an instruction set, lane by lane against scalars, on every tier of this machine.

use half::bf16;
use kiln_kernels::simd::{Isa, Kernel, Table, Tier};

/// `call`'s lanes of one register of `x`.
struct Lanes<F> {
    x: [f32; 16],
    of: F,
}

/// What is done to a register, and to a lane.
trait Operation {
    fn register<I: Isa>(&self, isa: I, x: I::V) -> I::V;
    fn holds(&self, x: f32, y: f32) -> bool;
}

impl<F: Operation> Kernel for Lanes<F> {
    type Out = Vec<f32>;

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) -> Vec<f32> {
        let mut y = [0.0; 16];
        // SAFETY: both arrays hold a register of any tier.
        unsafe { isa.store(y.as_mut_ptr(), self.of.register(isa, isa.load(self.x.as_ptr()))) };
        y[..I::LANES].to_vec()
    }
}

fn check<F: Operation + Copy>(of: F, x: [f32; 16]) {
    for tier in Tier::available() {
        for (x, y) in x.into_iter().zip(tier.run(Lanes { x, of })) {
            assert!(of.holds(x, y), "{tier}: {y:e} for {x:e}");
        }
    }
}

/// Every 1009th float and what is special, a register at a time.
fn registers() -> impl Iterator<Item = [f32; 16]> {
    let special = [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-45, -1e-45];
    let mut bits = (0..=u32::MAX).step_by(1009).map(f32::from_bits).chain(special);
    core::iter::from_fn(move || {
        bits.next().map(|first| core::array::from_fn(|i| if i == 0 { first } else { bits.next().unwrap_or(1.0) }))
    })
}

static TABLE: Table = Table([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0]);

#[derive(Clone, Copy)]
struct Lookup<const BELOW: u32>;

impl<const BELOW: u32> Operation for Lookup<BELOW> {
    #[inline(always)]
    fn register<I: Isa>(&self, isa: I, x: I::V) -> I::V {
        isa.lookup::<BELOW>(&TABLE, x)
    }
    fn holds(&self, x: f32, y: f32) -> bool {
        y == (x.to_bits() >> BELOW & 15) as f32
    }
}

#[test]
fn lookups_take_four_bits() {
    for x in registers().step_by(7) {
        check(Lookup::<0>, x);
        check(Lookup::<21>, x);
    }
}

#[derive(Clone, Copy)]
struct Raise;

impl Operation for Raise {
    #[inline(always)]
    fn register<I: Isa>(&self, isa: I, x: I::V) -> I::V {
        isa.odd_bf16(isa.raise_bf16(x))
    }
    fn holds(&self, x: f32, y: f32) -> bool {
        // Halfway between two bf16 only `y` goes away from 0.
        let near = bf16::from_f32(x).to_f32();
        x.is_nan() || y == near || (x.to_bits() & 0xffff == 0x8000 && y.to_bits() == near.to_bits() + 0x1_0000)
    }
}

#[test]
fn raised_numbers_are_rounded_to_bf16() {
    registers().step_by(7).for_each(|x| check(Raise, x));
    let halfway = [0x3f80_8000, 0x3f81_8000, 0xbf80_8000, 0x0000_8000, 0x7f7f_7fff, 0x7f7f_8000];
    check(Raise, core::array::from_fn(|i| f32::from_bits(halfway[i % halfway.len()])));
    // A NaN of a bf16 stays one.
    assert!(Tier::best().run(Lanes { x: [f32::NAN; 16], of: Raise }).into_iter().all(f32::is_nan));
}

#[derive(Clone, Copy)]
struct Quotient;

impl Operation for Quotient {
    #[inline(always)]
    fn register<I: Isa>(&self, isa: I, x: I::V) -> I::V {
        isa.div_coarse(isa.splat(3.0), x)
    }
    fn holds(&self, x: f32, y: f32) -> bool {
        let fits = (1e-30..1e30).contains(&x.abs());
        !fits || (y as f64 * x as f64 / 3.0 - 1.0).abs() < 2f64.powf(-13.9)
    }
}

#[test]
fn coarse_quotients_are_as_exact_as_documented() {
    registers().step_by(7).for_each(|x| check(Quotient, x));
}
