//! The grid of patches of a picture or video.

/// Patches of one picture or video along time, height and width.
///
/// Units: patches. A picture has `t = 1`; a video has one step of `t` for every `temporal_patch_size` frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Temporal patches.
    pub t: usize,
    /// Patches from top to bottom.
    pub h: usize,
    /// Patches from left to right.
    pub w: usize,
}

impl Grid {
    /// Number of patches, `t * h * w`: rows of the pixel values.
    pub fn patches(&self) -> usize {
        self.t * self.h * self.w
    }

    /// Number of tokens that the language model sees, `t * (h / merge) * (w / merge)`.
    ///
    /// `merge` is the side of the square of patches that becomes one token (2 in every released size).
    pub fn tokens(&self, merge: usize) -> usize {
        self.t * (self.h / merge) * (self.w / merge)
    }
}
