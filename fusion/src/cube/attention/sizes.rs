//! Sizes that the kernel takes as arguments.

use cubecl::prelude::*;

/// Sizes of the attention at hand.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub kv_heads: usize,
    pub queries: usize,
    pub keys: usize,
    /// Tiles of rows.
    pub row_tiles: usize,
    /// Parts of the keys, and keys in each.
    pub splits: usize,
    pub split_keys: usize,
    /// Segments of the sequence.
    pub segments: usize,
    /// Vectors of a chunk of the depth, and fours of keys in a chunk of values. As arguments, for the CUDA compiler
    /// unrolls loops of known length until registers run out.
    pub depth: usize,
    pub value_fours: usize,
    /// The first vector of the output.
    pub out_start: usize,
    /// Vectors from the output of a part to that of the next.
    pub split_distance: usize,
}
