//! Linear layers and plain matrix products.

use super::{
    CubeEngine, accept, find_rows, runs,
    tune::{find_product, multiply},
};
use crate::{
    engine::{EngineWeight, LinearOperands, ModuleLinearOperands, NormLinearsOperands},
    routes::Route,
};
use burn_backend::{DType, TensorMetadata};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig, NormKind,
    cube::product::{self, Call, Layer, RowNorm, Strategy, gemv::MAX_ROWS},
};
use burn_std::{Shape, Strides};

/// The shortest side of a plain product that is worth a tile: half of the smallest one. Below it Burn has kernels for
/// vectors.
const MIN_SIDE: usize = 16;

/// `activation(x·Wᵀ + bias) + residual`.
pub(super) fn linear<R: CubeRuntime, B: CubeEngine<R>>(
    LinearOperands { x, weight, epilogue }: &LinearOperands<B>,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    let layer = Layer { weight: find_rows(weight), bias: epilogue.bias.as_ref() };
    let call = Call {
        layers: vec![layer],
        activation: epilogue.activation,
        residual: epilogue.residual.as_ref(),
        ..Call::new(x, find_rows(weight))
    };
    run(Route::CubeLinear, &call, config)
}

/// `norm(x)·Wᵀ + bias` for each layer. Layer norm has a kernel of its own: its mean would have to be known before the
/// product.
pub(super) fn norm_linears<R: CubeRuntime, B: CubeEngine<R>>(
    NormLinearsOperands { x, norm, layers }: &NormLinearsOperands<'_, B>,
    config: &KernelConfig,
) -> Option<Vec<CubeTensor<R>>> {
    if !runs(config.tiling.enabled, config) || norm.kind != NormKind::Rms || norm.beta.is_some() {
        return None;
    }
    let first = find_rows(&layers.first()?.weight);
    let call = Call {
        norm: Some(RowNorm { gamma: &norm.gamma, epsilon: norm.epsilon }),
        layers: layers
            .iter()
            .map(|layer| Layer { weight: find_rows(&layer.weight), bias: layer.bias.as_ref() })
            .collect(),
        ..Call::new(x, first)
    };
    accept(Route::CubeNormLinears, multiply(&call, config))
}

/// Burn's linear, weight `[in, out]`: the weight is read transposed, not copied. Few rows stay with Burn unless the
/// weight's memory is `[out, in]`.
pub(super) fn module_linear<R: CubeRuntime, B: CubeEngine<R>>(
    ModuleLinearOperands { x, weight, bias }: &ModuleLinearOperands<B>,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    let bias = bias.as_ref();
    // The same dtype throughout, as Burn requires: what it rejects is left to it to reject.
    let same = weight.dtype == x.dtype && bias.is_none_or(|bias| bias.dtype == x.dtype);
    if !same || weight.rank() != 2 || x.rank() == 0 {
        return None;
    }
    let rows = x.meta.shape().to_vec().iter().rev().skip(1).product::<usize>();
    if rows <= MAX_ROWS && weight.meta.strides()[0] != 1 {
        return None;
    }
    let weight = transpose(weight);
    run(Route::CubeLinear, &Call { layers: vec![Layer { weight: &weight, bias }], ..Call::new(x, &weight) }, config)
}

/// `lhs · rhs`, batched and broadcast. Declines what other kernels do better: products with a short side, and those of
/// devices with matrix units, which the kernels here leave idle.
pub(super) fn matmul<R: CubeRuntime>(
    lhs: &CubeTensor<R>,
    rhs: &CubeTensor<R>,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    if !runs(config.tiling.enabled, config)
        || !lhs.client.properties().features.matmul.cmma.is_empty()
        || lhs.rank() < 2
    {
        return None;
    }
    let rows = lhs.meta.shape()[lhs.rank() - 2];
    let columns = rhs.meta.shape()[rhs.rank() - 1];
    if rows <= MAX_ROWS && lhs.rank() == 2 && rhs.rank() == 2 && rhs.meta.strides()[0] == 1 && lhs.dtype == rhs.dtype {
        return run(Route::CubeMatmul, &Call::new(lhs, &transpose(rhs)), config);
    }
    if rows.min(columns) < MIN_SIDE {
        return None;
    }
    accept(Route::CubeMatmul, product::matmul(lhs, rhs, Strategy::Auto))
}

/// How [`linear`] multiplies an f32 input of `rows` rows.
pub(super) fn explain<R: CubeRuntime, B: CubeEngine<R>>(
    weight: &EngineWeight<B>,
    rows: usize,
    config: &KernelConfig,
) -> Option<String> {
    let weight = find_rows(weight);
    let &[_, k] = weight.meta.shape().to_vec().as_slice() else { return None };
    if !runs(config.tiling.enabled, config) {
        return None;
    }
    // Only its shape is looked at.
    let handle = weight.client.empty(rows * k * size_of::<f32>());
    let shape = Shape::from(vec![rows, k]);
    let x = CubeTensor::new_contiguous(weight.client.clone(), weight.device.clone(), shape, handle, DType::F32);
    let call = Call::new(&x, weight);
    let plan = product::explain(&Call { strategy: find_product(&call, config), ..call }).ok()?;
    Some(format!("{:?} rows, {plan}", weight.dtype).to_lowercase())
}

fn run<R: CubeRuntime>(route: Route, call: &Call<'_, R>, config: &KernelConfig) -> Option<CubeTensor<R>> {
    if !runs(config.tiling.enabled, config) {
        return None;
    }
    accept(route, multiply(call, config).map(|mut outputs| outputs.remove(0)))
}

/// The same buffer, seen as `[b, a]` for a tensor `[a, b]`.
fn transpose<R: CubeRuntime>(tensor: &CubeTensor<R>) -> CubeTensor<R> {
    let mut transposed = tensor.clone();
    let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
    let strides = Strides::new(&[strides[1], strides[0]]);
    *transposed.meta = burn_std::Metadata::new(Shape::from(vec![shape[1], shape[0]]), strides);
    transposed
}
