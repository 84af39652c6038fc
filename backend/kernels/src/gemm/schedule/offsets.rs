//! Where the products of a batch begin.

/// Where one product of a batch begins, elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offsets {
    /// First element of A. The same one repeated broadcasts.
    pub a: usize,
    /// First element of B. The same one repeated broadcasts.
    pub b: usize,
    /// First element of C.
    pub out: usize,
}
