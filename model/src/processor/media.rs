//! Pictures and videos as the vision tower takes them.

use super::Grid;

/// One picture or video, ready for the vision tower.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessedImage {
    /// `[grid.patches(), 3 * T * P * P]` floats, row by row.
    pub pixel_values: Vec<f32>,
    /// Patches along time, height and width.
    pub grid: Grid,
}

/// A video, ready for the vision tower and the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessedVideo {
    /// Its patches; one temporal patch of the grid for each timestamp.
    pub pixels: ProcessedImage,
    /// When each temporal patch happened, in seconds.
    pub timestamps: Vec<f64>,
}

/// Several pictures, ready for one pass through the vision tower.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessedImages {
    /// The rows of all pictures, one picture after the other: `[sum of grid.patches(), 3 * T * P * P]`.
    pub pixel_values: Vec<f32>,
    /// The grid of each picture, in order.
    pub grids: Vec<Grid>,
}

impl FromIterator<ProcessedImage> for ProcessedImages {
    /// Concatenates; the first picture's buffer is taken over, so that one picture is not copied.
    fn from_iter<I: IntoIterator<Item = ProcessedImage>>(pictures: I) -> Self {
        let mut all = Self::default();
        for picture in pictures {
            all.grids.push(picture.grid);
            if all.pixel_values.is_empty() {
                all.pixel_values = picture.pixel_values;
            } else {
                all.pixel_values.extend_from_slice(&picture.pixel_values);
            }
        }
        all
    }
}

/// A processed picture or video, to be kept while its conversation goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessedMedia {
    /// A picture.
    Image(ProcessedImage),
    /// A video.
    Video(ProcessedVideo),
}

impl ProcessedMedia {
    /// Number of tokens that the language model sees of it, without timestamps and marks.
    ///
    /// `merge` is the side of the square of patches that becomes one token.
    pub fn tokens(&self, merge: usize) -> usize {
        match self {
            Self::Image(image) => image.grid.tokens(merge),
            Self::Video(video) => video.pixels.grid.tokens(merge),
        }
    }
}

impl From<ProcessedImage> for ProcessedMedia {
    fn from(image: ProcessedImage) -> Self {
        Self::Image(image)
    }
}

impl From<ProcessedVideo> for ProcessedMedia {
    fn from(video: ProcessedVideo) -> Self {
        Self::Video(video)
    }
}
