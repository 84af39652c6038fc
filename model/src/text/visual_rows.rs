//! Where a prompt's rows come from the vision tower.

use crate::prompt::Modality;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Neighbouring rows that stand for pictures or videos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Its first row.
    start: usize,
    length: usize,
}

/// The runs of visual rows in a prompt, or in several prompts behind each other, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VisualRows {
    runs: Vec<Run>,
}

impl VisualRows {
    /// Finds the runs of a prompt.
    pub fn find(modalities: &[Modality]) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for (row, &modality) in modalities.iter().enumerate() {
            if modality == Modality::Text {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.start + run.length == row => run.length += 1,
                _ => runs.push(Run { start: row, length: 1 }),
            }
        }
        Self { runs }
    }

    /// True for text alone.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds the runs of a prompt whose first row is row `start` of the whole.
    pub fn append(&mut self, other: &Self, start: usize) {
        self.runs.extend(other.runs.iter().map(|run| Run { start: start + run.start, length: run.length }));
    }

    /// Indices of the visual rows, in order.
    pub fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs.iter().flat_map(|run| run.start..run.start + run.length)
    }

    /// Puts the features in the place of the visual rows.
    ///
    /// # Shapes
    /// `x` and output `[1, length, hidden]`; `features` `[visual rows, hidden]`, in the order of the prompt.
    pub fn replace<B: Backend>(&self, x: Tensor<B, 3>, features: &Tensor<B, 2>) -> Tensor<B, 3> {
        self.splice(x, features, |_, features| features)
    }

    /// Adds the features to the visual rows.
    ///
    /// # Shapes
    /// As [`VisualRows::replace`].
    pub fn add<B: Backend>(&self, x: Tensor<B, 3>, features: &Tensor<B, 2>) -> Tensor<B, 3> {
        self.splice(x, features, |rows, features| rows + features)
    }

    /// One concatenation of the rows between the runs and of what `make` gives for each run: one copy of `x`, however many
    /// runs there are, and differentiable.
    fn splice<B: Backend>(
        &self,
        x: Tensor<B, 3>,
        features: &Tensor<B, 2>,
        make: impl Fn(Tensor<B, 2>, Tensor<B, 2>) -> Tensor<B, 2>,
    ) -> Tensor<B, 3> {
        if self.is_empty() {
            return x;
        }
        let shape = x.dims();
        // [1, length, hidden] -> [length, hidden]
        let x: Tensor<B, 2> = x.flatten(0, 1);
        let [length, _] = x.dims();
        let mut pieces = Vec::with_capacity(2 * self.runs.len() + 1);
        let (mut done, mut taken) = (0, 0);
        for run in &self.runs {
            if run.start > done {
                pieces.push(x.clone().narrow(0, done, run.start - done));
            }
            let rows = x.clone().narrow(0, run.start, run.length);
            pieces.push(make(rows, features.clone().narrow(0, taken, run.length)));
            done = run.start + run.length;
            taken += run.length;
        }
        if done < length {
            pieces.push(x.narrow(0, done, length - done));
        }
        Tensor::cat(pieces, 0).reshape(shape)
    }
}

/// Joins features of pictures and of videos, each in its own order, in the order of the prompt. `None` without either.
///
/// # Shapes
/// `images` `[image tokens, hidden]`, `videos` `[video tokens, hidden]`, output `[visual tokens, hidden]`.
pub(crate) fn order_features<B: Backend>(
    modalities: &[Modality],
    images: Option<Tensor<B, 2>>,
    videos: Option<Tensor<B, 2>>,
) -> Option<Tensor<B, 2>> {
    let (images, videos) = match (images, videos) {
        (Some(images), Some(videos)) => (images, videos),
        (only, None) | (None, only) => return only,
    };
    let visual: Vec<Modality> = modalities.iter().copied().filter(|&modality| modality != Modality::Text).collect();
    let (mut image_rows, mut video_rows) = (0, 0);
    let pieces = visual.chunk_by(|a, b| a == b).map(|run| {
        let (source, taken) = match run[0] {
            Modality::Video => (&videos, &mut video_rows),
            Modality::Image | Modality::Text => (&images, &mut image_rows),
        };
        let start = *taken;
        *taken += run.len();
        source.clone().narrow(0, start, run.len())
    });
    Some(Tensor::cat(pieces.collect(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    const MODALITIES: [Modality; 6] =
        [Modality::Text, Modality::Image, Modality::Video, Modality::Video, Modality::Image, Modality::Image];

    fn features() -> Tensor<Flex, 2> {
        let device = Default::default();
        let images = Tensor::from_floats([[10.0], [20.0], [30.0]], &device);
        let videos = Tensor::from_floats([[100.0], [200.0]], &device);
        order_features(&MODALITIES, Some(images), Some(videos)).unwrap()
    }

    fn prompt() -> Tensor<Flex, 3> {
        Tensor::from_floats([[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]], &Default::default())
    }

    fn values<const D: usize>(x: Tensor<Flex, D>) -> Vec<f32> {
        x.into_data().to_vec().unwrap()
    }

    #[test]
    fn each_modality_takes_its_rows_in_order() {
        let rows = VisualRows::find(&MODALITIES);
        assert_eq!(values(features()), [10.0, 100.0, 200.0, 20.0, 30.0]);
        assert_eq!(values(rows.replace(prompt(), &features())), [1.0, 10.0, 100.0, 200.0, 20.0, 30.0]);
        assert_eq!(values(rows.add(prompt(), &features())), [1.0, 12.0, 103.0, 204.0, 25.0, 36.0]);
    }

    #[test]
    fn prompts_behind_each_other_keep_their_rows() {
        let mut rows = VisualRows::find(&MODALITIES[..2]);
        rows.append(&VisualRows::find(&[Modality::Image, Modality::Text]), 2);
        let features = Tensor::<Flex, 2>::from_floats([[10.0], [20.0]], &Default::default());
        let x = prompt().narrow(1, 0, 4);
        assert_eq!(values(rows.replace(x, &features)), [1.0, 10.0, 20.0, 4.0]);
    }

    #[test]
    fn text_is_left_alone() {
        let rows = VisualRows::find(&[Modality::Text; 6]);
        assert!(rows.is_empty());
        assert_eq!(values(rows.add(prompt(), &features())), values(prompt()));
    }
}
