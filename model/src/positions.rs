//! Positions for the interleaved multimodal RoPE.
//!
//! ```text
//! text token     t = h = w = p;                      p := p + 1
//! vision block   t = p + frame, h = p + row, w = p + column over its merged grid (g_t, g_h, g_w), row by row;
//!                p := p + max(g_t, g_h, g_w)
//! rope_delta     p - length: added to the index of each token decoded later
//! ```
//!
//! A picture is one block. A video is one block of a single frame for each temporal patch: its time is told by
//! timestamps in the text. Source: the Qwen3-VL technical report, section on positional encoding, and HF transformers'
//! `get_rope_index`.

use crate::processor::Grid;
use crate::prompt::{Modality, PromptError};

/// Positions of the tokens of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Time, height and width, one position for each token.
    pub ids: [Vec<i64>; 3],
    /// First free position minus length: a token decoded at index `i` has position `i + rope_delta` in all three.
    pub rope_delta: i64,
}

/// Computes the positions of a prompt from what its tokens stand for and the grids of its pictures and videos, in
/// order.
///
/// `merge` is the side in patches of the square that becomes one token.
///
/// # Errors
/// [`PromptError::Grid`] for a grid that isn't whole blocks; [`PromptError::RunLength`] where a picture or frame has
/// fewer tokens than its grid; [`PromptError::Count`] for tokens without a picture, or pictures (frames, for videos)
/// without tokens.
pub fn position_ids(
    modalities: &[Modality],
    images: &[Grid],
    videos: &[Grid],
    merge: usize,
) -> Result<Positions, PromptError> {
    let mut images = Blocks::new(Modality::Image, images, merge)?;
    let mut frames = Blocks::new(Modality::Video, videos, merge)?;
    let mut ids: [Vec<i64>; 3] = std::array::from_fn(|_| Vec::with_capacity(modalities.len()));
    let mut next = 0;
    let mut at = 0;
    while let Some(&modality) = modalities.get(at) {
        let blocks = match modality {
            Modality::Text => {
                ids.iter_mut().for_each(|axis| axis.push(next));
                next += 1;
                at += 1;
                continue;
            }
            Modality::Image => &mut images,
            Modality::Video => &mut frames,
        };
        let block = blocks.take(&modalities[at..], at)?;
        push_block(&mut ids, block, next);
        next += block.t.max(block.h).max(block.w) as i64;
        at += block.patches();
    }
    images.finish()?;
    frames.finish()?;
    Ok(Positions { ids, rope_delta: next - modalities.len() as i64 })
}

/// Appends the positions of a merged grid that starts at `start`.
fn push_block(ids: &mut [Vec<i64>; 3], block: Grid, start: i64) {
    for t in 0..block.t {
        for h in 0..block.h {
            for w in 0..block.w {
                for (axis, offset) in ids.iter_mut().zip([t, h, w]) {
                    axis.push(start + offset as i64);
                }
            }
        }
    }
}

/// The merged grids of all pictures, or of all frames, in order.
struct Blocks {
    modality: Modality,
    blocks: Vec<Grid>,
    taken: usize,
}

impl Blocks {
    fn new(modality: Modality, grids: &[Grid], merge: usize) -> Result<Self, PromptError> {
        let mut blocks = Vec::new();
        for (index, &grid) in grids.iter().enumerate() {
            let whole = merge > 0 && grid.h.is_multiple_of(merge) && grid.w.is_multiple_of(merge);
            if !whole || grid.patches() == 0 {
                return Err(PromptError::Grid { modality, index, grid, merge });
            }
            let (h, w) = (grid.h / merge, grid.w / merge);
            match modality {
                Modality::Video => blocks.extend(std::iter::repeat_n(Grid { t: 1, h, w }, grid.t)),
                Modality::Image | Modality::Text => blocks.push(Grid { t: grid.t, h, w }),
            }
        }
        Ok(Self { modality, blocks, taken: 0 })
    }

    /// Takes the next block, whose tokens `rest` starts with; `position` is where `rest` starts.
    fn take(&mut self, rest: &[Modality], position: usize) -> Result<Grid, PromptError> {
        let run = rest.iter().take_while(|&&modality| modality == self.modality).count();
        let Some(&block) = self.blocks.get(self.taken) else {
            let (placeholders, given) = (self.taken + 1, self.blocks.len());
            return Err(PromptError::Count { modality: self.modality, placeholders, given });
        };
        let expected = block.patches();
        if run < expected {
            let (modality, index) = (self.modality, self.taken);
            return Err(PromptError::RunLength { modality, index, position, expected, found: run });
        }
        self.taken += 1;
        Ok(block)
    }

    fn finish(&self) -> Result<(), PromptError> {
        let (placeholders, given) = (self.taken, self.blocks.len());
        if placeholders == given {
            return Ok(());
        }
        Err(PromptError::Count { modality: self.modality, placeholders, given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Modality = Modality::Text;
    const IMAGE: Modality = Modality::Image;
    const VIDEO: Modality = Modality::Video;

    #[test]
    fn a_picture_takes_as_many_positions_as_its_longer_side() {
        let grid = Grid { t: 1, h: 2, w: 6 };
        let positions = position_ids(&[TEXT, IMAGE, IMAGE, IMAGE, TEXT], &[grid], &[], 2).unwrap();
        assert_eq!(positions.ids, [vec![0, 1, 1, 1, 4], vec![0, 1, 1, 1, 4], vec![0, 1, 2, 3, 4]]);
        assert_eq!(positions.rope_delta, 0);
    }

    #[test]
    fn an_empty_prompt_starts_at_zero() {
        assert_eq!(position_ids(&[], &[], &[], 2).unwrap(), Positions::default());
    }

    #[test]
    fn a_prompt_must_match_its_pictures() {
        let grid = Grid { t: 1, h: 2, w: 4 };
        let run =
            |modalities: &[Modality], images: &[Grid], videos: &[Grid]| position_ids(modalities, images, videos, 2);
        // Too few tokens, a picture without tokens, tokens without a picture, half a block.
        assert!(matches!(
            run(&[TEXT, IMAGE, TEXT], &[grid], &[]),
            Err(PromptError::RunLength { modality: IMAGE, index: 0, position: 1, expected: 2, found: 1 })
        ));
        assert!(matches!(
            run(&[TEXT], &[grid], &[]),
            Err(PromptError::Count { modality: IMAGE, placeholders: 0, given: 1 })
        ));
        assert!(matches!(
            run(&[IMAGE, IMAGE, IMAGE], &[grid], &[]),
            Err(PromptError::Count { modality: IMAGE, placeholders: 2, given: 1 })
        ));
        assert!(matches!(
            run(&[VIDEO, VIDEO], &[], &[Grid { t: 2, ..grid }]),
            Err(PromptError::Count { modality: VIDEO, placeholders: 1, given: 2 })
        ));
        assert!(matches!(run(&[], &[Grid { t: 1, h: 3, w: 4 }], &[]), Err(PromptError::Grid { .. })));
        assert!(matches!(run(&[], &[Grid { t: 0, h: 2, w: 4 }], &[]), Err(PromptError::Grid { .. })));
        assert!(matches!(position_ids(&[], &[grid], &[], 0), Err(PromptError::Grid { .. })));
    }
}
