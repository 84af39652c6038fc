//! Prompts on their way into the decoder: embedded, pictures encoded.

use crate::text::DecoderInputs;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// A prompt, or the end of one, that has been through the vision tower and the token embedding.
#[derive(Debug, Clone)]
pub struct PreparedPrompt<B: Backend> {
    pub(crate) inputs: DecoderInputs<B>,
    /// Position of the first token after it.
    pub(crate) next_position: i64,
}

impl<B: Backend> PreparedPrompt<B> {
    /// Tokens that the decoder will run over.
    pub fn len(&self) -> usize {
        self.inputs.rows.dims()[1]
    }

    /// Always false: an empty prompt is an error.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Position, on all three axes, of the first token after the prompt.
    pub fn next_position(&self) -> i64 {
        self.next_position
    }

    /// Several prompts behind each other. There must be one at least.
    pub(crate) fn join(prompts: Vec<Self>) -> DecoderInputs<B> {
        let mut prompts = prompts.into_iter().map(|prompt| prompt.inputs);
        let Some(mut joined) = prompts.next() else { panic!("a pass runs over one prompt at least") };
        let mut rows = vec![joined.rows];
        let mut taps: Vec<Vec<Tensor<B, 2>>> = joined.deepstack.into_iter().map(|tap| vec![tap]).collect();
        for prompt in prompts {
            joined.visual.append(&prompt.visual, joined.lengths.iter().sum());
            joined.lengths.extend(prompt.lengths);
            for (axis, added) in joined.positions.iter_mut().zip(&prompt.positions) {
                axis.extend(added);
            }
            rows.push(prompt.rows);
            taps.resize_with(taps.len().max(prompt.deepstack.len()), Vec::new);
            for (tap, added) in taps.iter_mut().zip(prompt.deepstack) {
                tap.push(added);
            }
        }
        joined.rows = concatenate(rows, 1);
        joined.deepstack = taps.into_iter().map(|tap| concatenate(tap, 0)).collect();
        joined
    }
}

/// `Tensor::cat`, without a copy of a tensor alone.
fn concatenate<B: Backend, const D: usize>(mut tensors: Vec<Tensor<B, D>>, dim: usize) -> Tensor<B, D> {
    if tensors.len() == 1 { tensors.remove(0) } else { Tensor::cat(tensors, dim) }
}
