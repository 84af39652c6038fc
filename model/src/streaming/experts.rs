//! Experts that are read when tokens choose them.

use crate::{Error, Result};
use burn::tensor::{DType, Tensor, TensorData, activation::softmax};
use burn_kiln_fusion::{Epilogue, FusedOps, KernelConfig, MoeOptions, Weight};
use burn_std::{AllocationProperty, Bytes};
use kiln_kernels::prefetch::{ChoiceStats, Choices, Files, Held, Ledger, Piece};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// Experts whose probability is within this factor of the last one chosen are read too. The op that runs them chooses
/// for itself, from the same router and rows; should a kernel round the logits otherwise, which it does in the seventh
/// digit, it must not find an expert that isn't there.
const MARGIN: f32 = 1.0 - 1.0 / 64.0;

/// The experts of all layers that have some.
#[derive(Debug)]
pub(crate) struct StreamedExperts {
    choices: Choices,
    /// Layer to its number in `choices` and how many experts it has.
    layers: BTreeMap<usize, (usize, usize)>,
    /// In which they are stored.
    dtype: DType,
    /// What went wrong in a layer that a thread runs.
    faults: Mutex<HashMap<ThreadId, Error>>,
    /// All of their memory.
    _held: Held,
}

/// The experts of one layer.
#[derive(Debug, Clone)]
pub(crate) struct ExpertSource {
    experts: Arc<StreamedExperts>,
    /// The layer's number in the choices, and how many experts it has.
    layer: (usize, usize),
    /// `[hidden, 2 · intermediate]` and `[intermediate, hidden]`.
    shapes: [[usize; 2]; 2],
}

impl StreamedExperts {
    /// Those of `layers` in `bytes` of memory; `None` without any.
    pub(super) fn new(
        layers: BTreeMap<usize, (usize, Vec<Piece>)>,
        (bytes, dtype): (u64, DType),
        files: &Arc<Files>,
        ledger: &Ledger,
    ) -> Result<Option<Self>> {
        if layers.is_empty() {
            return Ok(None);
        }
        let held = ledger.hold(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let numbers = layers.iter().enumerate().map(|(number, (&layer, &(count, _)))| (layer, (number, count)));
        let numbers = numbers.collect();
        let choices = Choices::new(files.clone(), layers.into_values(), Ledger::new(bytes))?;
        Ok(Some(Self { choices, layers: numbers, dtype, faults: Mutex::default(), _held: held }))
    }

    /// Those of layer `index`, whose arrays have these shapes for each expert; `None` where they are not here.
    pub(super) fn source(self: &Arc<Self>, index: usize, shapes: [[usize; 2]; 2]) -> Option<ExpertSource> {
        let &layer = self.layers.get(&index)?;
        Some(ExpertSource { experts: self.clone(), layer, shapes })
    }

    /// The error of a layer that this thread ran, if there was one.
    pub(super) fn take_fault(&self) -> Result<()> {
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).remove(&thread::current().id());
        fault.map_or(Ok(()), Err)
    }

    /// What was asked so far.
    pub(super) fn stats(&self) -> ChoiceStats {
        self.choices.stats()
    }
}

impl ExpertSource {
    /// The layer's arrays, `[experts, hidden, 2 · intermediate]` and `[experts, intermediate, hidden]`, with the
    /// experts that the rows of `x` choose. `None` where they cannot be had: [`StreamedExperts::take_fault`] says why.
    ///
    /// # Shapes
    /// `x` `[tokens, hidden]`.
    pub(crate) fn read<B: FusedOps>(
        &self,
        x: &Tensor<B, 2>,
        router: &Weight<B>,
        options: MoeOptions,
        config: &KernelConfig,
    ) -> Option<[Tensor<B, 3>; 2]> {
        let logits = <B as FusedOps>::linear(x.clone(), router, Epilogue::default(), config);
        let probabilities: Vec<f32> = softmax(logits, 1).into_data().iter::<f32>().collect();
        let (number, count) = self.layer;
        let chosen = choose(&probabilities, count, options.top_k);
        let arrays = match self.experts.choices.ask(number, &chosen) {
            Ok(arrays) => arrays,
            Err(error) => {
                let mut faults = self.experts.faults.lock().unwrap_or_else(PoisonError::into_inner);
                faults.insert(thread::current().id(), error.into());
                return None;
            }
        };
        let mut tensors = arrays.into_iter().zip(self.shapes).map(|(array, [rows, columns])| {
            let bytes = Bytes::from_shared(bytes::Bytes::from_owner(array), AllocationProperty::File);
            let dtype = self.experts.dtype;
            let data = TensorData::from_bytes(bytes, vec![count, rows, columns], dtype);
            Tensor::from_data(data, (&x.device(), dtype))
        });
        Some([tensors.next()?, tensors.next()?])
    }
}

/// The experts, ascending, that some row of `probabilities` (`experts` each) chooses or almost chooses.
fn choose(probabilities: &[f32], experts: usize, top_k: usize) -> Vec<usize> {
    let mut wanted = vec![false; experts];
    let mut sorted = Vec::with_capacity(experts);
    for row in probabilities.chunks_exact(experts.max(1)) {
        sorted.clear();
        sorted.extend_from_slice(row);
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let last = sorted.get(top_k.saturating_sub(1)).copied().unwrap_or(0.0);
        for (wanted, &probability) in wanted.iter_mut().zip(row) {
            // A row with a NaN is NaN whatever it reads; then all are read, so that it reads what the unlimited model
            // does.
            *wanted |= probability >= last * MARGIN || probability.is_nan() || last.is_nan();
        }
    }
    (0..experts).filter(|&expert| wanted[expert]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_chosen_are_read() {
        let row = [0.1, 0.4, 0.2, 0.199, 0.101];
        assert_eq!(choose(&row, 5, 1), [1]);
        assert_eq!(choose(&row, 5, 2), [1, 2, 3]);
        assert_eq!(choose(&[row, [0.9, 0.02, 0.03, 0.02, 0.03]].concat(), 5, 2), [0, 1, 2, 3, 4]);
        assert_eq!(choose(&[0.5, 0.3, 0.2, 0.3, 0.5, 0.2], 3, 1), [0, 1]);
        assert_eq!(choose(&[f32::NAN; 4], 4, 2), [0, 1, 2, 3]);
    }
}
