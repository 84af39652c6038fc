//! A checked product.

use crate::gemm::macro_kernel::store::Store;
use crate::gemm::right::RightOperand;
/// A right operand and where its product goes.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct RawProduct {
    pub(in crate::gemm) b: RightOperand,
    pub(in crate::gemm) store: Store,
    /// Columns of the output.
    pub(in crate::gemm) n: usize,
}
