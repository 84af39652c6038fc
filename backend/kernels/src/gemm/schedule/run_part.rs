//! The algorithm of a part.
//!
//! Each algorithm enters the instruction set by itself: one function with all of them inlined takes the compiler
//! minutes, as some of its passes take time that grows with the square of a function.

use crate::gemm::gemv::{axpy, dots, packed_gemv};
use crate::gemm::macro_kernel::blocked::multiply_blocked;
use crate::gemm::macro_kernel::floats::FloatBlocks;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::unpacked::multiply_unpacked;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::right::RightOperand;
use crate::gemm::variant::Variant;
use crate::simd::{Isa, Kernel, Tier};

/// Runs `part`, a part of a product in f32 arithmetic, by the algorithm `variant` on `tier`.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`] for `variant`.
pub(in crate::gemm) unsafe fn run_part(tier: Tier, part: ProductPart, variant: Variant) {
    match (variant, part.b) {
        (Variant::Dot, RightOperand::View(b)) => tier.run(Dots { part, b }),
        (Variant::Axpy, RightOperand::View(b)) => tier.run(Axpys { part, b }),
        (Variant::Unpacked, RightOperand::View(b)) => tier.run(Unpacked { part, b }),
        (Variant::Dot | Variant::Axpy, RightOperand::Panels(b)) => tier.run(Panels { part, panels: [b; 2] }),
        (Variant::Dot | Variant::Axpy, RightOperand::Gated(panels)) => tier.run(Panels { part, panels }),
        (Variant::Blocked | Variant::Unpacked, _) => tier.run(Blocked { part }),
    }
}

/// Dot products of few rows.
struct Dots {
    part: ProductPart,
    b: RawMatrix,
}

/// Few rows against the rows of B.
struct Axpys {
    part: ProductPart,
    b: RawMatrix,
}

/// Register tiles of strided operands.
struct Unpacked {
    part: ProductPart,
    b: RawMatrix,
}

/// Few rows against packed panels.
struct Panels {
    part: ProductPart,
    panels: [RawFloats; 2],
}

/// Packed blocks.
struct Blocked {
    part: ProductPart,
}

impl Kernel for Dots {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        // SAFETY: `part` is as `ProductPart` says for `variant` (`# Safety` of `run_part`, which made this).
        unsafe { dots::multiply_dots(isa, &self.part, self.b) }
    }
}

impl Kernel for Axpys {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        // SAFETY: `part` is as `ProductPart` says for `variant` (`# Safety` of `run_part`, which made this).
        unsafe { axpy::multiply_axpys(isa, &self.part, self.b) }
    }
}

impl Kernel for Unpacked {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        // SAFETY: `part` is as `ProductPart` says for `variant` (`# Safety` of `run_part`, which made this).
        unsafe { multiply_unpacked(isa, &self.part, self.b) }
    }
}

impl Kernel for Panels {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        // SAFETY: `part` is as `ProductPart` says for `variant` (`# Safety` of `run_part`, which made this).
        unsafe { packed_gemv::multiply_panels(isa, &self.part, self.panels) }
    }
}

impl Kernel for Blocked {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        // SAFETY: `part` is as `ProductPart` says for `variant` (`# Safety` of `run_part`, which made this).
        unsafe { multiply_blocked(FloatBlocks(isa), &self.part) }
    }
}
