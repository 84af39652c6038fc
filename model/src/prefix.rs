//! What a prompt shares with one that has been computed: the part whose keys and values need not be computed again.
//!
//! ```text
//! shared = longest common prefix of the token ids,
//!          cut before the first picture whose pixels or grid differ,
//!          and before the last token, whose logits are wanted
//! ```
//!
//! Keys and values of a token depend on what comes before it only (the decoder is causal, and multimodal positions are
//! counted from the start), so those of the shared part are those that a pass over the whole prompt would give.

use crate::config::Qwen3VlConfig;
use crate::processor::{Grid, ProcessedImages};
use crate::prompt::Modality;
use crate::text::Cache;
use crate::{ModelInputs, Qwen3Vl};
use burn::tensor::backend::Backend;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

/// Keys and values of a conversation so far, and what they were computed from.
#[derive(Debug)]
pub struct PrefixCache<B: Backend> {
    pub(crate) cache: Cache<B>,
    /// The tokens that the cache holds.
    pub(crate) ids: Vec<u32>,
    /// The pictures and videos among them.
    pub(crate) pictures: Vec<Fingerprint>,
}

/// Where a picture or video stands in a prompt, from its first to behind its last visual token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PictureSpan {
    pub(crate) modality: Modality,
    /// Which of its modality.
    index: usize,
    pub(crate) span: Range<usize>,
}

/// What tells pictures apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    span: Range<usize>,
    grid: Grid,
    /// Hash of the pixel values.
    pixels: u64,
}

impl<B: Backend> PrefixCache<B> {
    /// A cache that holds nothing.
    pub fn new(model: &Qwen3Vl<B>) -> Self {
        Self { cache: model.new_cache(0), ids: Vec::new(), pictures: Vec::new() }
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// True when no token is held.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Forgets what a prompt of these tokens and pictures doesn't share; gives the number of tokens that are left.
    pub(crate) fn keep_shared(&mut self, ids: &[u32], pictures: &[Fingerprint]) -> usize {
        // A prompt that was prepared and never run left tokens that the cache hasn't.
        self.ids.truncate(self.cache.len());
        let shared = find_shared(&self.ids, &self.pictures, ids, pictures);
        self.cache.truncate(shared);
        self.ids.truncate(shared);
        self.pictures.retain(|picture| picture.span.end <= shared);
        shared
    }
}

/// How many tokens of a prompt, given by its tokens and pictures, are those of an earlier one.
fn find_shared(old: &[u32], old_pictures: &[Fingerprint], new: &[u32], new_pictures: &[Fingerprint]) -> usize {
    let common = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let mut shared = common.min(new.len().saturating_sub(1));
    for (index, picture) in new_pictures.iter().enumerate() {
        let same = old_pictures.get(index) == Some(picture);
        if picture.span.start < shared && (!same || shared < picture.span.end) {
            shared = picture.span.start;
        }
    }
    shared
}

/// Finds the pictures and videos of a prompt that has been validated, in its order.
pub(crate) fn find_pictures(inputs: &ModelInputs, modalities: &[Modality], config: &Qwen3VlConfig) -> Vec<PictureSpan> {
    let merge = config.vision.spatial_merge_size;
    let (mut images, mut videos) = (inputs.images.grids.iter().enumerate(), inputs.videos.grids.iter().enumerate());
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&modality) = modalities.get(at) {
        let next = match modality {
            Modality::Text => None,
            Modality::Image => images.next(),
            Modality::Video => videos.next(),
        };
        let Some((index, grid)) = next else {
            at += 1;
            continue;
        };
        // The frames of a video have text between them.
        let start = at;
        let mut left = grid.tokens(merge);
        while left > 0 && at < modalities.len() {
            left -= usize::from(modalities[at] == modality);
            at += 1;
        }
        found.push(PictureSpan { modality, index, span: start..at });
    }
    found
}

/// Fingerprints of the pictures of a prompt, in its order.
pub(crate) fn fingerprint_pictures(
    inputs: &ModelInputs,
    modalities: &[Modality],
    config: &Qwen3VlConfig,
) -> Vec<Fingerprint> {
    let width = config.vision.patch_dim();
    find_pictures(inputs, modalities, config)
        .into_iter()
        .map(|PictureSpan { modality, index, span }| {
            let source = if modality == Modality::Video { &inputs.videos } else { &inputs.images };
            Fingerprint { span, grid: source.grids[index], pixels: hash_pixels(source, index, width) }
        })
        .collect()
}

fn hash_pixels(pictures: &ProcessedImages, index: usize, width: usize) -> u64 {
    let start: usize = pictures.grids[..index].iter().map(Grid::patches).sum();
    let rows = start * width..(start + pictures.grids[index].patches()) * width;
    let mut hasher = DefaultHasher::new();
    bytemuck::cast_slice::<f32, u8>(&pictures.pixel_values[rows]).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(span: Range<usize>, pixels: u64) -> Fingerprint {
        Fingerprint { span, grid: Grid { t: 1, h: 2, w: 4 }, pixels }
    }

    #[test]
    fn the_last_token_is_never_shared() {
        assert_eq!(find_shared(&[1, 2, 3], &[], &[1, 2, 3], &[]), 2);
        assert_eq!(find_shared(&[1, 2, 3, 4], &[], &[1, 2, 3], &[]), 2);
        assert_eq!(find_shared(&[1, 2], &[], &[1, 2, 3], &[]), 2);
        assert_eq!(find_shared(&[], &[], &[1], &[]), 0);
        assert_eq!(find_shared(&[1, 5, 3], &[], &[1, 2, 3, 4], &[]), 1);
    }

    /// Two pads each, at 1..3 and 4..6.
    #[test]
    fn another_picture_ends_what_is_shared() {
        let ids = [9, 7, 7, 8, 7, 7, 1, 2];
        let both = [picture(1..3, 10), picture(4..6, 20)];
        assert_eq!(find_shared(&ids, &both, &ids, &both), 7);
        assert_eq!(find_shared(&ids, &both, &ids, &[picture(1..3, 10), picture(4..6, 21)]), 4);
        assert_eq!(find_shared(&ids, &both, &ids, &[picture(1..3, 11), picture(4..6, 20)]), 1);
        // The ids part inside a picture: it is computed again whole.
        assert_eq!(find_shared(&ids[..5], &both[..1], &ids, &both), 4);
    }
}
