//! What can be wrong with art, fonts and files.

use std::path::PathBuf;

/// Why scenes can't be drawn or written.
#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    /// The table of things can't be read.
    #[error("the table of things is not readable: {0}; expected the JSON that `things.json` has")]
    Table(serde_json::Error),
    /// The table of things says what can't be.
    #[error("the table of things: {0}")]
    BadTable(String),
    /// An atlas is no picture.
    #[error("the atlas {style:?} can't be decoded: {source}; make it again with `scenes atlas`")]
    Atlas {
        /// Which style.
        style: String,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// An atlas does not have the size that the table needs.
    #[error(
        "the atlas {style:?} has {found:?} pixels, expected {expected:?} for its table; make it again with `scenes atlas`"
    )]
    AtlasSize {
        /// Which style.
        style: String,
        /// Width and height of the picture.
        found: (u32, u32),
        /// Width and height that the table's number of things and cell need.
        expected: (u32, u32),
    },
    /// A thing is drawn in no style.
    #[error("nothing is drawn for {0:?} in any atlas; make them again with `scenes atlas`")]
    Empty(String),
    /// A font can't be used.
    #[error("the font {name:?}: {reason}")]
    Font {
        /// Which font.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A picture can't be read or written.
    #[error("{}: {source}", path.display())]
    Picture {
        /// Which file.
        path: PathBuf,
        /// What the codec said.
        source: image::ImageError,
    },
}
