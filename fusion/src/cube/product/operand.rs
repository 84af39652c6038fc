//! Matrices where they lie: sizes and distances instead of copies.

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};

/// A batch of matrices in a buffer. `side` is the dimension that an operand brings to the product (rows of the left
/// one, columns of the right one), depth the one that is summed over. Distances are in elements; 0 repeats what is
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Length of the side.
    pub side: usize,
    /// Length of the depth.
    pub depth: usize,
    /// From one index of the side to the next.
    pub side_stride: usize,
    /// From one index of the depth to the next.
    pub depth_stride: usize,
    /// From one matrix to the next.
    pub batch_stride: usize,
}

impl Layout {
    /// Rows `[.., depth]` of a tensor, all leading dimensions as one; `None` unless they have a common distance.
    pub(in crate::cube) fn of_rows<R: CubeRuntime>(tensor: &CubeTensor<R>) -> Option<Self> {
        let (shape, strides) = (tensor.meta.shape().to_vec(), tensor.meta.strides());
        let (&depth, leading) = shape.split_last()?;
        let (side, side_stride) = collapse(leading, &strides[..leading.len()])?;
        Some(Self { side, depth, side_stride, depth_stride: strides[leading.len()], batch_stride: 0 })
    }

    /// Elements of the depth are neighbours.
    pub fn has_rows(&self) -> bool {
        self.depth_stride == 1 || self.depth == 1
    }

    /// The elements of the side are neighbours, those of the depth are not.
    pub fn has_columns(&self) -> bool {
        self.side_stride == 1 && !self.has_rows()
    }

    /// A vector along the depth, elements next to each other.
    pub(super) fn as_one_row(&self) -> Self {
        Self { side: 1, depth: self.depth, side_stride: 0, depth_stride: 1, batch_stride: 0 }
    }

    /// Whether vectors of `width` along the depth can be loaded, the first element of the buffer being aligned for
    /// them.
    pub fn allows_vectors(&self, width: usize) -> bool {
        let aligned = |stride: usize| stride.is_multiple_of(width);
        width == 1 || self.has_rows() && [self.depth, self.side_stride, self.batch_stride].into_iter().all(aligned)
    }
}

/// Dimensions as one: their number of elements and the distance between neighbours; `None` when there is no common one.
/// A dimension of length 1 has no neighbours, whatever its stride.
pub(super) fn collapse(lengths: &[usize], strides: &[usize]) -> Option<(usize, usize)> {
    let mut found = None;
    let mut expected = 0;
    for (&length, &stride) in lengths.iter().zip(strides).rev().filter(|(length, _)| **length != 1) {
        match found {
            None => found = Some(stride),
            Some(_) if stride != expected => return None,
            Some(_) => {}
        }
        expected = stride * length;
    }
    Some((lengths.iter().product(), found.unwrap_or(0)))
}

/// The widest vectors along the depth, at most 4 and among `widths`, that all of the operands allow.
///
/// A view that starts inside of its buffer may start at any element: its offset must be a multiple as well.
pub(in crate::cube) fn choose_vector<'a, R: CubeRuntime>(
    operands: impl Iterator<Item = (&'a CubeTensor<R>, Layout)> + Clone,
    widths: impl Iterator<Item = usize>,
) -> usize {
    let fits = |width: usize| {
        operands.clone().all(|(tensor, layout)| {
            let bytes = (width * tensor.dtype.size()) as u64;
            layout.allows_vectors(width) && tensor.handle.offset_start.unwrap_or(0).is_multiple_of(bytes)
        })
    };
    widths.filter(|&width| width <= 4 && fits(width)).max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_collapse_when_they_follow_each_other() {
        assert_eq!(collapse(&[2, 3], &[36, 12]), Some((6, 12)));
        assert_eq!(collapse(&[2, 3], &[40, 12]), None);
        assert_eq!(collapse(&[2, 1, 3], &[36, 7, 12]), Some((6, 12)));
        assert_eq!(collapse(&[], &[]), Some((1, 0)));
        assert_eq!(collapse(&[4, 3], &[0, 0]), Some((12, 0)));
        assert_eq!(collapse(&[4, 3], &[0, 5]), None);
    }

    #[test]
    fn vectors_need_neighbours_and_distances_that_they_divide() {
        let rows = Layout { side: 5, depth: 8, side_stride: 8, depth_stride: 1, batch_stride: 0 };
        assert!(rows.allows_vectors(4));
        assert!(!Layout { side_stride: 10, ..rows }.allows_vectors(4));
        assert!(Layout { side_stride: 10, ..rows }.allows_vectors(2));
        assert!(!Layout { depth: 7, ..rows }.allows_vectors(2));
        let columns = Layout { side: 5, depth: 8, side_stride: 1, depth_stride: 8, batch_stride: 0 };
        assert!(columns.has_columns() && !columns.allows_vectors(4) && columns.allows_vectors(1));
    }
}
