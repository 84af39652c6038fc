//! Linear layers: a product with a weight, and what happens before its store.

use super::engine::CpuPanels;
use super::storage::{CpuBackend, element_type};
use crate::engine::{Engine, EngineWeight, LinearEpilogue};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::gemm::{Epilogue, Matrix, OutMatrix, PackedMatrix, Residual, gemm, gemm_packed};
use kiln_kernels::planning::{Layout, ProductShape, explain_product, plan_product};
use kiln_kernels::{ElementType, Floats, Launch};
use std::sync::Arc;

/// Packs a weight `[out, in]` with contiguous rows: where it lies if its memory is nobody else's, so that it is never there twice.
pub(super) fn pack<B: CpuBackend>(weight: FloatTensor<B>, config: &KernelConfig) -> Result<CpuPanels, FloatTensor<B>> {
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

/// Burn's linear, weight `[in, out]`: the weight is read transposed where it lies.
#[allow(clippy::type_complexity)]
pub(super) fn module_linear<B: CpuBackend + Engine<Panels = CpuPanels>>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>)> {
    // The same dtype throughout, as Burn requires: what it rejects is left to B to reject.
    let same = weight.dtype() == x.dtype() && bias.as_ref().is_none_or(|bias| bias.dtype() == x.dtype());
    if !same || weight.shape().num_dims() != 2 {
        return Err((x, weight, bias));
    }
    let transposed = EngineWeight::Plain(B::float_transpose(weight.clone()));
    let epilogue = LinearEpilogue { bias, activation: None, residual: None };
    linear::<B>(x, &transposed, epilogue, config).map_err(|(x, epilogue)| (x, weight, epilogue.bias))
}

/// `activation(x·Wᵀ + bias) + residual`.
pub(super) fn linear<B: CpuBackend + Engine<Panels = CpuPanels>>(
    x: FloatTensor<B>,
    weight: &EngineWeight<'_, B>,
    epilogue: LinearEpilogue<B>,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, (FloatTensor<B>, LinearEpilogue<B>)> {
    if !config.tiling.enabled {
        return Err((x, epilogue));
    }
    let output = match run::<B>(&x, weight, &epilogue, config) {
        Some(output) => output,
        None => return Err((x, epilogue)),
    };
    note(Route::Linear);
    if matches!(weight, EngineWeight::Packed(_)) {
        note(Route::LinearPacked);
    }
    Ok(output)
}

fn run<B: CpuBackend + Engine<Panels = CpuPanels>>(
    x: &FloatTensor<B>,
    weight: &EngineWeight<'_, B>,
    epilogue: &LinearEpilogue<B>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let view = B::view(x)?;
    let rows = view.as_rows()?;
    let (out_features, in_features) = match weight {
        EngineWeight::Plain(tensor) => {
            let [out, input] = tensor.shape().dims();
            (out, input)
        }
        EngineWeight::Packed(panels) => (panels.matrix.n(), panels.matrix.k()),
    };
    if rows.d != in_features {
        return None;
    }
    let mut shape = view.shape.to_vec();
    *shape.last_mut()? = out_features;

    let bias = match &epilogue.bias {
        Some(bias) => Some(B::view(bias)?.contiguous().filter(|b| b.len() == out_features)?),
        None => None,
    };
    let a_strides = [rows.row_stride as isize, rows.stride as isize];
    let a = Matrix::new(view.data, view.offset, [rows.rows, rows.d], a_strides).ok()?;
    let multiply = |out: &mut OutMatrix<'_>, residual: Residual<'_>| -> Option<()> {
        let epilogue = Epilogue { bias, activation: epilogue.activation, residual };
        match weight {
            EngineWeight::Packed(panels) => {
                let plan = plan_product(ProductShape::of_packed(&a, &panels.matrix), config);
                gemm_packed(&plan, &a, &panels.matrix, out, &epilogue).ok()
            }
            EngineWeight::Plain(tensor) => {
                let view = B::view(tensor)?;
                let strides = [view.strides[1] as isize, view.strides[0] as isize];
                let b = Matrix::new(view.data, view.offset, [in_features, out_features], strides).ok()?;
                gemm(&plan_product(ProductShape::of(&a, &b), config), &a, &b, out, &epilogue).ok()
            }
        }
    };

    let mut out = B::allocate(view.dtype(), rows.rows.checked_mul(out_features)?)?;
    let residual = match &epilogue.residual {
        Some(residual) => {
            let view = B::view(residual).filter(|view| view.shape.as_slice() == shape)?;
            let floats: Floats<'_> = view.contiguous()?;
            Residual::Add(Matrix::row_major(floats, rows.rows, out_features).ok()?)
        }
        None => Residual::None,
    };
    multiply(&mut OutMatrix::row_major(out.as_floats_mut(), rows.rows, out_features).ok()?, residual)?;
    B::from_floats(out, Shape::from(shape))
}

/// How [`linear`] multiplies an f32 input of `rows` rows.
pub(super) fn explain<B: CpuBackend + Engine<Panels = CpuPanels>>(
    weight: &EngineWeight<'_, B>,
    rows: usize,
    config: &KernelConfig,
) -> Option<String> {
    let (n, k, element, layout) = match weight {
        EngineWeight::Plain(tensor) => {
            let [n, k] = tensor.shape().dims();
            (n, k, element_type(tensor.dtype())?, Layout::Columns)
        }
        EngineWeight::Packed(panels) => (panels.matrix.n(), panels.matrix.k(), panels.matrix.dtype(), Layout::Packed),
    };
    let explained = explain_product(ProductShape { m: rows, n, k, a: ElementType::F32, b: element, layout }, config)?;
    let held = if layout == Layout::Packed { "packed" } else { "rows" };
    Some(format!("{element} {held}, {explained}").to_lowercase())
}
