//! What the product is specialised on.

use crate::cube::rows;
use core::fmt;

/// All that the product is specialised on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blueprint {
    /// Rows of `x` for which a word of the weight is loaded once.
    pub rows: usize,
    /// Units of an output, and how they add up; vectors are of words.
    pub sum: rows::Blueprint,
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "int8 product of {} rows, for an output {}", self.rows, self.sum)
    }
}
