//! Backward passes and the optimiser's step, where they are bound by memory: the engine's kernel where it takes the
//! operands, else the composition.

use super::conversion::{Lower, lift, lower};
use crate::engine::{
    AdamWOperands, AddRowsOperands, EmbeddingBackwardOperands, EngineWeight, LayerNormOperands, NormBackwardOperands,
    ParameterGrad, RopeBackwardOperands, RopeGrads,
};
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_backend::TensorMetadata;
use burn_kiln_fusion::{
    AdamWOptions, AdamWState, AddNormForward, AddNormGrads, Conversion, FusedOps, KernelConfig, LayerNormForward,
    NormGrads, RmsWeights, Rotary, RowGrads, Weight, compose,
};
use burn_tensor::{Int, Tensor};

pub(super) fn rms_norm_backward<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    rstd: Tensor<Kiln<B>, D>,
    grad: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> NormGrads<Kiln<B>, D> {
    let operands = NormBackwardOperands {
        x: lower(x),
        gamma: lower(gamma),
        mean: None,
        rstd: lower(rstd),
        grad: lower(grad),
        residual: None,
    };
    match B::try_norm_backward(operands, config) {
        Ok(NormGrads { x, gamma, .. }) => NormGrads { x: lift(x), gamma: lift(gamma), beta: None },
        Err(NormBackwardOperands { x, gamma, rstd, grad, .. }) => Kiln::<B>::scope(config, || {
            compose::norm::rms_norm_backward(lift(x), lift(gamma), lift(rstd), lift(grad), config)
        }),
    }
}

pub(super) fn layer_norm_forward<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    beta: Option<Tensor<Kiln<B>, 1>>,
    epsilon: f64,
    config: &KernelConfig,
) -> LayerNormForward<Kiln<B>, D> {
    let operands = LayerNormOperands { x: lower(x), gamma: lower(gamma), beta: beta.map(lower), epsilon };
    if let Some(LayerNormForward { output, mean, rstd }) = B::try_layer_norm_forward(&operands, config) {
        return LayerNormForward { output: lift(output), mean: lift(mean), rstd: lift(rstd) };
    }
    let LayerNormOperands { x, gamma, beta, .. } = operands;
    Kiln::<B>::scope(config, || {
        compose::norm::layer_norm_forward(lift(x), lift(gamma), beta.map(lift), epsilon, config)
    })
}

pub(super) fn layer_norm_backward<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    forward: LayerNormForward<Kiln<B>, D>,
    grad: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> NormGrads<Kiln<B>, D> {
    let LayerNormForward { output, mean, rstd } = forward;
    let operands = NormBackwardOperands {
        x: lower(x),
        gamma: lower(gamma),
        mean: Some(lower(mean.clone())),
        rstd: lower(rstd),
        grad: lower(grad),
        residual: None,
    };
    match B::try_norm_backward(operands, config) {
        Ok(NormGrads { x, gamma, beta }) => NormGrads { x: lift(x), gamma: lift(gamma), beta: beta.map(lift) },
        Err(NormBackwardOperands { x, gamma, rstd, grad, .. }) => {
            let forward = LayerNormForward { output, mean, rstd: lift(rstd) };
            Kiln::<B>::scope(config, || {
                compose::norm::layer_norm_backward(lift(x), lift(gamma), forward, lift(grad), config)
            })
        }
    }
}

