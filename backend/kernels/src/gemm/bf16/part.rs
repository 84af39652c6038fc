//! The algorithms of a part of a bf16 product.

use super::blocks::Bf16Blocks;
use super::pack::Bf16Source;
use super::{gemv_broadcast, gemv_dots, packed_gemv};
use crate::gemm::bf16::isa::Bf16Isa;
use crate::gemm::bf16::matrix::Bf16Matrix;
use crate::gemm::gemv::dots::BROADCAST_FROM;
use crate::gemm::macro_kernel::blocked::multiply_blocked;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::raw::RawFloats;
use crate::gemm::right::RightOperand;
use crate::gemm::variant::Variant;
use crate::gemm::vnni_panels::VnniPanels;
use crate::impossible::impossible;

/// From this many rows on, tiles multiply panels; up to there `vdpbf16ps` keeps pace with memory: a line of B takes a
/// cycle a row, and the memory of the CPUs that have tiles gives a core a line in 5 to 10 cycles.
const TILES_FROM: usize = 5;

impl Bf16Isa {
    /// Does the work of a part.
    ///
    /// # Safety
    /// `part` keeps the promise of a [`ProductPart`]; the operands are those that [`Bf16Isa::choose`] looked at.
    pub(in crate::gemm) unsafe fn multiply_part(self, part: &ProductPart, variant: Variant) {
        let Some(a) = Bf16Source::of(part.a.from(part.region.row, 0)) else {
            impossible("a left operand that is no bf16 and not rounded")
        };
        let streams = part.region.rows < TILES_FROM || matches!(self, Self::Dots(_));
        let panels = |data| VnniPanels::new(data, part.depth);
        // SAFETY: `part` is as `ProductPart` says; the operands are those that `Bf16Isa::choose` looked at (`# Safety`
        // of `Bf16Isa::multiply_part`).
        unsafe {
            match (variant, part.b) {
                (Variant::Dot | Variant::Axpy, RightOperand::Panels(RawFloats::Bf16(b))) if streams => {
                    packed_gemv::multiply(self.dots(), part, a, [panels(b); 2]);
                }
                (Variant::Dot | Variant::Axpy, RightOperand::Gated([RawFloats::Bf16(gate), RawFloats::Bf16(up)]))
                    if streams =>
                {
                    packed_gemv::multiply(self.dots(), part, a, [panels(gate), panels(up)]);
                }
                (Variant::Dot, RightOperand::View(b)) => match Bf16Matrix::of(b) {
                    Some(b) if part.region.rows < BROADCAST_FROM => gemv_dots::multiply(self.dots(), part, a, b),
                    Some(b) => gemv_broadcast::multiply(self.dots(), part, a, b),
                    None => impossible("a right operand that is no bf16 reached a bf16 product"),
                },
                _ => multiply_blocked(Bf16Blocks(self), part),
            }
        }
    }
}
