//! The register tiles of matrix products.

/// The register tile of an instruction set: rows of accumulators, each two registers wide. Accumulators fill the
/// register file less what holds one row of B and a broadcast of A.
///
/// A product has code for each of these and for no other, so an instruction set can name none that it would not fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterTile {
    /// 2 x 2 registers.
    Rows2,
    /// 6 x 2 registers, for 16 of them.
    Rows6,
    /// 14 x 2 registers, for 32 of them.
    Rows14,
}

impl RegisterTile {
    /// Its rows.
    pub const fn rows(self) -> usize {
        match self {
            Self::Rows2 => 2,
            Self::Rows6 => 6,
            Self::Rows14 => 14,
        }
    }
}