/// One pass where addition and norm are one op.
pub(super) fn add_norm_backward<B: Engine, const D: usize>(
    forward: AddNormForward<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    grad_sum: Option<Tensor<Kiln<B>, D>>,
    grad_normed: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> AddNormGrads<Kiln<B>, D> {
    if !FusedGroup::AddNorm.is_on(&config.fusion) {
        return Kiln::<B>::scope(config, || {
            compose::norm::add_norm_backward(forward, gamma, grad_sum, grad_normed, config)
        });
    }
    let AddNormForward { sum, normed, rstd } = forward;
    let operands = NormBackwardOperands {
        x: lower(sum),
        gamma: lower(gamma),
        mean: None,
        rstd: lower(rstd),
        grad: lower(grad_normed),
        residual: grad_sum.map(lower),
    };
    match B::try_norm_backward(operands, config) {
        Ok(NormGrads { x, gamma, .. }) => AddNormGrads { x: lift(x), gamma: lift(gamma) },
        Err(NormBackwardOperands { x, gamma, rstd, grad, residual, .. }) => {
            let forward = AddNormForward { sum: lift(x), normed, rstd: lift(rstd) };
            Kiln::<B>::scope(config, || {
                compose::norm::add_norm_backward(forward, lift(gamma), residual.map(lift), lift(grad), config)
            })
        }
    }
}

pub(super) fn rope_backward<B: Engine>(
    grad: Tensor<Kiln<B>, 4>,
    rotary: &Rotary<Kiln<B>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 4> {
    let angles = rotary.clone().convert::<Lower<B>>();
    let operands = RopeBackwardOperands { norm: None, rotary: &angles, grad: lower(grad) };
    match B::try_rope_backward(&operands, config) {
        Some(RopeGrads { x, .. }) => lift(x),
        None => Kiln::<B>::scope(config, || compose::rope::rope_backward(lift(operands.grad), rotary, config)),
    }
}

/// One pass where norm and rotation are one op.
pub(super) fn norm_rope_backward<B: Engine>(
    x: Tensor<Kiln<B>, 4>,
    norm: RmsWeights<Kiln<B>>,
    rotary: &Rotary<Kiln<B>>,
    grad: Tensor<Kiln<B>, 4>,
    config: &KernelConfig,
) -> NormGrads<Kiln<B>, 4> {
    if !FusedGroup::Heads.is_on(&config.fusion) {
        return Kiln::<B>::scope(config, || compose::rope::norm_rope_backward(x, norm, rotary, grad, config));
    }
    let angles = rotary.clone().convert::<Lower<B>>();
    let weights = RmsWeights { gamma: lower(norm.gamma.clone()), epsilon: norm.epsilon };
    let operands = RopeBackwardOperands { norm: Some((lower(x.clone()), weights)), rotary: &angles, grad: lower(grad) };
    match B::try_rope_backward(&operands, config) {
        Some(RopeGrads { x, gamma: Some(gamma) }) => NormGrads { x: lift(x), gamma: lift(gamma), beta: None },
        Some(RopeGrads { gamma: None, .. }) | None => {
            Kiln::<B>::scope(config, || compose::rope::norm_rope_backward(x, norm, rotary, lift(operands.grad), config))
        }
    }
}

pub(super) fn embedding_backward<B: Engine>(
    weight: &Weight<Kiln<B>>,
    ids: Tensor<Kiln<B>, 2, Int>,
    grad: Tensor<Kiln<B>, 3>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 2> {
    // Only a plain weight trains.
    let rows = match Lower::convert_weight(weight.clone()) {
        EngineWeight::Plain(table) => table.shape().as_slice().first().copied(),
        EngineWeight::Packed(_) => None,
    };
    let operands = EmbeddingBackwardOperands { ids: ids.into_primitive(), grad: lower(grad) };
    match rows.and_then(|rows| B::try_embedding_backward(&operands, rows, config)) {
        Some(table) => lift(table),
        None => {
            let EmbeddingBackwardOperands { ids, grad } = operands;
            let ids = Tensor::from_primitive(ids);
            Kiln::<B>::scope(config, || compose::embedding::embedding_backward(weight, ids, lift(grad), config))
        }
    }
}

pub(super) fn add_embedding_backward<B: Engine>(
    table: Tensor<Kiln<B>, 2>,
    ids: Tensor<Kiln<B>, 2, Int>,
    grad: Tensor<Kiln<B>, 3>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 2> {
    let rows = EmbeddingBackwardOperands { ids: ids.into_primitive(), grad: lower(grad) };
    match B::try_add_rows(AddRowsOperands { table: lower(table), rows }, config) {
        Ok(table) => lift(table),
        Err(AddRowsOperands { table, rows: EmbeddingBackwardOperands { ids, grad } }) => {
            let ids = Tensor::from_primitive(ids);
            Kiln::<B>::scope(config, || {
                compose::embedding::add_embedding_backward(lift(table), ids, lift(grad), config)
            })
        }
    }
}

pub(super) fn embedding_backward_rows<B: Engine>(
    ids: Tensor<Kiln<B>, 2, Int>,
    grad: Tensor<Kiln<B>, 3>,
    config: &KernelConfig,
) -> RowGrads<Kiln<B>> {
    let operands = EmbeddingBackwardOperands { ids: ids.into_primitive(), grad: lower(grad) };
    match B::try_embedding_backward_rows(&operands, config) {
        Some((ids, rows)) => RowGrads { ids: Tensor::from_primitive(ids), rows: lift(rows) },
        None => {
            let EmbeddingBackwardOperands { ids, grad } = operands;
            let ids = Tensor::from_primitive(ids);
            Kiln::<B>::scope(config, || compose::embedding::embedding_backward_rows(ids, lift(grad), config))
        }
    }
}

/// A parameter and its state.
type Stepped<B, const D: usize> = (Tensor<Kiln<B>, D>, AdamWState<Kiln<B>, D>);

/// The engine's step, or the operands.
fn try_adamw<B: Engine, const D: usize>(
    parameter: Tensor<Kiln<B>, D>,
    grad: ParameterGrad<B>,
    state: AdamWState<Kiln<B>, D>,
    options: AdamWOptions,
    config: &KernelConfig,
) -> Result<Stepped<B, D>, AdamWOperands<B>> {
    let AdamWState { moment_1, moment_2, master } = state;
    let state = AdamWState { moment_1: lower(moment_1), moment_2: lower(moment_2), master: master.map(lower) };
    let operands = AdamWOperands { parameter: lower(parameter), grad, state, options };
    let (parameter, AdamWState { moment_1, moment_2, master }) = B::try_adamw(operands, config)?;
    let state = AdamWState { moment_1: lift(moment_1), moment_2: lift(moment_2), master: master.map(lift) };
    Ok((lift(parameter), state))
}

/// Parameter and state of operands that were declined.
fn lift_parameter<B: Engine, const D: usize>(operands: AdamWOperands<B>) -> Stepped<B, D> {
    let AdamWOperands { parameter, state: AdamWState { moment_1, moment_2, master }, .. } = operands;
    let state = AdamWState { moment_1: lift(moment_1), moment_2: lift(moment_2), master: master.map(lift) };
    (lift(parameter), state)
}

pub(super) fn adamw_step<B: Engine, const D: usize>(
    parameter: Tensor<Kiln<B>, D>,
    grad: Tensor<Kiln<B>, D>,
    state: AdamWState<Kiln<B>, D>,
    options: AdamWOptions,
    config: &KernelConfig,
) -> Stepped<B, D> {
    let given = ParameterGrad::Dense(lower(grad.clone()));
    try_adamw(parameter, given, state, options, config).unwrap_or_else(|operands| {
        let (parameter, state) = lift_parameter(operands);
        Kiln::<B>::scope(config, || compose::optim::adamw_step(parameter, grad, state, options, config))
    })
}

pub(super) fn adamw_step_rows<B: Engine>(
    parameter: Tensor<Kiln<B>, 2>,
    grad: RowGrads<Kiln<B>>,
    state: AdamWState<Kiln<B>, 2>,
    options: AdamWOptions,
    config: &KernelConfig,
) -> Stepped<B, 2> {
    let RowGrads { ids, rows } = grad;
    let given = ParameterGrad::Rows { ids: ids.clone().into_primitive(), rows: lower(rows.clone()) };
    try_adamw(parameter, given, state, options, config).unwrap_or_else(|operands| {
        let (parameter, state) = lift_parameter(operands);
        let grad = RowGrads { ids, rows };
        Kiln::<B>::scope(config, || compose::optim::adamw_step_rows(parameter, grad, state, options, config))
    })
}

pub(super) fn sum_of_squares<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 1> {
    let x = lower(x);
    match B::try_sum_of_squares(&x, config) {
        Some(sum) => lift(sum),
        None => Kiln::<B>::scope(config, || compose::optim::sum_of_squares::<_, D>(lift(x), config)),
    }
}
