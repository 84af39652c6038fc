//! An operand and where its result goes.

use crate::rows::{Source, Target};

/// An operand, and the memory of a result of as many elements.
#[derive(Debug)]
pub enum Buffer<'a> {
    /// The result takes the operand's place.
    InPlace(&'a mut [f32]),
    /// The result has memory of its own.
    New {
        /// The operand.
        from: &'a [f32],
        /// The result.
        to: &'a mut [f32],
    },
}

impl Buffer<'_> {
    /// Both ends, of one length.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(super) fn ends(self) -> (Source<f32>, Target<f32>) {
        match self {
            Self::InPlace(x) => {
                let x = Target::new(x);
                (x.source(), x)
            }
            Self::New { from, to } => {
                assert_eq!(from.len(), to.len(), "elements of the operand and of the result");
                (Source::new(from), Target::new(to))
            }
        }
    }
}
