//! Linear layers that share their input: a norm and the layers after it, and the two halves of a gated MLP.

use super::linear;
use super::norm::{self, weight};
use super::panels::{CpuEngine, right, sizes};
use super::storage::{View, with_width};
use crate::engine::{EngineWeight, GatedMlpOperands, NormLinearsOperands};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{GatedMlpWeights, KernelConfig, NormKind};
use kiln_kernels::gemm::{
    Epilogue, GemmError, Matrix, OutMatrix, PackedMatrix, Plan, Product, Residual, RightMatrix, gemm_grouped,
    gemm_packed,
};
use kiln_kernels::norm::{LayerNorm, RmsNorm, RowNorm};
use kiln_kernels::planning::{ProductShape, plan_product};
use kiln_kernels::{ElementType, Floats};

/// A tensor of f32 as rows of its last dimension, which is contiguous.
fn rows<'a>(view: &View<'a>) -> Option<Matrix<'a>> {
    let rows = view.as_rows().filter(|rows| rows.stride == 1 || rows.d == 1)?;
    let strides = [rows.row_stride as isize, 1];
    Matrix::new(view.data, view.offset, [rows.rows, rows.d], strides).ok().filter(|_| view.data.is_f32())
}

/// The plan of a norm of rows `[m, k]` and the layers with `weights` after it; none where they are not one op.
pub(super) fn choose_norm_linears<'a, B: CpuEngine>(
    [m, k]: [usize; 2],
    weights: impl Iterator<Item = &'a EngineWeight<B>>,
    config: &KernelConfig,
) -> Option<Plan> {
    if !linear::takes(config) || !norm::takes(k, config) {
        return None;
    }
    let rights: Option<Vec<_>> = weights.map(|weight| Some((right(weight)?, sizes(weight)[0]))).collect();
    Some(plan_product(ProductShape::of_rows([m, k], ElementType::F32, rights?), config))
}

/// The plans of the two products of a gated MLP of `rows` rows, and its weights; none where it is not one op.
pub(super) fn choose_gated<'a, B: CpuEngine>(
    [gate, up, down]: [&'a EngineWeight<B>; 3],
    rows: usize,
    config: &KernelConfig,
) -> Option<([Plan; 2], [&'a PackedMatrix; 3])> {
    let (EngineWeight::Packed(gate), EngineWeight::Packed(up), EngineWeight::Packed(down)) = (gate, up, down) else {
        return None;
    };
    let [gate, up, down] = [gate, up, down].map(|panels| &*panels.matrix);
    if !linear::takes(config) {
        return None;
    }
    let both = [gate, up].map(|weight| (RightMatrix::Packed(weight), gate.n()));
    let plan = plan_product(ProductShape::of_rows([rows, gate.k()], ElementType::F32, both), config);
    let narrow = ProductShape::of_rows([rows, down.k()], ElementType::F32, [(RightMatrix::Packed(down), down.n())]);
    plan.gates(rows, gate).then(|| ([plan, plan_product(narrow, config)], [gate, up, down]))
}

/// `norm(x)·Wᵀ + bias` for each layer.
pub(super) fn norm_linears<B: CpuEngine>(
    NormLinearsOperands { x, norm, layers }: &NormLinearsOperands<'_, B>,
    config: &KernelConfig,
) -> Option<Vec<FloatTensor<B>>> {
    let view = B::view(x)?;
    let a = rows(&view)?;
    let plan = choose_norm_linears::<B>([a.rows(), a.cols()], layers.iter().map(|layer| &layer.weight), config)?;
    let gamma = weight::<B>(&norm.gamma, a.cols())?;
    let beta = match &norm.beta {
        Some(beta) => Some(weight::<B>(beta, a.cols())?),
        None => None,
    };
    let row_norm = match norm.kind {
        NormKind::Rms => RowNorm::Rms(RmsNorm { gamma, epsilon: norm.epsilon }),
        NormKind::Layer => RowNorm::Layer(LayerNorm { gamma, beta, epsilon: norm.epsilon }),
    };
    let rights = layers.iter().map(|layer| Some((right(&layer.weight)?, sizes(&layer.weight)[0])));
    let rights = rights.collect::<Option<Vec<_>>>()?;
    let outs = rights.iter().map(|(_, n)| B::allocate(ElementType::F32, a.rows().checked_mul(*n)?));
    let mut outs = outs.collect::<Option<Vec<_>>>()?;
    let products = layers.iter().zip(&rights).zip(&mut outs).map(|((layer, &(right, n)), out)| {
        let bias = match &layer.bias {
            Some(bias) => Some(weight::<B>(bias, n)?),
            None => None,
        };
        let out = OutMatrix::row_major(out.as_floats_mut(), a.rows(), n).ok()?;
        Some(Product { right, out, epilogue: Epilogue::bias(bias) })
    });
    let mut products = products.collect::<Option<Vec<_>>>()?;
    gemm_grouped(&plan, &a, Some(&row_norm), &mut products).ok()?;
    drop(products);
    note(Route::NormLinears);
    let tensors = outs.into_iter().zip(&rights).map(|(out, (_, n))| B::from_floats(out, with_width(&x.shape(), *n)));
    tensors.collect()
}

/// `down( silu(x·gateᵀ) ⊙ (x·upᵀ) ) + residual`, with packed weights.
pub(super) fn mlp_gated<B: CpuEngine>(
    GatedMlpOperands { x, weights, residual }: &GatedMlpOperands<B>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let GatedMlpWeights { gate, up, down } = weights;
    let view = B::view(x)?;
    let a = rows(&view)?;
    let ([plan, down_plan], [gate, up, down]) = choose_gated::<B>([gate, up, down], a.rows(), config)?;
    let (m, hidden, n) = (a.rows(), gate.n(), down.n());
    let shape = with_width(&x.shape(), n);
    let residual = match residual {
        Some(residual) => {
            let elements: Floats<'_> = B::elements(residual).filter(|_| residual.shape() == shape)?;
            Residual::Add(Matrix::row_major(elements, m, n).ok()?)
        }
        None => Residual::None,
    };
    // What the second product rounds is stored rounded.
    let dtype = if down_plan.rounds(m, down) { ElementType::Bf16 } else { ElementType::F32 };
    let mut products = B::allocate(dtype, m.checked_mul(hidden)?)?;
    let mut out = B::allocate(ElementType::F32, m.checked_mul(n)?)?;
    let mut run = || -> Result<(), GemmError> {
        let right = RightMatrix::Gated([gate, up]);
        let to = OutMatrix::row_major(products.as_floats_mut(), m, hidden)?;
        gemm_grouped(&plan, &a, None, &mut [Product { right, out: to, epilogue: Epilogue::default() }])?;
        let products = Matrix::row_major(products.as_floats(), m, hidden)?;
        let mut to = OutMatrix::row_major(out.as_floats_mut(), m, n)?;
        gemm_packed(&down_plan, &products, down, &mut to, &Epilogue::residual(residual))
    };
    run().ok()?;
    note(Route::GatedMlp);
    B::from_floats(out, shape)
}
