//! The algorithm of a part.

use crate::gemm::gemv::{axpy, dots, packed_gemv};
use crate::gemm::macro_kernel::blocked::multiply_blocked;
use crate::gemm::macro_kernel::floats::FloatBlocks;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::unpacked::multiply_unpacked;
use crate::gemm::plan::Variant;
use crate::gemm::right::RightOperand;
use crate::simd::{Isa, Kernel};

/// A part of a product in f32 arithmetic, and the algorithm that it runs.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct RunPart {
    part: ProductPart,
    variant: Variant,
}

impl RunPart {
    /// # Safety
    /// `part` keeps the promise of a [`ProductPart`] for `variant`.
    pub(in crate::gemm) unsafe fn new(part: ProductPart, variant: Variant) -> Self {
        Self { part, variant }
    }
}

impl Kernel for RunPart {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let part = &self.part;
        // SAFETY: the promise of `RunPart::new`.
        unsafe {
            match (self.variant, part.b) {
                (Variant::Dot, RightOperand::View(b)) => dots::multiply_dots(isa, part, b),
                (Variant::Axpy, RightOperand::View(b)) => axpy::multiply_axpys(isa, part, b),
                (Variant::Unpacked, RightOperand::View(b)) => multiply_unpacked(isa, part, b),
                (Variant::Dot | Variant::Axpy, RightOperand::Panels(b)) => {
                    packed_gemv::multiply_panels(isa, part, [b; 2])
                }
                (Variant::Dot | Variant::Axpy, RightOperand::Gated(b)) => packed_gemv::multiply_panels(isa, part, b),
                (Variant::Blocked | Variant::Unpacked, _) => multiply_blocked(FloatBlocks(isa), part),
            }
        }
    }
}
