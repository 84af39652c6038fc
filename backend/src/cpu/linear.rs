//! Linear layers: a product with a weight, and what happens before its store.

use super::panels::{CpuEngine, CpuPanels, right, sizes};
use super::storage::{element_type, with_width};
use crate::engine::{EngineWeight, LinearOperands, ModuleLinearOperands};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{Epilogue, KernelConfig};
use kiln_kernels::gemm::{self, Matrix, OutMatrix, PackedMatrix, Residual, RightMatrix, gemm, gemm_packed};
use kiln_kernels::planning::{Layout, ProductShape, explain_product, plan_product};
use kiln_kernels::{ElementType, Floats, Launch};
use std::sync::Arc;

/// Whether products have kernels, and weights panels.
pub(super) fn takes(config: &KernelConfig) -> bool {
    config.tiling.enabled
}

/// Packs a weight `[out, in]` with contiguous rows: in its own memory if nobody else holds that, so that it is never
/// there twice. Without tiled products nothing reads panels, and the rows stay.
pub(super) fn pack<B: CpuEngine>(weight: FloatTensor<B>, config: &KernelConfig) -> Result<CpuPanels, FloatTensor<B>> {
    if !takes(config) {
        return Err(weight);
    }
    let launch = Launch::from(config);
    let sizes = B::view(&weight).and_then(|view| <[usize; 2]>::try_from(view.shape.as_slice()).ok());
    let (Some(sizes), Some(element)) = (sizes, element_type(weight.dtype())) else { return Err(weight) };
    let packed = match B::take_bytes(weight) {
        Ok(bytes) => Ok(PackedMatrix::pack_owned(launch, Box::new(bytes), element, sizes)
            .expect("bytes from end to end of a tensor of floats are as many as its sizes say")),
        Err(weight) => {
            B::view(&weight).and_then(|view| PackedMatrix::pack(launch, view.contiguous()?, sizes).ok()).ok_or(weight)
        }
    };
    packed.map(|matrix| CpuPanels { matrix: Arc::new(matrix) })
}

/// Burn's linear, weight `[in, out]`: read transposed, in its own layout.
pub(super) fn module_linear<B: CpuEngine>(
    ModuleLinearOperands { x, weight, bias }: &ModuleLinearOperands<B>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    // The same dtype throughout, as Burn requires: what it rejects is left to B to reject.
    let same = weight.dtype() == x.dtype() && bias.as_ref().is_none_or(|bias| bias.dtype() == x.dtype());
    if !same || weight.shape().num_dims() != 2 || !takes(config) {
        return None;
    }
    let operands = LinearOperands::<B> {
        x: x.clone(),
        weight: EngineWeight::Plain(B::float_transpose(weight.clone())),
        epilogue: Epilogue::bias(bias.clone()),
    };
    linear(&operands, config)
}

/// `activation(x·Wᵀ + bias) + residual`.
pub(super) fn linear<B: CpuEngine>(operands: &LinearOperands<B>, config: &KernelConfig) -> Option<FloatTensor<B>> {
    if !takes(config) {
        return None;
    }
    let LinearOperands { x, weight, epilogue } = operands;
    let view = B::view(x)?;
    let rows = view.as_rows()?;
    let [out_features, in_features] = sizes(weight);
    if rows.d != in_features {
        return None;
    }
    let shape = with_width(&x.shape(), out_features);
    let bias = match &epilogue.bias {
        Some(bias) => Some(B::view(bias)?.contiguous().filter(|bias| bias.len() == out_features)?),
        None => None,
    };
    let residual = match &epilogue.residual {
        Some(residual) => {
            let floats: Floats<'_> = B::elements(residual).filter(|_| residual.shape() == shape)?;
            Residual::Add(Matrix::row_major(floats, rows.rows, out_features).ok()?)
        }
        None => Residual::None,
    };
    let a_strides = [rows.row_stride as isize, rows.stride as isize];
    let a = Matrix::new(view.data, view.offset, [rows.rows, rows.d], a_strides).ok()?;
    let mut out = B::allocate(view.dtype(), rows.rows.checked_mul(out_features)?)?;
    let mut to = OutMatrix::row_major(out.as_floats_mut(), rows.rows, out_features).ok()?;
    let epilogue = gemm::Epilogue { bias, activation: epilogue.activation, residual };
    match right(weight)? {
        RightMatrix::Packed(panels) => {
            let plan = plan_product(ProductShape::of_packed(&a, panels), config);
            gemm_packed(&plan, &a, panels, &mut to, &epilogue).ok()?;
            note(Route::LinearPacked);
        }
        RightMatrix::View(b) => {
            gemm(&plan_product(ProductShape::of(&a, &b), config), &a, &b, &mut to, &epilogue).ok()?;
        }
        RightMatrix::Gated(_) => return None,
    }
    note(Route::Linear);
    B::from_floats(out, shape)
}

/// The product of `rows` rows of f32 with a weight; none where B multiplies.
pub(super) fn find_product<B: CpuEngine>(
    weight: &EngineWeight<B>,
    rows: usize,
    config: &KernelConfig,
) -> Option<ProductShape> {
    let right = takes(config).then(|| right(weight)).flatten()?;
    let [n, k] = sizes(weight);
    Some(ProductShape::of_rows([rows, k], ElementType::F32, [(right, n)]))
}

/// How [`linear`] multiplies an f32 input of `rows` rows.
pub(super) fn explain<B: CpuEngine>(weight: &EngineWeight<B>, rows: usize, config: &KernelConfig) -> Option<String> {
    let shape = find_product(weight, rows, config)?;
    let held = if shape.layout == Layout::Packed { "packed" } else { "rows" };
    Some(format!("{} {held}, {}", shape.b, explain_product(shape, config)?).to_lowercase())
}
