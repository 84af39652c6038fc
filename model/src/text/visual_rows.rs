//! Where a prompt's rows come from the vision tower.

use crate::prompt::Modality;
use crate::vision::VisionOutput;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Neighbouring rows of a prompt that stand for pictures, or for videos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    modality: Modality,
    /// Its first row in the prompt.
    start: usize,
    /// Its first row in the features of its modality.
    offset: usize,
    length: usize,
}

/// The runs of visual rows in a prompt, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VisualRows {
    runs: Vec<Run>,
}

/// One tensor of visual rows for pictures and one for videos: the merged features, or those of one DeepStack tap.
#[derive(Debug, Clone)]
pub struct Features<B: Backend> {
    /// `[image tokens, hidden]`.
    pub images: Option<Tensor<B, 2>>,
    /// `[video tokens, hidden]`.
    pub videos: Option<Tensor<B, 2>>,
}

impl<B: Backend> Features<B> {
    /// The features of the last merger, and those of each DeepStack tap.
    pub(crate) fn split(images: Option<VisionOutput<B>>, videos: Option<VisionOutput<B>>) -> (Self, Vec<Self>) {
        let taps = [&images, &videos].into_iter().flatten().map(|output| output.deepstack.len()).max().unwrap_or(0);
        let at = |output: &Option<VisionOutput<B>>, tap: usize| output.as_ref().map(|o| o.deepstack[tap].clone());
        let deepstack = (0..taps).map(|tap| Self { images: at(&images, tap), videos: at(&videos, tap) }).collect();
        let merged = Self { images: images.map(|o| o.features), videos: videos.map(|o| o.features) };
        (merged, deepstack)
    }

    fn take(&self, run: Run) -> Tensor<B, 2> {
        let source = match run.modality {
            Modality::Video => &self.videos,
            Modality::Image | Modality::Text => &self.images,
        };
        let source = source.as_ref().expect("validated inputs have features for each visual run");
        source.clone().narrow(0, run.offset, run.length)
    }
}

impl VisualRows {
    /// Finds the runs of a prompt. Pads of each modality take the rows of its features in order.
    pub fn find(modalities: &[Modality]) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let mut taken = [0; 3];
        for (row, &modality) in modalities.iter().enumerate() {
            if modality == Modality::Text {
                continue;
            }
            let taken = &mut taken[modality as usize];
            match runs.last_mut() {
                Some(run) if run.modality == modality && run.start + run.length == row => run.length += 1,
                _ => runs.push(Run { modality, start: row, offset: *taken, length: 1 }),
            }
            *taken += 1;
        }
        Self { runs }
    }

    /// True for a prompt of text alone.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Puts the features in the place of the visual rows.
    ///
    /// # Shapes
    /// `x` and output `[1, length, hidden]`.
    pub fn replace<B: Backend>(&self, x: Tensor<B, 3>, features: &Features<B>) -> Tensor<B, 3> {
        self.splice(x, |run, _| features.take(run))
    }

    /// Adds the features to the visual rows.
    ///
    /// # Shapes
    /// `x` and output `[1, length, hidden]`.
    pub fn add<B: Backend>(&self, x: Tensor<B, 3>, features: &Features<B>) -> Tensor<B, 3> {
        self.splice(x, |run, rows| rows + features.take(run))
    }

    /// One concatenation of the rows between the runs and of what `make` gives for each run: one copy of `x`, however many
    /// runs there are, and differentiable.
    fn splice<B: Backend>(&self, x: Tensor<B, 3>, make: impl Fn(Run, Tensor<B, 2>) -> Tensor<B, 2>) -> Tensor<B, 3> {
        if self.is_empty() {
            return x;
        }
        let shape = x.dims();
        // [1, length, hidden] -> [length, hidden]
        let x: Tensor<B, 2> = x.flatten(0, 1);
        let [length, _] = x.dims();
        let mut pieces = Vec::with_capacity(2 * self.runs.len() + 1);
        let mut done = 0;
        for &run in &self.runs {
            if run.start > done {
                pieces.push(x.clone().narrow(0, done, run.start - done));
            }
            pieces.push(make(run, x.clone().narrow(0, run.start, run.length)));
            done = run.start + run.length;
        }
        if done < length {
            pieces.push(x.narrow(0, done, length - done));
        }
        Tensor::cat(pieces, 0).reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    const MODALITIES: [Modality; 6] =
        [Modality::Text, Modality::Image, Modality::Video, Modality::Video, Modality::Image, Modality::Image];

    fn features() -> Features<Flex> {
        let device = Default::default();
        Features {
            images: Some(Tensor::from_floats([[10.0], [20.0], [30.0]], &device)),
            videos: Some(Tensor::from_floats([[100.0], [200.0]], &device)),
        }
    }

    fn prompt() -> Tensor<Flex, 3> {
        Tensor::from_floats([[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]], &Default::default())
    }

    fn values(x: Tensor<Flex, 3>) -> Vec<f32> {
        x.into_data().to_vec().unwrap()
    }

    #[test]
    fn each_modality_takes_its_rows_in_order() {
        let rows = VisualRows::find(&MODALITIES);
        assert_eq!(values(rows.replace(prompt(), &features())), [1.0, 10.0, 100.0, 200.0, 20.0, 30.0]);
        assert_eq!(values(rows.add(prompt(), &features())), [1.0, 12.0, 103.0, 204.0, 25.0, 36.0]);
    }

    #[test]
    fn text_is_left_alone() {
        let rows = VisualRows::find(&[Modality::Text; 6]);
        assert!(rows.is_empty());
        assert_eq!(values(rows.add(prompt(), &features())), values(prompt()));
    }
}
