//! What functions need of an instruction set, for one register and for several beside each other.
//!
//! A polynomial is one chain of dependent instructions: with one register at a time, the CPU's schedulers fill with
//! waiting instructions before the arithmetic units do. [`Unrolled`] runs each step on a few registers, interleaved,
//! whose chains do not wait for each other.

use crate::simd::{Isa, Table};

/// Arithmetic on lanes. Every [`Isa`] has it; see there for the meaning of each operation.
#[allow(missing_docs)]
pub trait LaneOps: Copy {
    /// The lanes.
    type V: Copy;
    /// A truth value a lane.
    type M: Copy;
    const LOOKS_UP: bool;
    fn splat(self, x: f32) -> Self::V;
    fn lookup<const BELOW: u32>(self, table: &Table, a: Self::V) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn div_near(self, a: Self::V, b: Self::V) -> Self::V;
    fn div_coarse(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn round(self, a: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    fn copysign(self, magnitude: Self::V, sign: Self::V) -> Self::V;
    fn mul_pow2(self, a: Self::V, n: Self::V) -> Self::V;
    fn mul_pow2_low(self, a: Self::V, n: Self::V) -> Self::V;
    /// Keeps the steps of several chains interleaved.
    fn interleave(self, a: Self::V) -> Self::V;
    fn lt(self, a: Self::V, b: Self::V) -> Self::M;
    fn select(self, mask: Self::M, yes: Self::V, no: Self::V) -> Self::V;
}

/// `U` registers of an instruction set beside each other.
#[derive(Debug, Clone, Copy)]
pub struct Unrolled<I, const U: usize>(pub I);

/// The operations whose operands and result are lanes, on one register and on each of several.
macro_rules! lanewise {
    (one: $($name:ident($($arg:ident),+);)+) => {$(
        #[inline(always)]
        fn $name(self, $($arg: <I as Isa>::V),+) -> <I as Isa>::V { Isa::$name(self, $($arg),+) }
    )+};
    (several: $($name:ident($first:ident $(, $arg:ident)*);)+) => {$(
        #[inline(always)]
        fn $name(self, mut $first: [<I as Isa>::V; U] $(, $arg: [<I as Isa>::V; U])*) -> [<I as Isa>::V; U] {
            for i in 0..U {
                $first[i] = Isa::$name(self.0, $first[i] $(, $arg[i])*);
            }
            $first
        }
    )+};
}

impl<I: Isa> LaneOps for I {
    type V = <I as Isa>::V;
    type M = <I as Isa>::M;
    const LOOKS_UP: bool = I::LOOKS_UP;
    #[inline(always)]
    fn lookup<const BELOW: u32>(self, table: &Table, a: <I as Isa>::V) -> <I as Isa>::V {
        Isa::lookup::<BELOW>(self, table, a)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> <I as Isa>::V {
        Isa::splat(self, x)
    }
    #[inline(always)]
    fn interleave(self, a: <I as Isa>::V) -> <I as Isa>::V {
        a
    }
    #[inline(always)]
    fn lt(self, a: <I as Isa>::V, b: <I as Isa>::V) -> <I as Isa>::M {
        Isa::lt(self, a, b)
    }
    #[inline(always)]
    fn select(self, mask: <I as Isa>::M, yes: <I as Isa>::V, no: <I as Isa>::V) -> <I as Isa>::V {
        Isa::select(self, mask, yes, no)
    }
    lanewise! { one: add(a, b); sub(a, b); mul(a, b); div(a, b); div_near(a, b); div_coarse(a, b); mul_add(a, b, c);
    neg_mul_add(a, b, c); max(a, b); min(a, b); round(a);
    abs(a); copysign(a, b); mul_pow2(a, n); mul_pow2_low(a, n); }
}

impl<I: Isa, const U: usize> LaneOps for Unrolled<I, U> {
    type V = [<I as Isa>::V; U];
    type M = [<I as Isa>::M; U];
    const LOOKS_UP: bool = I::LOOKS_UP;
    #[inline(always)]
    fn lookup<const BELOW: u32>(self, table: &Table, mut a: Self::V) -> Self::V {
        for a in &mut a {
            *a = Isa::lookup::<BELOW>(self.0, table, *a);
        }
        a
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [Isa::splat(self.0, x); U]
    }
    #[inline(always)]
    fn interleave(self, mut a: Self::V) -> Self::V {
        for a in &mut a {
            *a = Isa::hold(self.0, *a);
        }
        a
    }
    #[inline(always)]
    fn lt(self, a: Self::V, b: Self::V) -> Self::M {
        let mut mask = [Isa::lt(self.0, a[0], b[0]); U];
        for i in 1..U {
            mask[i] = Isa::lt(self.0, a[i], b[i]);
        }
        mask
    }
    #[inline(always)]
    fn select(self, mask: Self::M, mut yes: Self::V, no: Self::V) -> Self::V {
        for i in 0..U {
            yes[i] = Isa::select(self.0, mask[i], yes[i], no[i]);
        }
        yes
    }
    lanewise! { several: add(a, b); sub(a, b); mul(a, b); div(a, b); div_near(a, b); div_coarse(a, b); mul_add(a, b, c);
    neg_mul_add(a, b, c); max(a, b); min(a, b); round(a);
    abs(a); copysign(a, b); mul_pow2(a, n); mul_pow2_low(a, n); }
}
