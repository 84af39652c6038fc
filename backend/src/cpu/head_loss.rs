//! The loss of a language model's head.

use super::linear;
use super::panels::{CpuEngine, right, sizes};
use super::storage::OwnedFloats;
use crate::engine::{HeadGradients, HeadLoss, HeadLossOperands};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::backward::{Head, HeadGradients as GradientBuffers, head_cross_entropy};
use kiln_kernels::gemm::RightMatrix;
use kiln_kernels::{ElementType, Floats, FloatsMut};

/// The cross entropy by chunks of positions, with the gradients that are wanted.
pub(super) fn measure<B: CpuEngine>(
    HeadLossOperands { hidden, weight, targets, options, gradients }: &HeadLossOperands<B>,
    config: &KernelConfig,
) -> Option<HeadLoss<B>> {
    // Products are of one section, rows of another.
    if !linear::takes(config) || !config.blocking.enabled {
        return None;
    }
    let RightMatrix::View(matrix) = right(weight)? else { return None };
    let [vocab, width] = sizes(weight);
    let Floats::F32(rows) = B::elements(hidden)? else { return None };
    let [tokens, hidden_width] = hidden.shape().dims();
    // What is no row of the weight is left to B to reject.
    let read = |target: i64| match usize::try_from(target) {
        _ if target == options.ignore_index => Some(None),
        Ok(id) if id < vocab => Some(Some(id)),
        _ => None,
    };
    let targets = B::integers(targets)?.into_iter().map(read).collect::<Option<Vec<_>>>()?;
    if hidden_width != width || targets.len() != tokens {
        return None;
    }
    let counted = targets.iter().flatten().count();
    let mut lse = B::allocate(ElementType::F32, tokens)?;
    let buffer = |wanted: bool, len: Option<usize>| match wanted {
        true => B::allocate(ElementType::F32, len?).map(Some),
        false => Some(None),
    };
    let mut of_hidden = buffer(*gradients != HeadGradients::None, Some(rows.len()))?;
    let mut of_weight = buffer(*gradients == HeadGradients::All, vocab.checked_mul(width))?;
    let loss = {
        let FloatsMut::F32(lse) = lse.as_floats_mut() else { return None };
        let of_weight = match of_weight.as_mut().map(OwnedFloats::as_floats_mut) {
            Some(FloatsMut::F32(to)) => Some(to),
            _ => None,
        };
        let to = match of_hidden.as_mut().map(OwnedFloats::as_floats_mut) {
            Some(FloatsMut::F32(hidden)) => {
                Some(GradientBuffers { share: 1.0 / counted as f32, hidden, weight: of_weight, adds: false })
            }
            _ => None,
        };
        let head = Head { hidden: rows, weight: matrix.transposed(), targets: &targets };
        head_cross_entropy(config, head, options.chunk, lse, to).ok()?
    };
    note(Route::HeadLoss);
    let mean = (loss.sum / loss.count as f64) as f32;
    let of_hidden = match of_hidden {
        Some(floats) => Some(B::from_floats(floats, hidden.shape())?),
        None => None,
    };
    let of_weight = match of_weight {
        Some(floats) => Some(B::from_floats(floats, Shape::from([vocab, width]))?),
        None => None,
    };
    Some(HeadLoss {
        loss: B::from_floats(OwnedFloats::F32(vec![mean]), Shape::from([1]))?,
        lse: B::from_floats(lse, Shape::from([tokens, 1]))?,
        hidden: of_hidden,
        weight: of_weight,
    })
}
