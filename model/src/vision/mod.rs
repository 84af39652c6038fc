//! The vision tower: rows of patches in, one feature row for each image token out.
//!
//! ```text
//! patches ─ embed ─ + positions ─ block 0 ─ .. ─ block depth-1 ─ merger ───────────▶ features
//!                                    └─ after each tapped block: DeepStack merger ─▶ deepstack[i]
//! ```
//!
//! Rows come in merge-block order: the four (`spatial_merge_size²`) patches that become one token are neighbours, so
//! that merging them is a reshape. Sources: the Qwen3-VL model card and HF transformers' `Qwen3VLVisionModel`.

mod attention;
mod block;
mod merger;
mod patch_embed;
mod position;
mod rotary;
mod tower;

pub use attention::VisionAttention;
pub use block::{VisionBlock, VisionMlp};
pub use merger::PatchMerger;
pub use patch_embed::PatchEmbed;
pub use tower::{VisionContext, VisionModel, VisionOutput};
