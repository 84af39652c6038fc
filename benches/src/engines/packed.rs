//! Products with a weight that Kiln packed before.

use super::Work;
use super::generic::{lift, lift_all};
use crate::case::{Case, Shape};
use crate::measure::Failure;
use crate::operands::Operands;
use burn::tensor::Tensor;
use burn_flex::Flex;
use burn_kiln::Kiln;
use burn_kiln_fusion::{Epilogue, FusedOps, KernelConfig, Weight};
use std::hint::black_box;
use std::sync::Arc;

/// `x·Wᵀ` with each `W` packed. The right side of a square product is a weight `[in, out]`, packed from its transpose.
pub(super) fn prepare(case: &Case, operands: &Operands, config: &Arc<KernelConfig>) -> Result<Work, Failure> {
    let config = Arc::clone(config);
    let x: Tensor<Kiln<Flex>, 2> = lift(&operands.sets[0][0]);
    let rows: Vec<Tensor<Kiln<Flex>, 2>> = match case.shape {
        Shape::Square { .. } => operands.sets.iter().map(|set| lift(&set[1].transpose(0, 1).to_contiguous())).collect(),
        _ => lift_all(operands, 1),
    };
    let weights: Vec<_> = rows.into_iter().map(|rows| Weight::Plain(rows).pack(&config)).collect();
    Ok(Box::new(move |i| {
        drop(black_box(Kiln::<Flex>::linear(x.clone(), &weights[i], Epilogue::default(), &config)));
    }))
}
