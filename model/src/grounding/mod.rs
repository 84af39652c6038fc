//! Where things are: boxes and points in an answer, and a picture with them drawn on it.
//!
//! Asked to locate something, Qwen3-VL answers in JSON, with coordinates from 0 to 1000 along each side of the picture,
//! and now and then in what only resembles it:
//!
//! ```text
//! [{"bbox_2d": [112, 40, 530, 980], "label": "cat"}, {"point_2d": [640, 512], "label": "ball"}]
//! ```
//!
//! ```
//! use qwen3_vl_burn::grounding::{Shape, parse};
//!
//! let answer = "A cat: ```json\n[{\"bbox_2d\": [500, 0, 250, 1000], \"label\": \"cat\"}]\n```";
//! let found = parse(answer)?;
//! let cat = found.detections[0].to_pixels(640, 480);
//! let Shape::Box(bounds) = cat.shape else { panic!("a box") };
//! assert_eq!((bounds.x1, bounds.y1, bounds.x2, bounds.y2), (160.0, 0.0, 320.0, 480.0));
//! # Ok::<(), qwen3_vl_burn::grounding::GroundingError>(())
//! ```

mod answer;
mod canvas;
mod detection;
mod draw;
mod error;
mod label;
mod loose;
mod style;

pub use answer::{Grounding, MAX_ANSWER_BYTES, parse};
pub use detection::{BoxShape, Detection, PixelDetection, Point, RELATIVE_SIDE, Shape};
pub use draw::draw;
pub use error::GroundingError;
pub use style::DrawStyle;
