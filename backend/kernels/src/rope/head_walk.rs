//! How gradients of heads are walked and read.

use super::Heads;
use crate::Launch;
use crate::rows::{RowReader, prefetch_elements};
use crate::simd::Isa;
use core::ops::Range;

/// f32 of a cache line.
const LINE: usize = 16;

/// In which order a result `[batch, heads, length, head_dim]` lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadOrder {
    /// As its shape says.
    HeadsFirst,
    /// `[batch, length, heads, head_dim]`, as a projection gives its heads.
    PositionsFirst,
}

impl HeadOrder {
    /// The order of a view.
    pub fn of(x: &Heads<'_>) -> Self {
        let [_, head, position] = x.strides;
        if x.heads > 1 && x.length > 1 && position > head { Self::PositionsFirst } else { Self::HeadsFirst }
    }

    /// From one sequence, head and position to the next, for heads like those of `x`.
    pub(super) fn strides(self, x: &Heads<'_>) -> [usize; 3] {
        let Heads { heads, length, head_dim, .. } = *x;
        match self {
            Self::HeadsFirst => [heads * length * head_dim, length * head_dim, head_dim],
            Self::PositionsFirst => [heads * length * head_dim, head_dim, heads * head_dim],
        }
    }
}

/// Heads at positions, some of all, in the order in which their gradients lie in memory.
pub(super) struct HeadWalk {
    order: HeadOrder,
    /// Sequences, heads, positions.
    shape: [usize; 3],
    pub(super) rows: Range<usize>,
    /// Positions ahead of which operands are prefetched: their rows are too short for the hardware to see the next one
    /// coming. 0 for none.
    pub(super) ahead: usize,
}

impl HeadWalk {
    pub(super) fn new(launch: Launch, x: &Heads<'_>, order: HeadOrder, rows: Range<usize>) -> Self {
        // Four rows, or where all heads of a position lie before the next position, one position.
        let each = size_of::<f32>() * x.head_dim.max(1);
        let (own, each) = match order {
            HeadOrder::HeadsFirst => (4 * each, each),
            HeadOrder::PositionsFirst => (x.heads * each, x.heads * each),
        };
        let ahead = prefetch_elements::<u8>(launch, own).div_ceil(each);
        Self { order, shape: x.shape(), rows, ahead }
    }

    /// Sequence, head and position of the first row.
    pub(super) fn first(&self) -> [usize; 3] {
        let ([_, heads, length], row) = (self.shape, self.rows.start);
        match self.order {
            HeadOrder::HeadsFirst => [row / length / heads, row / length % heads, row % length],
            HeadOrder::PositionsFirst => [row / heads / length, row % heads, row / heads % length],
        }
    }

    /// Those of the next row.
    #[inline(always)]
    pub(super) fn next(&self, [mut batch, mut head, mut position]: [usize; 3]) -> [usize; 3] {
        let [_, heads, length] = self.shape;
        match self.order {
            HeadOrder::HeadsFirst => {
                position += 1;
                if position == length {
                    (position, head) = (0, head + 1);
                    if head == heads {
                        (head, batch) = (0, batch + 1);
                    }
                }
            }
            HeadOrder::PositionsFirst => {
                head += 1;
                if head == heads {
                    (head, position) = (0, position + 1);
                    if position == length {
                        (position, batch) = (0, batch + 1);
                    }
                }
            }
        }
        [batch, head, position]
    }
}

/// Rows of heads.
#[derive(Clone, Copy)]
pub(super) struct HeadReader {
    pub(super) reader: RowReader,
    pub(super) strides: [usize; 3],
    pub(super) d: usize,
}

impl HeadReader {
    /// A row, and a prefetch of that `ahead` positions further.
    #[inline(always)]
    pub(super) fn read<I: Isa>(&self, isa: I, place: [usize; 3], ahead: usize) -> *const f32 {
        let row = self.reader.read(isa, offset(place, self.strides));
        if ahead > 0 {
            // Of rows of 16 bits too much by half, of what is not there anything.
            let next = row.wrapping_add(ahead * self.strides[2]);
            for at in (0..self.d).step_by(LINE) {
                isa.prefetch(next.wrapping_add(at).cast());
            }
        }
        row
    }
}

#[inline(always)]
pub(super) fn offset([batch, head, position]: [usize; 3], strides: [usize; 3]) -> usize {
    batch * strides[0] + head * strides[1] + position * strides[2]
}
